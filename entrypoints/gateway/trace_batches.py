"""The traces of one pool: which batch each belongs to, and when a batch may be shared.

A batch's time may be shared only when all of the batch is known, and then it is shared for good.
The rule, and why it is exact for what goes through this gateway, stands in
docs/decisions/device-time.md; `_Open.is_whole` is the rule itself.
"""

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from adapters.triton.traces import TraceFolder, Written
from domain import device_time
from domain.device_time import Batch, Trace

logger = logging.getLogger("tollbook.gateway")

SETTLE_SECONDS = 0.25
"""A batch is quiet at least so long: the answers of a batch end together, their traces nearly."""
QUIET_SECONDS = 1.0
"""A batch that is quiet for so long is whole, whatever else is under way."""
MARGIN = 2_000_000_000
"""Nanoseconds by which the clocks of the disk and of this machine may differ."""
RECENT = 3_600_000_000_000
"""A server that wrote within so many nanoseconds may live."""
KEPT_MAX = 20_000
"""So many shared batches are remembered, and so many traces of one start of a server."""

TellTime = Callable[[int | None], None]
TellOutcome = Callable[[bool | None], None]


@dataclass(slots=True)
class Totals:
    """What was told so far, for metrics; device time in microseconds."""

    batches: int = 0
    charged: int = 0
    """Shares that were asked for."""
    uncharged: int = 0
    """Shares of inferences of ours that nobody asked for: failed ones, above all."""
    others: int = 0
    """Shares of requests that did not come through this gateway, or whose parts count instead."""
    late: int = 0
    """Traces that came when their batch had been shared already."""


@dataclass(slots=True, eq=False)
class Record:
    """One inference: what its traces have told, and who waits for what."""

    id: str
    pool: "PoolTraces"
    number: int
    since: int
    time: int = 0
    shares: Counter[str] = field(default_factory=Counter)
    """Its time by the models that computed it: those of an ensemble's steps."""
    unshared: int = 0
    traced: bool = False
    ran: bool = False
    late: bool = False
    forgotten: bool = False
    tell_time: TellTime | None = None
    tell_outcome: TellOutcome | None = None
    deadline: float = 0.0
    asked_at: int = 0


@dataclass(slots=True)
class _Open:
    """A batch some of whose traces were seen."""

    before: int
    """Inferences with numbers up to this were under way when its first trace was seen."""
    seen_at: float = 0.0
    members: dict[int, Trace] = field(default_factory=dict)
    owners: dict[int, Record] = field(default_factory=dict)

    def is_whole(self, now: float, oldest: int | None) -> bool:
        """Say whether no more traces are to come; `oldest` is the first number without its own."""
        quiet = now - self.seen_at
        all_came = oldest is None or oldest > self.before
        return quiet >= QUIET_SECONDS or (all_came and quiet >= SETTLE_SECONDS)


class PoolTraces:
    """One pool's folder, its batches, and the inferences whose traces have not come."""

    def __init__(self, path: Path, totals: Totals) -> None:
        """Read nothing yet, and count into totals that all pools share."""
        self._totals = totals
        self.folder = TraceFolder(path)
        self.untraced: OrderedDict[str, Record] = OrderedDict()
        self._open: dict[tuple[str, Batch], _Open] = {}
        self._shared: OrderedDict[tuple[str, Batch], None] = OrderedDict()
        self._began: dict[str, OrderedDict[int, int]] = {}
        """By boot and trace, when the trace began by its server's clock."""
        self._ahead: dict[str, int] = {}
        """By boot, how far the disk's clock is before the server's."""
        self.waiting = 0
        """How many inferences are waited for here."""

    def _oldest(self) -> int | None:
        """Return the number of the first inference whose trace has not come."""
        return next(iter(self.untraced.values())).number if self.untraced else None

    def _note(self, written: Written) -> None:
        """Remember which traces there were and when they began."""
        began = self._began.setdefault(written.boot, OrderedDict())
        began.update((trace.id, trace.began) for trace in written.traces)
        while len(began) > KEPT_MAX:
            began.popitem(last=False)
        ahead = written.written_at - written.last
        self._ahead[written.boot] = min(ahead, self._ahead.get(written.boot, ahead))

    def never_ran(self, record: Record) -> bool:
        """Say whether it is proved that the one server of the pool never began an inference."""
        recent = record.since - RECENT
        boots = [each for each in self.folder.boots.values() if each.changed_at >= recent]
        if len(boots) != 1 or boots[0].path.name not in self._began:
            return False
        boot = boots[0].path.name
        ahead = self._ahead[boot]
        known = {id: began + ahead for id, began in self._began[boot].items()}
        return device_time.never_began(known, record.since - MARGIN, record.asked_at + MARGIN)

    def take(self, written: Written, owner: Callable[[str], Record | None], before: int) -> None:
        """Put a file's traces into their batches; `before` is the number of the last inference."""
        self._note(written)
        for trace in written.traces:
            record = None if trace.request is None else owner(trace.request)
            if record is not None and record.pool is not self:
                record = None  # an id of ours at a server that it was not sent to
            if record is not None:
                self.untraced.pop(record.id, None)
                record.traced = True
                record.ran = record.ran or trace.ran
            for batch in device_time.batches_of(trace):
                self._add((written.boot, batch), trace, record if trace.leaf else None, before)

    def _add(self, key: tuple[str, Batch], trace: Trace, owner: Record | None, before: int) -> None:
        if key in self._shared:
            self._totals.late += 1
            logger.warning("a trace came after its batch was shared: request %s", trace.request)
            if owner is not None:
                owner.late = True
            return
        batch = self._open.setdefault(key, _Open(before))
        batch.seen_at = time.monotonic()
        batch.members[trace.id] = trace
        if owner is not None and trace.id not in batch.owners:
            batch.owners[trace.id] = owner
            owner.unshared += 1

    def share(self, gone: Callable[[str], bool]) -> None:
        """Share the batches that are whole; `gone` says whether an id was one of ours."""
        now, oldest = time.monotonic(), self._oldest()
        whole = [key for key, batch in self._open.items() if batch.is_whole(now, oldest)]
        for key in whole:
            batch = self._open.pop(key)
            self._shared[key] = None
            if len(self._shared) > KEPT_MAX:
                self._shared.popitem(last=False)
            self._totals.batches += 1
            for id, share in device_time.shares(key[1], batch.members).items():
                owner, trace = batch.owners.get(id), batch.members[id]
                if owner is not None and not owner.forgotten:
                    owner.time += share
                    owner.shares[trace.model] += share
                    owner.unshared -= 1
                elif owner is not None or (trace.leaf and gone(trace.request or "")):
                    self._totals.uncharged += share
                else:
                    self._totals.others += share
