"""Settlement: records of usage in, one transaction of the ledger with their offsets out.

The ledger owns the offsets (house rule 8): they move in the transaction that settles, so that a
record is settled once whatever Kafka repeats, and a worker that another has replaced is fenced.
While one transaction is decided and commits, the records of the next are read and handed over too;
should the first fail, the others are fenced by their own offsets, unless another worker has settled
just what precedes them.
Nothing here knows Faust: the worker feeds it, and so do tests.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from tollbook.errors import TollbookError, Unavailable, Unknown

from application.ports import Rider
from streams import wire
from streams.ledger import Ledger, Untaken
from streams.runs import Told

logger = logging.getLogger("tollbook.stream")

ITEMS_MAX = 1_000
"""So many events are settled in one transaction, or those of one record; one of a run through a
pipeline counts as often as it may have stages to look up."""

BYTES_MAX = 16 * 2**20
"""So many bytes of records at most are settled in one transaction, or one record."""

ITEMS_LEAST = 50
SECONDS = 0.125
"""So long a transaction is to take: a busy machine gets smaller ones, of so many events at least.
The ledger refuses a decision whose time is 250 ms off when it is written."""
AHEAD_MAX = 3
"""So many transactions are handed over at most: one that commits, one that is decided meanwhile,
and one that waits, so that the ledger need not wait for its records to be read."""


class Record(NamedTuple):
    """One record of the topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Dead(NamedTuple):
    """What cannot be settled whoever tries, on its way to the dead letters."""

    partition: int
    offset: int
    key: bytes | None
    bad: wire.Bad


class Offsets(Protocol):
    """Where the ledger has every partition of a topic."""

    def __call__(self) -> Mapping[int, int]:
        """Return the next offset of each partition that the ledger knows."""


Bury = Callable[[Sequence[Dead]], None]
"""Sends dead letters, and returns when they are kept; raises Unavailable otherwise."""


class OutOfStepError(Exception):
    """This worker and the ledger do not agree on what comes next: it must begin again."""


