"""The event store in memory: the port of application.ports, with the same rules and refusals.

Events are kept as the bytes that the real store would keep, so that everything read back has gone
through canonical JSON. It is a fake for tests of rules, not a database: nothing outlives it.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from adapters.event_store.mapper import decode, encode, leaf_hash
from adapters.event_store.recorder import snapshot_from
from adapters.event_store.snapshot_text import snapshot_text
from application.loading import load_reservation
from application.ports import (
    Batch,
    ClockRefusedError,
    Concerns,
    Fact,
    FencedError,
    Head,
    HeadMovedError,
    History,
    Key,
    Snapshot,
    TakenError,
)
from domain.balance import Balance
from domain.event import Recorded
from domain.reservation import Reservation

CLOCK_TOLERANCE = 250_000
"""How far a batch's times may lie off the store's clock, in microseconds."""


class Stored(NamedTuple):
    """An event as it is kept: its envelope, its payload's bytes and its leaf hash."""

    envelope: Recorded
    data: bytes
    leaf: bytes

    def recorded(self) -> Recorded:
        """Read the event back from its bytes."""
        kept = self.envelope
        return kept._replace(event=decode(kept.name, kept.version, self.data))


class MemoryEventStore:
    """Implements application.ports.EventStore; several writers may share one."""

    def __init__(self, clock: Literal["database", "trace"] = "trace") -> None:
        """Start an empty ledger; `now` is the store's clock and the test's to set."""
        self.clock = clock
        self.now = 0
        self.stored: list[Stored] = []
        self._recorded_at = 0
        self._ids: dict[Key, int] = {}
        self._streams: dict[str, list[int]] = {}
        self._customers: dict[str, list[int]] = {}
        self._offsets: dict[tuple[str, str, int], int] = {}
        self._snapshots: dict[str, str] = {}
        self._guard = threading.RLock()

    def head(self) -> Head:
        """Return where the ledger stands."""
        return Head(len(self.stored), self._recorded_at, self.clock)

    def database_time(self) -> int:
        """Return the store's clock, in microseconds since 1970."""
        return self.now

    def send(self, batch: Batch) -> None:
        """Append at once, and keep how it ended for `receive`."""
        try:
            self.append(batch)
        except Exception as error:
            self._outcome: Exception | None = error
        else:
            self._outcome = None

    def receive(self) -> None:
        """Say how the batch that was sent ended."""
        if self._outcome is not None:
            raise self._outcome

    def append(self, batch: Batch) -> None:
        """Append all of a batch, or nothing."""
        with self._guard:
            if batch.expected != len(self.stored):
                raise HeadMovedError
            self._check_clock(batch.events)
            self._check_offsets(batch)
            self._check_taken(batch)
            for recorded in batch.events:
                self._keep(recorded)
            self._ids.update(batch.ids)
            for rider in batch.riders:
                self._offsets[rider.cluster, rider.topic, rider.partition] = rider.next_offset

    def _check_clock(self, events: Sequence[Recorded]) -> None:
        times = [recorded.recorded_at for recorded in events]
        if times != sorted(times) or (times and times[0] < self._recorded_at):
            raise ClockRefusedError
        if self.clock == "database" and any(
            abs(time - self.now) > CLOCK_TOLERANCE for time in times
        ):
            raise ClockRefusedError

    def _check_offsets(self, batch: Batch) -> None:
        for rider in batch.riders:
            kept = self._offsets.get((rider.cluster, rider.topic, rider.partition))
            if kept is not None and kept != rider.expected:
                raise FencedError

    def _check_taken(self, batch: Batch) -> None:
        """Refuse ids, stream versions and customer sequences that are taken or leave a gap."""
        keys = [key for key, _ in batch.ids]
        if len(set(keys)) < len(keys) or any(key in self._ids for key in keys):
            raise TakenError("command_ids_taken")
        streams: dict[str, int] = {}
        customers: dict[str, int] = {}
        for number, recorded in enumerate(batch.events, batch.expected + 1):
            assert recorded.position == number, "positions are gapless"
            reached = streams.get(recorded.stream, len(self._streams.get(recorded.stream, ())))
            if recorded.stream_version != reached + 1:
                raise TakenError("events_stream")
            streams[recorded.stream] = reached + 1
            if recorded.customer is not None:
                name = recorded.customer
                sequence = customers.get(name, len(self._customers.get(name, ())))
                if recorded.customer_sequence != sequence + 1:
                    raise TakenError("events_customer")
                customers[name] = sequence + 1
            self._check_reservation(recorded)

    def _check_reservation(self, recorded: Recorded) -> None:
        name = recorded.stream.removeprefix("reservation-")
        key = ("create_customer", name, name)
        if recorded.name == "reservation_held" and key in self._ids:
            raise TakenError("customer")

    def _keep(self, recorded: Recorded) -> None:
        data = encode(recorded.event)
        self.stored.append(Stored(recorded, data, leaf_hash(recorded, data)))
        self._recorded_at = recorded.recorded_at
        self._streams.setdefault(recorded.stream, []).append(recorded.position)
        if recorded.customer is not None:
            self._customers.setdefault(recorded.customer, []).append(recorded.position)

    @contextmanager
    def locked(self) -> Iterator[Head]:
        """Hold the head while the block runs."""
        with self._guard:
            yield self.head()

    def since(self, position: int, limit: int, concerns: Concerns | None = None) -> list[Recorded]:
        """Return which of the next `limit` events concern somebody, in order; the last one too."""
        found = [stored.recorded() for stored in self.stored[position : position + limit]]
        if concerns is None:
            return found
        return [each for each in found[:-1] if concerns(each.stream, each.customer)] + found[-1:]

    def at(self, positions: Iterable[int]) -> dict[int, Recorded]:
        """Return the events at these positions."""
        return {position: self.stored[position - 1].recorded() for position in positions}

    def taken(self, keys: Sequence[Key]) -> dict[Key, int]:
        """Return which of these keys are taken, and the positions that answer them."""
        return {key: self._ids[key] for key in keys if key in self._ids}

    def customer_events(
        self, customer: str, after: int, position: int, last: int | None = None
    ) -> Iterator[Recorded]:
        """Yield a customer's events after a sequence number, up to a position and to `last`."""
        yield from self._upto(self._customers.get(customer, [])[after:last], position)

    def stream_events(self, stream: str, position: int) -> Iterator[Recorded]:
        """Yield a stream's events up to a position."""
        yield from self._upto(self._streams.get(stream, []), position)

    def histories(self, customers: Sequence[str], position: int) -> dict[str, History]:
        """Return what the folds of many customers start from, and the events up to a position."""
        found: dict[str, History] = {}
        for customer in customers:
            snapshot = self.snapshot(customer)
            if snapshot is None or snapshot.position <= position:
                balance = Balance() if snapshot is None else snapshot.balance
                events = self.customer_events(customer, balance.sequence, position)
                facts = [Fact(recorded.event, recorded.recorded_at) for recorded in events]
                found[customer] = History(balance, facts)
        return found

    def reservations(self, names: Sequence[str], position: int) -> dict[str, Reservation]:
        """Return many reservations as of a position; those that there are not are left out."""
        found = {name: load_reservation(self, name, position) for name in names}
        return {name: state for name, state in found.items() if state is not None}

    def streams_events(self, streams: Sequence[str], position: int) -> Iterator[Recorded]:
        """Yield the events of many streams up to a position, each stream's in order."""
        for stream in dict.fromkeys(streams):
            yield from self.stream_events(stream, position)

    def _upto(self, positions: Sequence[int], last: int) -> Iterator[Recorded]:
        for position in positions:
            if position <= last:
                yield self.stored[position - 1].recorded()

    def snapshot(self, customer: str) -> Snapshot | None:
        """Return the customer's newest snapshot."""
        kept = self._snapshots.get(customer)
        return None if kept is None else snapshot_from(kept)

    def save_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Keep these snapshots in place of older ones."""
        for snapshot in snapshots:
            customer = snapshot.balance.customer
            assert customer is not None
            self._snapshots[customer.id] = snapshot_text(snapshot)

    def matches(self, batch: Batch) -> bool:
        """Say whether exactly this batch is stored."""
        with self._guard:
            if not batch.events or batch.events[-1].position > len(self.stored):
                return False
            last = batch.events[-1]
            return self.stored[last.position - 1].leaf == leaf_hash(last, encode(last.event))
