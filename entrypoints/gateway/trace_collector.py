"""The trace collector: tells inferences what the servers' trace files say of them.

Files are read while somebody waits, every 50 ms, and not at all otherwise.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.trace_batches import PoolTraces, Record, TellOutcome, TellTime, Totals

logger = logging.getLogger("tollbook.gateway")

PAUSE_SECONDS = 0.05
EARLIER = 60_000_000_000
"""So many nanoseconds before the first inference that waits, files are read from."""
RECORDS_MAX = 200_000
"""So many inferences are followed at once; the oldest is given up for one more."""

GONE_MAX = 20_000
_REMOVAL_SECONDS = 60.0


class TraceCollector:
    """Tells shares of device time and outcomes; every method runs in the event loop's thread."""

    def __init__(self, config: GatewayConfig, *, may_remove: bool = True) -> None:
        """Read what the pools of a configuration write, and wait as long as it says."""
        self.totals = Totals()
        self._pools = {
            pool.name: PoolTraces(Path(pool.traces), self.totals)
            for pool in config.pool
            if pool.traces
        }
        self._seconds = config.trace_seconds
        self._keep_seconds = config.trace_files_seconds if may_remove else None
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._asking: dict[str, Record] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        """Inferences that nobody asks about any more, lately."""
        self._number = 0
        self._task: asyncio.Task[None] | None = None
        self._remove_at = time.monotonic()

    async def __aenter__(self) -> Self:
        """Read nothing before somebody waits."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop reading; whoever waits is told nothing any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def followed(self) -> int:
        """How many inferences are followed now."""
        return len(self._records)

    def expect(self, id: str, pool: str, since: int | None = None) -> None:
        """Take note that an inference goes to a pool now, or went at an instant in nanoseconds."""
        found = self._pools.get(pool)
        if found is None:
            return
        self._number += 1
        record = Record(id, found, self._number, time.time_ns() if since is None else since)
        self._records[id] = found.untraced[id] = record
        if len(self._records) > RECORDS_MAX:
            oldest = next(iter(self._records.values()))
            self._answer_outcome(oldest)
            self._answer_time(oldest)
            self.forget(oldest.id)

    def when_known(self, id: str, call: TellTime) -> None:
        """Call with an inference's share of device time in microseconds, or with None without."""
        record = self._records.get(id)
        if record is None:
            call(None)
            return
        record.tell_time = call
        self._ask(record)

    def shares(self, id: str) -> Mapping[str, int]:
        """Return an inference's device time by model, as far as it is shared."""
        record = self._records.get(id)
        return {} if record is None else dict(record.shares)

    def outcome(self, id: str, call: TellOutcome) -> None:
        """Call with whether the server ran an inference, or with None where nobody can tell."""
        record = self._records.get(id)
        if record is None:
            call(None)
            return
        record.tell_outcome = call
        self._ask(record)

    def forget(self, id: str) -> None:
        """Take note that nobody will ask about an inference any more."""
        record = self._records.pop(id, None)
        if record is None:
            return
        record.pool.untraced.pop(id, None)
        self._stop_asking(record)
        record.forgotten = True
        self.totals.uncharged += record.time
        self._gone[id] = None
        if len(self._gone) > GONE_MAX:
            self._gone.popitem(last=False)

    def _ask(self, record: Record) -> None:
        record.deadline = time.monotonic() + self._seconds
        record.asked_at = time.time_ns()
        if record.id not in self._asking:
            self._asking[record.id] = record
            record.pool.waiting += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._read_on())

    def _stop_asking(self, record: Record) -> None:
        if self._asking.pop(record.id, None) is not None:
            record.pool.waiting -= 1

    async def _read_on(self) -> None:
        """Read while somebody waits."""
        try:
            while self._asking:
                for pool in self._pools.values():
                    if pool.waiting:
                        await self._read(pool)
                for record in list(self._asking.values()):
                    self._tell(record)
                if self._asking:
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._task = None

    async def _read(self, pool: PoolTraces) -> None:
        since = min(record.since for record in self._asking.values()) - EARLIER
        try:
            found = await asyncio.to_thread(pool.folder.look, since)
            if self._keep_seconds is not None and time.monotonic() >= self._remove_at:
                before = time.time_ns() - int(self._keep_seconds * 1_000_000_000)
                await asyncio.to_thread(pool.folder.remove_before, min(before, since))
                self._remove_at = time.monotonic() + _REMOVAL_SECONDS
            for written in found:
                pool.take(written, self._records.get, self._number)
            pool.share(self._gone.__contains__)
        except Exception:
            # Whatever it was: others wait for other files, and everybody for the end of the time.
            logger.exception("the traces in %s cannot be read", pool.folder.path)

    def _tell(self, record: Record) -> None:
        """Answer what can be answered about an inference, and what has waited long enough."""
        is_over = time.monotonic() >= record.deadline
        if not (record.traced or is_over):
            return
        if record.tell_outcome is not None:
            self._answer_outcome(record)
        if record.tell_time is not None and not record.unshared:
            self._answer_time(record)
        if record.tell_outcome is None and record.tell_time is None:
            self._stop_asking(record)

    def _answer_outcome(self, record: Record) -> None:
        call, record.tell_outcome = record.tell_outcome, None
        if call is not None:
            _call(record.id, lambda: call(_ran(record)))

    def _answer_time(self, record: Record) -> None:
        call, record.tell_time = record.tell_time, None
        known: int | None = None
        if record.traced and not record.late:
            known, record.time = record.time, 0
            self.totals.charged += known
        if call is not None:
            _call(record.id, lambda: call(known))


def _ran(record: Record) -> bool | None:
    if record.traced:
        return record.ran
    return False if record.pool.never_ran(record) else None


def _call(id: str, call: Callable[[], None]) -> None:
    """Tell somebody; what goes wrong there concerns nobody else here."""
    try:
        call()
    except Exception:
        logger.exception("what the traces tell of %s was not taken", id)