class Settlement:
    """Settles one topic of one cluster, as far as this process was given it."""

    def __init__(
        self,
        ledger: Ledger,
        cluster: str,
        topic: str,
        offsets: Offsets,
        bury: Bury,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know nothing yet: `begin` says where each partition stands."""
        self._ledger = ledger
        self._cluster, self._topic = cluster, topic
        self._offsets, self._bury = offsets, bury
        self._next: dict[int, int] = {}
        self._ahead: deque[_Flight] = deque()
        """What the ledger was given and has not answered yet, in order."""
        self._pace = _Pace(monotonic)
        self._kept: set[int] = set()
        """The partitions of which the ledger is known to have an offset."""
        self._buried: set[Dead] = set()
        """What is kept already of records that are not all settled yet."""
        self._ended = False
        self.settled = self.repeated = self.dead = 0
        """Events told to the ledger, records seen again, and dead letters."""
        self.transactions = 0
        """So many were settled by this worker."""

    def begin(self, partition: int, offset: int) -> None:
        """Take a partition whose next record has this offset."""
        self._next[partition] = offset

    def apply(self, records: Iterable[Record]) -> None:
        """Settle records, each partition's in its order; returns when the ledger has them all.

        Raises OutOfStepError when another worker has them or some are missing, and Unavailable
        or Unknown when the ledger does not answer: then `resume`, and apply the same again.
        """
        try:
            for batch in self._read(records):
                if self._ended:
                    raise OutOfStepError("this worker is stopping")
                while self._ahead and not self._may_follow(batch):
                    self._land()
                self._send(batch)
        finally:
            while self._ahead:
                self._land()
        self._buried.clear()

    @property
    def positions(self) -> Mapping[int, int]:
        """Where this worker stands in each partition that it was given."""
        return dict(self._next)

    def end(self) -> None:
        """Settle nothing any more: the ledger is about to be closed."""
        self._ended = True

    def resume(self) -> None:
        """Ask the ledger anew where the partitions stand; raises Unavailable."""
        known = self._offsets()
        self._next.update({each: known[each] for each in self._next.keys() & known.keys()})
        self._buried = {
            each for each in self._buried if each.offset >= self._next.get(each.partition, 0)
        }

    def _read(self, records: Iterable[Record]) -> Iterator["_Batch"]:
        """Yield what is new of these records, as much at a time as one transaction settles."""
        due: dict[int, int] = {}
        batch = _Batch()
        for record in records:
            if not self._is_new(record, due):
                continue
            found = wire.read(record.value)
            if batch.moves and not batch.has_room(record, found, self._pace.most):
                yield batch
                batch = _Batch()
            batch.add(record, found)
            due[record.partition] = record.offset + 1
        if batch.moves:
            yield batch

    def _is_new(self, record: Record, due: Mapping[int, int]) -> bool:
        """Say whether a record comes next; one that was settled before is passed over."""
        following = due.get(record.partition, self._next.get(record.partition))
        if following is None:
            raise OutOfStepError(f"partition {record.partition} is not this worker's")
        if record.offset > following:
            told = f"partition {record.partition}: {record.offset} came where {following} was due"
            raise OutOfStepError(told)
        self.repeated += record.offset < following
        return record.offset == following

    def _may_follow(self, batch: "_Batch") -> bool:
        """Say whether a batch may be sent before the one ahead of it is known to be settled.

        A partition's first offset is taken by the ledger as it comes, so nothing would fence it.
        """
        return len(self._ahead) < AHEAD_MAX and batch.moves.keys() <= self._kept

    def _send(self, batch: "_Batch") -> None:
        if dead := [each for each in batch.dead if each not in self._buried]:
            self._bury(dead)
            self._buried.update(dead)
        riders = [
            Rider(self._cluster, self._topic, partition, *move)
            for partition, move in batch.moves.items()
        ]
        at = self._pace.now()
        self._ahead.append(_Flight(batch, self._ledger.begin(batch.told, riders), at))

    def _land(self) -> None:
        """Wait for what was sent first; where it failed, for all that was sent, and then raise."""
        flight = self._ahead.popleft()
        try:
            self._settled(flight.batch, self._ledger.answers(flight.begun))
        except BaseException:
            self._pace.failed()
            while self._ahead:
                with suppress(TollbookError):
                    self._ledger.answers(self._ahead.popleft().begun)
            raise
        self._pace.took(flight.batch.weight, flight.at)

    def _settled(self, batch: "_Batch", untaken: Sequence[Untaken]) -> None:
        for each in untaken:
            if each.error is not None:
                self._look_at(each.id, each.error)
        moved = {partition: move[1] for partition, move in batch.moves.items()}
        if untaken or not batch.told:
            known = self._offsets()
            # What was sent after it may be settled as well by now.
            if any(known.get(each, 0) < offset for each, offset in moved.items()):
                raise OutOfStepError("the offsets have not moved as they were to")
        self._next.update(moved)
        self._kept.update(moved)
        self._buried.difference_update(batch.dead)
        self.transactions += 1
        self.settled += len(batch.told)
        self.dead += len(batch.dead)

    def _look_at(self, id: str, error: TollbookError) -> None:
        """Tell what failed the whole transaction from what the ledger knows nothing of."""
        if error.code == "fenced":
            raise OutOfStepError(str(error))
        if isinstance(error, Unavailable | Unknown):
            raise error
        # A hold that was never there cannot be released, and nothing is lost by that.
        logger.error("the ledger does not take the end of %s: %s", id, error)


class _Flight(NamedTuple):
    """A batch that the ledger was given."""

    batch: "_Batch"
    begun: Any
    at: float


class _Pace:
    """How large a transaction may be, by how long those before have taken."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.now = monotonic
        self.most = ITEMS_MAX
        self._ended = 0.0

    def took(self, weight: int, begun: float) -> None:
        """Tell how much was settled since then, or since the one before it was."""
        since, self._ended = max(begun, self._ended), self.now()
        seconds = max(self._ended - since, 1e-6)
        fitting = int(weight * SECONDS / seconds)
        if seconds > SECONDS:
            self._set(fitting)
        elif fitting > self.most:  # a small one says little about larger ones
            self._set(min(fitting, 2 * self.most))

    def failed(self) -> None:
        """Tell that one was not settled: it may have been too large for a busy machine."""
        self._set(self.most // 4)

    def _set(self, most: int) -> None:
        self.most = min(ITEMS_MAX, max(ITEMS_LEAST, most))


def _load_of(found: wire.Read) -> int:
    return max(1, found.weight + len(found.bad))


class _Batch:
    """What one transaction settles."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.weight = 0
        self.moves: dict[int, tuple[int, int]] = {}
        """By partition, the offset that is next now, and the one that is next then."""
        self.dead: list[Dead] = []
        self._load = self._bytes = 0

    def has_room(self, record: Record, found: wire.Read, most: int) -> bool:
        """Say whether a record may be added; one that tells nothing takes room as well."""
        size = self._bytes + len(record.value or b"")
        return self._load + _load_of(found) <= most and size <= BYTES_MAX

    def add(self, record: Record, found: wire.Read) -> None:
        self._load += _load_of(found)
        self._bytes += len(record.value or b"")
        self.told += found.told
        self.weight += found.weight
        self.dead += [Dead(*record[:3], bad) for bad in found.bad]
        begun = self.moves.get(record.partition, (record.offset,))[0]
        self.moves[record.partition] = (begun, record.offset + 1)
