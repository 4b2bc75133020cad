"""Roots that somebody kept outside the ledger, and what they prove about it.

A row that was rewritten together with its leaf hash contradicts nothing inside the database. A
root that was written down before does: the rewritten row lies at or before its position.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from tollbook.errors import Invalid
from tollbook.merkle import Frontier

from application.findings import Findings

_FORM = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


class Expectation(NamedTuple):
    """The root over the first `position` events, as it was."""

    position: int
    root: bytes


def parse_expectation(text: str) -> Expectation:
    """Read `POSITION:ROOT`, the root in lower-case hex."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise Invalid.because("expect", text, "POSITION:ROOT with a root of 64 hex digits")
    return Expectation(int(form[1]), bytes.fromhex(form[2]))


class ExpectedRoots:
    """Grows the Merkle tree and compares its root wherever one is expected."""

    def __init__(self, expected: Iterable[Expectation], tree: Frontier, findings: Findings) -> None:
        """Take expectations in any order; several for one position are all checked."""
        self._waiting = sorted(expected, reverse=True)
        self._tree = tree
        self._findings = findings
        self._matched = 0
        self._failed = False

    def add(self, position: int, leaf: bytes) -> None:
        """Add the leaf at a position, after comparing every root that is expected before it."""
        while self._waiting and self._waiting[-1].position < position:
            self._compare(self._waiting.pop())
        self._tree.append(leaf)

    def finish(self, position: int) -> bytes:
        """Compare what is left, now that the ledger has ended at a position; return its root."""
        while self._waiting:
            expectation = self._waiting.pop()
            if expectation.position > position:
                self._findings.note(
                    expectation.position,
                    f"root at {expectation.position}",
                    expectation.root.hex(),
                    f"the ledger ends at {position}",
                )
            else:
                self._compare(expectation)
        return self._tree.root()

    def _compare(self, expectation: Expectation) -> None:
        """Compare one root; the first that differs says between which roots the change lies."""
        position, root = expectation.position, self._tree.root()
        if root == expectation.root:
            self._matched = position
            return
        what = f"root at {position}"
        if not self._failed:
            what += f": an event from {self._matched + 1} to {position} was changed"
        self._failed = True
        self._findings.note(position, what, expectation.root.hex(), root.hex())
