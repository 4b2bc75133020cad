"""The oracle: what the ledger must answer, written from the contract alone.

It keeps what was agreed as simple lists and computes everything again from the beginning whenever
it is asked. It shares no code with the rules: amounts are fractions of a currency unit, times are
integers of microseconds, bodies and answers are the JSON of the wire.
"""

import copy
from collections.abc import Sequence

from tests.model.oracle_records import UsageRules
from tests.model.oracle_rules import Body, Expected, NoError

RECORDS = ("usage", "park_usage")
"""The kinds of commands whose key is that of a usage record."""

Key = tuple[str, str, str]
"""(kind or `usage`, customer or source, id)."""


class Oracle:
    """All that was agreed so far, and the answer to each id."""

    def __init__(self) -> None:
        self.rules = UsageRules()
        self.answered: dict[Key, tuple[str, Body, Expected]] = {}

    def group(self, commands: Sequence[tuple[str, Body]], now: int) -> list[Expected]:
        """Answer commands that succeed together or not at all."""
        before = copy.deepcopy((self.rules, self.answered))
        answers: list[Expected] = []
        for kind, body in commands:
            known = self._is_known(kind, body)
            culprit = self.run(kind, body, now)
            answers.append(culprit)
            if culprit.code == "done":
                continue
            self.rules, self.answered = before
            if culprit.recorded and not known:
                culprit = self._refused_alone(kind, body, now, culprit)
            aborted = Expected("aborted", {"because": body["id"]}, recorded=False)
            failed = [aborted] * len(commands)
            failed[len(answers) - 1] = culprit
            return failed
        return answers

    def _refused_alone(self, kind: str, body: Body, now: int, culprit: Expected) -> Expected:
        """Record the refusal that failed a group if it holds without the rest of the group."""
        before = copy.deepcopy((self.rules, self.answered))
        alone = self.run(kind, body, now)
        if alone.code != "done" and alone.recorded:
            return alone
        self.rules, self.answered = before
        return culprit._replace(recorded=False)

    def run(self, kind: str, body: Body, now: int) -> Expected:
        """Answer one command and remember it."""
        try:
            key = self._key(kind, body)
        except NoError as no:
            return no.expected
        if key in self.answered:
            return self._again(kind, body, key)
        try:
            expected = self.rules.decide(kind, body, now)
        except NoError as no:
            expected = no.expected
        return self._remember(key, kind, body, expected) if expected.recorded else expected

    def _remember(self, key: Key, kind: str, body: Body, expected: Expected) -> Expected:
        """Take an id; a refusal of someone who is no customer is nobody's, so it takes none."""
        of_somebody = kind not in ("publish_prices", *RECORDS)
        if of_somebody and self.rules.owner(kind, body) not in self.rules.accounts:
            return expected._replace(recorded=False)
        self.answered[key] = (kind, body, expected)
        return expected

    def _key(self, kind: str, body: Body) -> Key:
        if kind in RECORDS:
            return "usage", body["source"], body["id"]
        return kind, self.rules.owner(kind, body), body["id"]

    def _is_known(self, kind: str, body: Body) -> bool:
        try:
            return self._key(kind, body) in self.answered
        except NoError:
            return False

    def _again(self, kind: str, body: Body, key: Key) -> Expected:
        """Same id: the same answer to the same body, a conflict for any other.

        A parked record is answered by its release, once there is one.
        """
        first_kind, first, expected = self.answered[key]
        if kind == "usage" and first_kind == "park_usage":
            first_kind, first = kind, {k: v for k, v in first.items() if k != "reason"}
        different = {name for name in {*body, *first} if body.get(name) != first.get(name)}
        if first_kind != kind:
            different.add("kind")
        if kind == "publish_prices":
            different |= {
                name for name in body["book"] if body["book"][name] != first["book"][name]
            }
        if different:
            return Expected("id_reused", {"field": different}, recorded=False)
        if kind in RECORDS:
            return self.rules.answer_of(body) or expected
        return expected
