"""Replay: the state of a whole ledger, folded from its first event, and the hash of that state.

Nothing here looks at snapshots, at the clock or at anything else than the events, so the same
events give the same hash on every machine (docs/formats/state.md).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from tollbook import canonical
from tollbook.errors import Invalid, NotFound
from tollbook.merkle import Frontier
from tollbook.times import format_instant, parse_instant

from domain import pricebook, reservation
from domain.balance import Balance
from domain.event import Recorded
from domain.events import MinReaderRaised, PricesPublished
from domain.folding import evolve
from domain.pricebook import PriceBook
from domain.reservation import Reservation
from domain.state import balance_to_wire, book_to_wire, reservation_to_wire

STATE_FORMAT = "tollbook/state/1"

STATE_LINE_BYTES_MAX = 256 * 2**20
"""The longest line of the state format: one customer with all open holds."""

_NOBODY = Balance()

Progress = Callable[[int], None]
"""Told how many more events are done."""


class ReplayReader(Protocol):
    """Reads a ledger from its first event, all of it as of one instant."""

    def position(self) -> int:
        """Return the position of the newest event."""

    def recorded(self) -> Iterator[Sequence[tuple[Recorded, bytes]]]:
        """Yield the events in order, in chunks, each with its stored leaf hash."""


class FoldedLedger:
    """The state of a ledger after some events: balances, open reservations, price books."""

    def __init__(self) -> None:
        """Start before the first event."""
        self.balances: dict[str, Balance] = {}
        self.reservations: dict[str, Reservation] = {}
        self.books: dict[str, PriceBook] = {}
        self.min_reader = 0
        self.position = 0
        self.recorded_at = 0

    def apply(self, recorded: Recorded) -> None:
        """Apply one event; what is closed is forgotten."""
        event, at = recorded.event, recorded.recorded_at
        customer = recorded.customer
        if customer is not None:
            self.balances[customer] = evolve(self.balances.get(customer, _NOBODY), event, at)
            name: str | None = getattr(event, "reservation", None)
            if name is not None:
                known = self.reservations.pop(name, None)
                state = reservation.evolve(known, event, at, recorded.command)
                if state is not None and state.status == "open":
                    self.reservations[name] = state
        elif isinstance(event, PricesPublished):
            book = self.books.get(event.book) or PriceBook(event.book)
            self.books[event.book] = pricebook.evolve(book, event)
        elif isinstance(event, MinReaderRaised):
            self.min_reader = max(self.min_reader, event.reader)
        self.position = recorded.position
        self.recorded_at = at

    def customer_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each customer's state as docs/formats/state.md writes it, in order of id."""
        for name in sorted(self.balances):
            yield name, balance_to_wire(self.balances[name])

    def book_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each price book as docs/formats/state.md writes it, in order of id."""
        for name in sorted(self.books):
            yield name, book_to_wire(self.books[name])

    def reservation_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each open reservation as docs/formats/state.md writes it, in order of id."""
        for name in sorted(self.reservations):
            yield name, reservation_to_wire(self.reservations[name])


def state_lines(ledger: FoldedLedger) -> Iterator[bytes]:
    """Yield the lines of the state format, each canonical JSON and a newline."""
    yield _line([STATE_FORMAT, ledger.position, ledger.min_reader])
    sections: Iterable[tuple[str, Iterator[tuple[str, dict[str, Any]]]]] = (
        ("book", ledger.book_states()),
        ("customer", ledger.customer_states()),
        ("reservation", ledger.reservation_states()),
    )
    for kind, states in sections:
        for name, state in states:
            yield _line([kind, name, state])


def _line(value: list[Any]) -> bytes:
    return canonical.dumps(value, max_bytes=STATE_LINE_BYTES_MAX) + b"\n"


def state_hash(ledger: FoldedLedger) -> str:
    """Return the SHA-256 over the state format, in hex."""
    digest = hashlib.sha256()
    for line in state_lines(ledger):
        digest.update(line)
    return digest.hexdigest()


class Target(NamedTuple):
    """How far to replay: a position, or an instant of `recorded_at`; None means to the head."""

    position: int | None = None
    instant: int | None = None


def parse_target(text: str) -> Target:
    """Read a POSITION or a TIME (RFC 3339)."""
    if text.isascii() and text.isdigit() and len(text) < 19:
        return Target(position=int(text))
    try:
        return Target(instant=parse_instant(text))
    except Invalid:
        raise Invalid.because("to", text, "a position or an RFC 3339 time") from None


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


def replay(
    reader: ReplayReader, target: Target | None = None, progress: Progress | None = None
) -> ReplayReport:
    """Fold every event up to a target; raises NotFound for a position beyond the ledger."""
    target = target or Target()
    head = reader.position()
    if target.position is not None and target.position > head:
        raise NotFound(f"the ledger ends at position {head}", field="to", value=target.position)
    last = head if target.position is None else target.position
    ledger, tree = FoldedLedger(), Frontier()
    for chunk in reader.recorded():
        wanted = chunk
        if not _is_wanted(chunk[-1][0], last, target.instant):  # neither number ever goes back
            wanted = [each for each in chunk if _is_wanted(each[0], last, target.instant)]
        for recorded, _ in wanted:
            ledger.apply(recorded)
        tree.extend(leaf for _, leaf in wanted)
        if progress is not None:
            progress(len(wanted))
        if len(wanted) < len(chunk):
            break
    return ReplayReport(
        position=ledger.position,
        recorded_at=ledger.recorded_at,
        root=tree.root().hex(),
        state_hash=state_hash(ledger),
        customers=len(ledger.balances),
        price_books=len(ledger.books),
        open_reservations=len(ledger.reservations),
    )


def _is_wanted(recorded: Recorded, last: int, instant: int | None) -> bool:
    return recorded.position <= last and (instant is None or recorded.recorded_at <= instant)
