"""Replay: fold a ledger from its first event up to a position, and hash the state it comes to.

A ledger can be folded in shares, by customer: each share is a whole fold of some customers, so
several processes can work on it and their lines only have to be put in order.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from typing import Any, NamedTuple, Protocol

from tollbook.errors import Invalid, NotFound
from tollbook.merkle import Frontier
from tollbook.times import format_instant, parse_instant

from application.folded import (
    FoldedLedger,
    book_lines,
    catalogue_lines,
    customer_lines,
    hash_lines,
    head_line,
    license_lines,
    reservation_lines,
    stages_lines,
)
from domain.event import Event

Progress = Callable[[int], None]
"""Told how many more events are done."""

Fact = tuple[Event, str | None, str, int]
"""(event, customer, command, recorded_at): as much of an event as a fold needs."""


class Share(NamedTuple):
    """Which customers to fold: those whose number modulo `parts` is `part`."""

    part: int = 0
    parts: int = 1


class ReplayReader(Protocol):
    """Reads a ledger from its first event, all of it as of one instant."""

    def position(self) -> int:
        """Return the position of the newest event."""

    def position_at(self, instant: int) -> int:
        """Return the position of the newest event recorded at or before an instant, or 0."""

    def facts(self, last: int, share: Share) -> Iterator[Sequence[Fact]]:
        """Yield a share's events up to a position, in order and in chunks."""

    def leaves(self, last: int) -> Iterator[Sequence[tuple[bytes, int]]]:
        """Yield stored leaf hash and recorded_at of every event up to a position, in chunks."""


class Target(NamedTuple):
    """How far to replay: a position, or an instant of `recorded_at`; None means to the head."""

    position: int | None = None
    instant: int | None = None


def parse_target(text: str, field: str = "to") -> Target:
    """Read a POSITION or a TIME (RFC 3339)."""
    if text.isascii() and text.isdigit() and len(text) < 19:
        return Target(position=int(text))
    try:
        return Target(instant=parse_instant(text))
    except Invalid:
        raise Invalid.because(field, text, "a position or an RFC 3339 time") from None


class ReplayReport(NamedTuple):
    """Where a replay ended, and the hash of the state there."""

    position: int
    recorded_at: int
    root: str
    state_hash: str
    customers: int
    price_books: int
    open_reservations: int

    def document(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        at = format_instant(self.recorded_at) if self.position else None
        return {**self._asdict(), "recorded_at": at}


class FoldedShare(NamedTuple):
    """What a share came to: (id, line) pairs of the state format, each kind in order of id."""

    books: list[tuple[str, bytes]]
    catalogue: list[tuple[str, bytes]]
    customers: list[tuple[str, bytes]]
    licenses: list[tuple[str, bytes]]
    reservations: list[tuple[str, bytes]]
    stages: list[tuple[str, bytes]]
    min_reader: int


def fold_share(
    reader: ReplayReader, last: int, share: Share, progress: Progress | None = None
) -> FoldedShare:
    """Fold a share of the customers, and what belongs to none, up to a position."""
    ledger = FoldedLedger()
    for chunk in reader.facts(last, share):
        for event, customer, command, at in chunk:
            ledger.fold(event, customer, command, at)
        if progress is not None:
            progress(len(chunk))
    return FoldedShare(
        list(book_lines(ledger)),
        list(catalogue_lines(ledger)),
        list(customer_lines(ledger)),
        list(license_lines(ledger)),
        list(reservation_lines(ledger)),
        list(stages_lines(ledger)),
        ledger.min_reader,
    )


Fold = Callable[[int], Callable[[], Sequence[FoldedShare]]]
"""Begins to fold up to a position, and returns what waits for the shares."""


def replay(
    reader: ReplayReader,
    target: Target | None = None,
    progress: Progress | None = None,
    fold: Fold | None = None,
) -> ReplayReport:
    """Fold every event up to a target; raises NotFound for a position beyond the ledger.

    `fold` folds in other processes; without it, everything is folded here.
    """
    last = _last(reader, target or Target())
    wait = fold(last) if fold is not None else None
    tree, recorded_at = Frontier(), 0
    for chunk in reader.leaves(last):
        tree.extend(leaf for leaf, _ in chunk)
        recorded_at = chunk[-1][1]
    shares = [fold_share(reader, last, Share(), progress)] if wait is None else wait()
    customers = list(merge(*(share.customers for share in shares)))
    licenses = list(merge(*(share.licenses for share in shares)))
    reservations = list(merge(*(share.reservations for share in shares)))
    stages = list(merge(*(share.stages for share in shares)))
    books, catalogue = shares[0].books, shares[0].catalogue
    return ReplayReport(
        position=last,
        recorded_at=recorded_at,
        root=tree.root().hex(),
        state_hash=_hash(
            last,
            shares[0].min_reader,
            (books, catalogue, customers, licenses, reservations, stages),
        ),
        customers=len(customers),
        price_books=len(books),
        open_reservations=len(reservations),
    )


def _last(reader: ReplayReader, target: Target) -> int:
    if target.instant is not None:
        return reader.position_at(target.instant)
    head = reader.position()
    if target.position is not None and target.position > head:
        raise NotFound(f"the ledger ends at position {head}", field="to", value=target.position)
    return head if target.position is None else target.position


def _hash(last: int, min_reader: int, sections: Iterable[list[tuple[str, bytes]]]) -> str:
    lines = (line for section in sections for _, line in section)
    return hash_lines(iter((head_line(last, min_reader), *lines)))
