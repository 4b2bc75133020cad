"""Settlement: records of usage in, one transaction of the ledger with their offsets out.

The ledger owns the offsets (house rule 8): they move in the transaction that settles, so that a
record is settled once whatever Kafka repeats, and a worker that another has replaced is fenced.
Nothing here knows Faust: the worker feeds it, and so do tests.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from tollbook.errors import TollbookError, Unavailable, Unknown

from application.executor import Executor
from application.jobs import Item
from application.ports import Rider
from domain.command import Command
from domain.commands import ChargeUsage, ParkUsage, wire_body
from streams import wire

logger = logging.getLogger("tollbook.stream")

ACTOR = "stream"
ITEMS_MAX = 1_000
"""So many events are settled in one transaction, or those of one record."""

_ID_BYTES = 400


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
        self, executor: Executor, cluster: str, topic: str, offsets: Offsets, bury: Bury
    ) -> None:
        """Know nothing yet: `begin` says where each partition stands."""
        self._executor = executor
        self._cluster, self._topic = cluster, topic
        self._offsets, self._bury = offsets, bury
        self._next: dict[int, int] = {}
        self._buried: set[Dead] = set()
        """What is kept already of a batch that is not settled yet."""
        self._ended = False
        self.settled = self.repeated = self.dead = 0
        """Events told to the ledger, records seen again, and dead letters."""

    def begin(self, partition: int, offset: int) -> None:
        """Take a partition whose next record has this offset."""
        self._next[partition] = offset

    def apply(self, records: Sequence[Record]) -> None:
        """Settle records, each partition's in its order; returns when the ledger has them all.

        Raises OutOfStepError when another worker has them or some are missing, and Unavailable
        or Unknown when the ledger does not answer: then `resume`, and apply the same again.
        """
        if self._ended:
            raise OutOfStepError("this worker is stopping")
        batch = _Batch()
        for record in records:
            if not self._is_new(record, batch):
                continue
            found = wire.read(record.value)
            if batch.items and len(batch.items) + len(found.commands) > ITEMS_MAX:
                self._settle(batch)
                batch = _Batch()
            batch.add(record, found, self._next[record.partition])
        if batch.moves:
            self._settle(batch)

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

    def _is_new(self, record: Record, batch: "_Batch") -> bool:
        """Say whether a record comes next; one that was settled before is passed over."""
        begun = self._next.get(record.partition)
        if begun is None:
            raise OutOfStepError(f"partition {record.partition} is not this worker's")
        following = batch.moves.get(record.partition, (begun, begun))[1]
        if record.offset > following:
            told = f"partition {record.partition}: {record.offset} came where {following} was due"
            raise OutOfStepError(told)
        self.repeated += record.offset < following
        return record.offset == following

    def _settle(self, batch: "_Batch") -> None:
        if dead := [each for each in batch.dead if each not in self._buried]:
            self._bury(dead)
            self._buried.update(dead)
        riders = [
            Rider(self._cluster, self._topic, partition, *move)
            for partition, move in batch.moves.items()
        ]
        answers = self._executor.execute(batch.items, riders=riders)
        for answer in answers:
            if answer.recorded is None and answer.error is not None:
                self._look_at(answer.id, answer.error)
        moved = {partition: move[1] for partition, move in batch.moves.items()}
        if not all(answer.recorded for answer in answers) or not answers:
            known = self._offsets()
            if {**known, **moved} != known:
                raise OutOfStepError("the offsets have not moved as they were to")
        self._next.update(moved)
        self._buried.difference_update(batch.dead)
        self.settled += len(answers)
        self.dead += len(batch.dead)

    def _look_at(self, id: str, error: TollbookError) -> None:
        """Tell what failed the whole transaction from what the ledger knows nothing of."""
        if error.code == "fenced":
            raise OutOfStepError(str(error))
        if isinstance(error, Unavailable | Unknown):
            raise error
        # A hold that was never there cannot be released, and nothing is lost by that.
        logger.error("the ledger does not take the end of %s: %s", id, error)


class _Batch:
    """What one transaction settles."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.moves: dict[int, tuple[int, int]] = {}
        """By partition, the offset that is next now, and the one that is next then."""
        self.dead: list[Dead] = []

    def add(self, record: Record, found: wire.Read, begun: int) -> None:
        self.items += [Item(each, ACTOR, otherwise=_instead(each)) for each in found.commands]
        self.dead += [Dead(*record[:3], bad) for bad in found.bad]
        self.moves[record.partition] = (
            self.moves.get(record.partition, (begun,))[0],
            record.offset + 1,
        )


def _instead(command: Command) -> Callable[[TollbookError], Command] | None:
    """Return how a record is kept that the ledger would refuse without a trace: parked."""
    if not isinstance(command, ChargeUsage):
        return None

    def parking(error: TollbookError) -> Command:
        reason = f"{error.code}: {error}"
        if isinstance(command, ParkUsage) or error.code == "id_reused":
            # Another record has its id already, so it is kept under one of its content.
            content = wire.packed([{**wire_body(command), "id": command.id}])
            digest = hashlib.sha256(content).hexdigest()[:16]
            head = command.id.encode()[:_ID_BYTES].decode(errors="ignore")
            return wire.parked(command, reason, f"{head}~{digest}")
        return wire.parked(command, reason)

    return parking
