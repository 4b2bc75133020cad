"""The folded ledger: the state that a ledger's events come to, as lines of the state format.

Nothing here looks at snapshots, at the clock or at anything else than the events, so the same
events give the same lines on every machine (docs/formats/state.md).
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from tollbook import canonical

from domain import pricebook, reservation
from domain.balance import Balance
from domain.event import Event, Recorded
from domain.events import MinReaderRaised, PricesPublished, ReservationReleased, ReservationSettled
from domain.folding import evolve
from domain.pricebook import PriceBook
from domain.reservation import Reservation
from domain.state import balance_to_wire, book_to_wire, reservation_to_wire

STATE_FORMAT = "tollbook/state/2"

STATE_LINE_BYTES_MAX = 256 * 2**20
"""The longest line of the state format: one customer with all open holds."""

_NOBODY = Balance()


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
        """Apply one recorded event; what is closed is forgotten."""
        self.fold(recorded.event, recorded.customer, recorded.command, recorded.recorded_at)
        self.position = recorded.position
        self.recorded_at = recorded.recorded_at

    def fold(self, event: Event, customer: str | None, command: str, at: int) -> None:
        """Apply an event to what it concerns."""
        if customer is not None:
            self.balances[customer] = evolve(self.balances.get(customer, _NOBODY), event, at)
            name: str | None = getattr(event, "reservation", None)
            if name is not None:
                self._fold_reservation(name, event, at, command)
        elif isinstance(event, PricesPublished):
            book = self.books.get(event.book) or PriceBook(event.book)
            self.books[event.book] = pricebook.evolve(book, event)
        elif isinstance(event, MinReaderRaised):
            self.min_reader = max(self.min_reader, event.reader)

    def _fold_reservation(self, name: str, event: Event, at: int, command: str) -> None:
        known = self.reservations.pop(name, None)
        closes = isinstance(event, ReservationReleased) or (
            isinstance(event, ReservationSettled) and event.final
        )
        if not closes:
            state = reservation.evolve(known, event, at, command)
            if state is not None:
                self.reservations[name] = state

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
    yield head_line(ledger.position, ledger.min_reader)
    for _, line in (*book_lines(ledger), *customer_lines(ledger), *reservation_lines(ledger)):
        yield line


Lines = Iterator[tuple[str, bytes]]
"""(id, line) in order of id."""


def head_line(position: int, min_reader: int) -> bytes:
    """Return the first line: format, position, and the oldest program that may decide."""
    return _line([STATE_FORMAT, position, min_reader])


def book_lines(ledger: FoldedLedger) -> Lines:
    """Yield the lines of the price books."""
    return _lines("book", ledger.book_states())


def customer_lines(ledger: FoldedLedger) -> Lines:
    """Yield the lines of the customers."""
    return _lines("customer", ledger.customer_states())


def reservation_lines(ledger: FoldedLedger) -> Lines:
    """Yield the lines of the open reservations."""
    return _lines("reservation", ledger.reservation_states())


def _lines(kind: str, states: Iterable[tuple[str, dict[str, Any]]]) -> Lines:
    for name, state in states:
        yield name, _line([kind, name, state])


def _line(value: list[Any]) -> bytes:
    return canonical.dumps(value, max_bytes=STATE_LINE_BYTES_MAX) + b"\n"


def state_hash(ledger: FoldedLedger) -> str:
    """Return the SHA-256 over the state format, in hex."""
    return hash_lines(state_lines(ledger))


def hash_lines(lines: Iterable[bytes]) -> str:
    """Return the SHA-256 over lines of the state format, in hex."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest()
