"""The state in memory: aggregates as of one position, and a batch's changes on top of it.

Memory is only a cache of a position. A draft lies over the world while a batch is decided. The
world advances by it when the batch is sent, so that the next one can be decided meanwhile; if the
batch was not committed, the world goes back to the position before it. Nobody is answered, and
nothing is read, from here before the commit.
"""

from typing import Any

from tollbook.errors import Unavailable

from application.moments import Moments
from application.ports import EventStore
from domain import parking, pricebook, reservation
from domain.balance import Balance
from domain.event import Event, Recorded
from domain.events import MinReaderRaised, PricesPublished
from domain.folding import evolve
from domain.parking import ParkedUsage
from domain.pricebook import PriceBook
from domain.reservation import Reservation
from domain.usage_events import UsageParked, UsageReleased

READER = 1
"""The newest event generation this code can read; see the event `min_reader_raised`."""

BALANCES_MAX = 50_000
RESERVATIONS_MAX = 50_000
PARKED_MAX = 5_000
"""How many aggregates stay in memory; the rest is loaded again when needed."""


class World:
    """Aggregates as of `position`, loaded when they are first needed."""

    def __init__(self, store: EventStore) -> None:
        """Start empty at the store's head."""
        self._store = store
        self.moments = Moments(store)
        self.position = 0
        self.recorded_at = 0
        self.balances: dict[str, Balance] = {}
        self.reservations: dict[str, Reservation | None] = {}
        self.books: dict[str, PriceBook] = {}
        self.parked: dict[str, ParkedUsage] = {}
        self.ledger_version = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything and stand at the store's head."""
        head = self._store.head()
        self.position, self.recorded_at = head.position, head.recorded_at
        self.forget()
        self.ledger_version = 0
        for recorded in self._store.stream_events("ledger-0", self.position):
            self.ledger_version = recorded.stream_version
            check_reader(recorded.event)

    def forget(self) -> None:
        """Let go of every aggregate; each is loaded again when it is needed."""
        self.balances.clear()
        self.reservations.clear()
        self.books.clear()
        self.parked.clear()

    def balance(self, customer: str) -> Balance:
        """Return a customer's balance; an unknown customer has an empty one."""
        found = self.balances.get(customer)
        if found is None:
            found = load_balance(self._store, customer, self.position)
            self.balances[customer] = found
        return found

    def reservation(self, name: str) -> Reservation | None:
        """Return a reservation, or None when there is none by that id."""
        if name in self.reservations:
            return self.reservations[name]
        found = load_reservation(self._store, name, self.position)
        if found is not None:
            self.reservations[name] = found
        return found

    def book(self, name: str) -> PriceBook:
        """Return a price book; an unknown one has no versions."""
        found = self.books.get(name)
        if found is None:
            found = load_book(self._store, name, self.position)
            self.books[name] = found
        return found

    def parked_usage(self, name: str) -> ParkedUsage | None:
        """Return a parked usage record, or None when there is none by that id."""
        found = self.parked.get(name)
        if found is None:
            found = load_parked(self._store, name, self.position)
            if found is not None:
                self.parked[name] = found
        return found

    def apply(self, recorded: Recorded) -> None:
        """Apply an event that another writer appended, to what is in memory."""
        event = recorded.event
        check_reader(event)
        if recorded.customer is not None:
            balance = self.balances.get(recorded.customer)
            if balance is not None and recorded.customer_sequence == balance.sequence + 1:
                self.balances[recorded.customer] = evolve(balance, event, recorded.recorded_at)
        name: str | None = getattr(event, "reservation", None)
        if name is not None:
            self._apply_to_reservation(name, recorded)
        if isinstance(event, PricesPublished):
            book = self.books.get(event.book)
            if book is not None and event.version == len(book.versions) + 1:
                self.books[event.book] = pricebook.evolve(book, event)
        if isinstance(event, MinReaderRaised):
            self.ledger_version = recorded.stream_version
        if isinstance(event, UsageParked | UsageReleased):
            self.parked.pop(event.parked, None)  # seldom met again: loaded when it is
        self.position = recorded.position
        self.recorded_at = max(self.recorded_at, recorded.recorded_at)

    def _apply_to_reservation(self, name: str, recorded: Recorded) -> None:
        """Apply an event to a reservation in memory, unless it was loaded with it already."""
        known = self.reservations.get(name)
        version = 0 if known is None else known.version
        if recorded.stream_version == version + 1:
            self.reservations[name] = reservation.evolve(
                known, recorded.event, recorded.recorded_at, recorded.command
            )

    def trim(self) -> None:
        """Let go of the aggregates that were put in longest ago, when there are too many."""
        _trim(self.balances, BALANCES_MAX)
        _trim(self.reservations, RESERVATIONS_MAX)
        _trim(self.parked, PARKED_MAX)


