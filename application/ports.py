"""The ports: what the use cases need from the world, and how it can fail.

Each port has a contract suite in tests/contract that every implementation passes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from tollbook.tokens import SigningKey

from domain.balance import Balance
from domain.event import Event, Recorded
from domain.reservation import Reservation

Key = tuple[str, str, str]
"""(kind, scope, id): unique for ever."""


class Head(NamedTuple):
    """Where the ledger stands."""

    position: int
    recorded_at: int
    clock: str
    """`database`, or `trace` while a recorded trace sets the time."""


class Rider(NamedTuple):
    """A stream offset that moves in the same transaction as the batch that settled it."""

    cluster: str
    topic: str
    partition: int
    expected: int
    next_offset: int


class Batch(NamedTuple):
    """What one transaction appends: events right after `expected`, ids, and offsets."""

    expected: int
    events: Sequence[Recorded]
    ids: Sequence[tuple[Key, int]]
    """Each command's key and the position of the event that answers it."""
    riders: Sequence[Rider] = ()


class Snapshot(NamedTuple):
    """A balance as it stood after the customer's event number `balance.sequence`."""

    balance: Balance
    position: int


class Fact(NamedTuple):
    """What the fold of a customer needs of an event, which is read faster than all of it."""

    event: Event
    recorded_at: int


class History(NamedTuple):
    """What the fold of a customer starts from, and the events since, in order."""

    balance: Balance
    facts: list[Fact]


class HeadMovedError(Exception):
    """Another writer appended first: catch up and decide again."""


class ClockRefusedError(Exception):
    """A time lies behind the head or too far off the database's clock: decide again."""


class TakenError(Exception):
    """An id or a stream version in the batch is taken: look them up and decide again."""


class FencedError(Exception):
    """A rider's offset is not where its worker thinks: the worker is a zombie."""


class ConnectionLostError(Exception):
    """The connection broke; whether the batch was committed is not known."""


class StoreFailedError(Exception):
    """The database refused to write (a full disk, say): nothing was written."""


Concerns = Callable[[str, str | None], bool]
"""Says of a stream and a customer whether their events are asked for."""


class EventStore(Protocol):
    """The append-only log with its head, its ids, and the loads that decisions need."""

    def head(self) -> Head:
        """Return where the ledger stands."""

    def database_time(self) -> int:
        """Return the database's clock, in microseconds since 1970."""

    def append(self, batch: Batch) -> None:
        """Append all of a batch in one transaction, or nothing."""

    def send(self, batch: Batch) -> None:
        """Begin to append a batch without waiting; other calls wait for it first."""

    def receive(self) -> None:
        """Wait for the batch that was sent; raises as `append` does."""

    def locked(self) -> AbstractContextManager[Head]:
        """Hold the head while the block runs; an append inside commits and ends the hold."""

    def since(self, position: int, limit: int, concerns: Concerns | None = None) -> list[Recorded]:
        """Return which of the next `limit` events concern somebody, in order; the last one always.

        So whoever goes on after the last one misses none, and an empty list means the end.
        """

    def at(self, positions: Iterable[int]) -> dict[int, Recorded]:
        """Return the events at these positions."""

    def taken(self, keys: Sequence[Key]) -> dict[Key, int]:
        """Return which of these keys are taken, and the positions that answer them."""

    def customer_events(
        self, customer: str, after: int, position: int, last: int | None = None
    ) -> Iterator[Recorded]:
        """Yield a customer's events after a sequence number, up to a position.

        With `last`, no further than that sequence number.
        """

    def stream_events(self, stream: str, position: int) -> Iterator[Recorded]:
        """Yield a stream's events up to a position."""

    def histories(self, customers: Sequence[str], position: int) -> dict[str, History]:
        """Return what the folds of many customers start from, and the events up to a position.

        A customer is left out if the newest usable snapshot is of later than that.
        """

    def reservations(self, names: Sequence[str], position: int) -> dict[str, Reservation]:
        """Return many reservations as of a position; those that there are not are left out."""

    def streams_events(self, streams: Sequence[str], position: int) -> Iterator[Recorded]:
        """Yield the events of many streams up to a position, each stream's in order."""

    def snapshot(self, customer: str) -> Snapshot | None:
        """Return the customer's newest usable snapshot."""

    def save_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Keep these snapshots in place of older ones."""

    def matches(self, batch: Batch) -> bool:
        """Say whether exactly this batch is stored (asked after a lost acknowledgement)."""


class Clock(Protocol):
    """The writer's idea of the database's time."""

    def now(self) -> int:
        """Return the time in microseconds since 1970; never going back."""

    def synchronise(self, ask: Callable[[], int]) -> None:
        """Take the time that the database tells as the truth from here on; never behind it."""


class Vault(Protocol):
    """Seals personal fields under a key per customer; destroying the key erases them."""

    def seal(self, customer: str, field: str, text: str) -> str:
        """Return the sealed form: the same text always gives the same, for one customer."""

    def open(self, customer: str, field: str, sealed: str) -> str | None:
        """Return the text, or None when the customer's key was destroyed."""


class LicenseSecrets(Protocol):
    """Hashes what is secret about licences, and signs for the ledger; raises Unavailable."""

    @property
    def signing_key(self) -> SigningKey:
        """The key that signs leases and decisions now."""

    def public_keys(self) -> list[bytes]:
        """Return the raw public keys whose tokens hold, the newest first."""

    def key_hash(self, text: str) -> str:
        """Return the keyed hash of a licence key; raises Invalid for text that is none."""

    def component_hash(self, license_id: str, name: str, value: str) -> str:
        """Return the keyed hash of a hardware component of a machine."""
