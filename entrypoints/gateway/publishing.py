"""Publishing: what became of inferences, told to Kafka, from where the stream settles it (B4).

The same as settling, with another listener: an outcome stands in the intent log until the ledger
itself has it, whatever Kafka has promised. Of each customer one record is under way at a time, so
that their order stays; what Kafka does not take now is sent again by this process or by the next.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Protocol

from tollbook.errors import TollbookError, Unavailable

from application.ports import Key
from entrypoints.gateway.settling import Log
from streams import wire

logger = logging.getLogger("tollbook.gateway")

LINGER_SECONDS = 0.05
"""So long outcomes are gathered before each record that would not be full: 50 of one slice are one
event of the ledger, and 50 records of one inference each are 50."""
CONFIRM_SECONDS = 0.25
CONFIRMED_AT_ONCE = 5_000
BYTES_MAX = wire.RECORD_BYTES_MAX * 3 // 4
_PAUSES = (0.1, 0.3, 1.0, 2.0)


class Sender(Protocol):
    """Sends a record."""

    async def send(self, key: str, value: bytes) -> None:
        """Return when it is kept; raises Unavailable when that is not known."""


Waiting = tuple[str, dict[str, Any], Collection[Key]]
"""An outcome's id, its event, and the keys under one of which the ledger will have it."""

Known = Callable[[Sequence[Key]], Awaitable[Collection[Key]]]
"""Says which of these ids the ledger has taken; raises where it does not answer."""


class Publisher:
    """Tells outcomes to Kafka, each customer's in their order, up to 50 in a record."""

    def __init__(self, sender: Sender, log: Log, source: str, known: Known) -> None:
        """Begin when `run` does; outcomes that come before wait."""
        self._sender, self._log, self._source, self._known = sender, log, source, known
        self._open: dict[str, float] = {}
        """Since when each outcome waits that the ledger does not have, the oldest first."""
        self._sent_keys: dict[str, Collection[Key]] = {}
        """Under which keys, under one of them at least, the ledger will have what Kafka has."""
        self._queues: dict[str, deque[Waiting]] = {}
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._count = 0
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.told = 0
        """How many outcomes the ledger has."""
        self.stuck = 0
        """How many cannot be sent at all: they stay in the intent log."""

    @property
    def backlog(self) -> int:
        """How many outcomes wait for Kafka, or for the ledger."""
        return len(self._open)

    def waits_seconds(self) -> float:
        """Say for how long the oldest outcome waits."""
        return time.monotonic() - next(iter(self._open.values()), time.monotonic())

    def tell(self, id: str, outcome: wire.Outcome) -> None:
        """Queue an outcome that stands in the intent log already."""
        if "release" in outcome and "slice" in outcome:
            self.told += 1  # the ledger never knew of it, and holds nothing for it alone
            self._log.told(id)
            return
        event = wire.event_of(id, outcome, self._source)
        if len(wire.packed([event])) > BYTES_MAX:
            self._keep(id, "it is too large for a record")
            return
        customer = event["data"]["customer"]
        try:
            keys = wire.keys_of(event, customer)
        except TollbookError as error:  # no worker could read it either
            self._keep(id, str(error))
            return
        self._queues.setdefault(customer, deque()).append((id, event, keys))
        self._open[id] = time.monotonic()
        self._count += 1
        self._idle.clear()
        self._more.set()

    async def run(self) -> None:
        """Tell outcomes until cancelled."""
        confirming = asyncio.create_task(self._confirm())
        try:
            while True:
                await self._more.wait()
                await asyncio.sleep(LINGER_SECONDS)
                self._more.clear()
                for customer in self._queues.keys() - self._sending.keys():
                    task = asyncio.create_task(self._send_all(customer))
                    self._sending[customer] = task
                    task.add_done_callback(partial(self._sent, customer))
        finally:
            for task in (confirming, *self._sending.values()):
                task.cancel()

    async def drain(self, seconds: float) -> None:
        """Wait until Kafka has everything, or the time is over; `run` has to go on meanwhile."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    async def _send_all(self, customer: str) -> None:
        """Send what one customer's inferences came to, record after record."""
        queue = self._queues[customer]
        tries = 0
        while queue:
            some = _first(queue)
            try:
                await self._sender.send(customer, wire.packed([event for _, event, _ in some]))
            except Unavailable:  # told by what reaches Kafka, once for all customers
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
                continue
            tries = 0
            for id, _, keys in some:
                queue.popleft()
                self._sent_keys[id] = keys
            self._count -= len(some)
            if 0 < len(queue) < wire.EVENTS_MAX:
                await asyncio.sleep(LINGER_SECONDS)
        if not self._count:
            self._idle.set()

    async def _confirm(self) -> None:
        """Forget, until cancelled, what the ledger has by now."""
        while True:
            await asyncio.sleep(CONFIRM_SECONDS)
            asked = dict(islice(self._sent_keys.items(), CONFIRMED_AT_ONCE))
            keys = [key for each in asked.values() for key in each]
            try:
                known = set(await self._known(keys)) if keys else set()
            except TollbookError as error:
                logger.warning("the ledger does not say what it has: %s", error)
                continue
            for id in [id for id, each in asked.items() if not known.isdisjoint(each)]:
                del self._sent_keys[id], self._open[id]
                self._log.told(id)
                self.told += 1

    def _keep(self, id: str, reason: str) -> None:
        self.stuck += 1
        logger.error("the outcome of %s cannot be told: %s", id, reason)

    def _sent(self, customer: str, task: "asyncio.Task[None]") -> None:
        del self._sending[customer]
        if not task.cancelled() and task.exception() is not None:
            logger.error("sending failed and begins again", exc_info=task.exception())
        if not self._queues[customer]:
            del self._queues[customer]
        else:
            self._more.set()


def _first(queue: deque[Waiting]) -> list[Waiting]:
    """Return as many from the front as one record carries; they stay in the queue."""
    some: list[Waiting] = []
    size = weight = 0
    for each in queue:
        size += len(wire.packed([each[1]]))
        weight += wire.weight_of(each[1])
        is_full = len(some) == wire.EVENTS_MAX or weight > wire.WEIGHT_MAX
        if is_full or (some and size > BYTES_MAX):
            break
        some.append(each)
    return some