def _trim(cache: dict[str, Any], most: int) -> None:
    if len(cache) > most:
        for key in list(cache)[: len(cache) - most * 9 // 10]:
            del cache[key]


CATCH_UP_CHUNK = 2_000
CATCH_UP_MAX = 100_000
"""Further behind than this, forgetting everything and loading again is faster."""


def catch_up(world: World, store: EventStore) -> None:
    """Apply everything that other writers have appended since the world's position."""
    first = True
    while True:
        events = store.since(world.position, CATCH_UP_CHUNK)
        for recorded in events:
            world.apply(recorded)
        if len(events) < CATCH_UP_CHUNK:
            world.trim()
            return
        if first and store.head().position - world.position > CATCH_UP_MAX:
            world.reset()
            return
        first = False


class Draft:
    """A batch's view of the world: its own changes first, then what is committed."""

    def __init__(self, world: World) -> None:
        """Start without changes."""
        self._world = world
        self.balances: dict[str, Balance] = {}
        self.reservations: dict[str, Reservation | None] = {}
        self.books: dict[str, PriceBook] = {}
        self.parked: dict[str, ParkedUsage] = {}
        self.position = world.position
        self.recorded_at = world.recorded_at
        self.ledger_version = world.ledger_version

    def balance(self, customer: str) -> Balance:
        """Return the balance as this batch has left it."""
        found = self.balances.get(customer)
        return self._world.balance(customer) if found is None else found

    def reservation(self, name: str) -> Reservation | None:
        """Return the reservation as this batch has left it."""
        found = self.reservations.get(name)
        return self._world.reservation(name) if found is None else found

    def reservation_in_memory(self, name: str) -> Reservation | None:
        """Return a reservation if it is in memory; never asks the store."""
        return self.reservations.get(name) or self._world.reservations.get(name)

    def copy(self) -> "Draft":
        """Return a draft that can be gone back to when a group of commands fails."""
        other = Draft(self._world)
        other.balances = self.balances.copy()
        other.reservations = self.reservations.copy()
        other.books = self.books.copy()
        other.parked = self.parked.copy()
        other.position, other.recorded_at = self.position, self.recorded_at
        other.ledger_version = self.ledger_version
        return other

    def book(self, name: str) -> PriceBook:
        """Return the price book as this batch has left it."""
        found = self.books.get(name)
        return self._world.book(name) if found is None else found

    def parked_usage(self, name: str) -> ParkedUsage | None:
        """Return the parked usage record as this batch has left it."""
        found = self.parked.get(name)
        return self._world.parked_usage(name) if found is None else found

    def advance(self) -> "Undo":
        """Make this batch's changes the state that the next batch is decided on.

        Returns what takes them back, should the batch turn out not to be committed.
        """
        world = self._world
        undo = Undo(world, {name: _sequence(world, name) for name in self.balances})
        world.balances.update(self.balances)
        world.reservations.update(self.reservations)
        world.books.update(self.books)
        world.parked.update(self.parked)
        world.position, world.recorded_at = self.position, self.recorded_at
        world.ledger_version = self.ledger_version
        world.trim()
        return undo


def _sequence(world: World, customer: str) -> int:
    known = world.balances.get(customer)
    return 0 if known is None else known.sequence


class Undo:
    """The way back to the position before a batch that was not committed."""

    def __init__(self, world: World, sequences: dict[str, int]) -> None:
        """Remember where the world stands, and each concerned customer's event number."""
        self._world = world
        self._marks = world.position, world.recorded_at, world.ledger_version
        self.sequences = sequences

    def take_back(self) -> None:
        """Stand at the old position again, and forget all state.

        What was loaded since then may hold other writers' events, so it is loaded anew.
        """
        world = self._world
        world.forget()
        world.position, world.recorded_at, world.ledger_version = self._marks


def check_reader(event: Event) -> None:
    """Stop code that is too old for what may be written from this event on."""
    if isinstance(event, MinReaderRaised) and event.reader > READER:
        raise Unavailable(
            f"the ledger needs a program that reads generation {event.reader}; "
            f"this one reads {READER}: upgrade it",
            reader=event.reader,
        )


def load_balance(store: EventStore, customer: str, position: int) -> Balance:
    """Fold a customer's events up to a position, from the newest usable snapshot on."""
    balance = Balance()
    snapshot = store.snapshot(customer)
    if snapshot is not None and snapshot.position <= position:
        balance = snapshot.balance
    for recorded in store.customer_events(customer, balance.sequence, position):
        balance = evolve(balance, recorded.event, recorded.recorded_at)
    return balance


def load_reservation(store: EventStore, name: str, position: int) -> Reservation | None:
    """Fold a reservation's stream up to a position."""
    state: Reservation | None = None
    for recorded in store.stream_events(f"reservation-{name}", position):
        state = reservation.evolve(state, recorded.event, recorded.recorded_at, recorded.command)
    return state


def load_parked(store: EventStore, name: str, position: int) -> ParkedUsage | None:
    """Fold a parked usage record's stream up to a position."""
    state: ParkedUsage | None = None
    for recorded in store.stream_events(f"usage-{name}", position):
        state = parking.evolve(state, recorded.event, recorded.position, recorded.command)
    return state


def load_book(store: EventStore, name: str, position: int) -> PriceBook:
    """Fold a price book's stream up to a position."""
    book = PriceBook(name)
    for recorded in store.stream_events(f"prices-{name}", position):
        book = pricebook.evolve(book, recorded.event)
    return book
