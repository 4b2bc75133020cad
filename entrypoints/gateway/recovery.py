"""Recovery: what the processes before this one began, and did not tell the ledger the end of.

What they knew is told again, which changes nothing where the ledger knows it, completed by the
device time from the servers' traces where it waited for that. Of the rest the traces tell what they
can: what never ran is released. What ran is parked with the reason, and with its usage where the
request and the traces tell all of it: nobody is charged for what may have been an error. Whatever
is decided here is written down before it is told, so that whoever comes next tells the same.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tollbook.times import format_instant

from adapters.intent_log import Left, Open, left_behind
from domain import meters
from domain.meters_format import Meter
from domain.units import Quantities, quantities_from_wire, quantities_to_wire
from entrypoints.gateway.allowance_recovery import give_back
from entrypoints.gateway.allowance_slices import SET_ASIDE
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.pipeline_running import lost_run, timed_run
from entrypoints.gateway.running import usage_event
from entrypoints.gateway.settling import Outcome, Teller
from entrypoints.gateway.trace_collector import TraceCollector

logger = logging.getLogger("tollbook.gateway")

DIED = "the gateway died before its answer was told"
_RAN_SOMEHOW = "the server ran it, and its traces tell no answer from an error"
_REPORT_SECONDS = 10.0


class Traced(NamedTuple):
    """What the servers' traces tell of an inference."""

    ran: bool | None = None
    device_time: int | None = None
    """In microseconds."""
    shares: Mapping[str, int] = {}
    """The same by model, for the stages of a pipeline."""


class Recovered(NamedTuple):
    """How many inferences were told to the ledger."""

    told: int = 0
    """Those whose end was known."""
    charged: int = 0
    released: int = 0
    parked: int = 0
    stuck: int = 0
    """Those which the ledger would not take: their folder stays."""


@asynccontextmanager
async def recovering(home: Path, gateway: Gateway) -> AsyncIterator[None]:
    """Recover while the gateway serves: traces may be waited for, and clients need not be."""
    task = asyncio.create_task(_recover_some_time(home, gateway))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _recover_some_time(home: Path, gateway: Gateway) -> None:
    try:
        await recover(home, gateway)
    except Exception:
        logger.exception("what is left in %s is not recovered before the next start", home)


async def recover(home: Path, gateway: Gateway) -> Recovered:
    """Settle what dead processes left below `home`; takes as long as traces are waited for.

    May be cancelled: what is not done then is done by the next.
    """
    totals = Recovered()
    for left in left_behind(home):
        adopted = _Adopted(left, gateway)
        try:
            found = await adopted.settle()
        except BaseException:
            left.leave()
            raise
        totals = Recovered(*(a + b for a, b in zip(totals, found, strict=True)))
        if found.stuck:
            left.leave()
        else:
            left.remove()
    return totals


class _Told:
    """Nothing is to be done for an inference that was told: its folder goes as a whole."""

    def told(self, id: str) -> None:
        """Do nothing."""


class _Adopted:
    """One dead process's folder."""

    def __init__(self, left: Left, gateway: Gateway) -> None:
        self._left = left
        self._gateway = gateway
        self._config = gateway.config
        self._teller: Teller = gateway.teller_for(_Told())
        self._counts = dict.fromkeys(Recovered._fields, 0)

    async def settle(self) -> Recovered:
        """Tell everything in the folder, and return when the ledger knows it."""
        found = await asyncio.to_thread(self._left.opened)
        opened = [each for each in found if SET_ASIDE not in each.intent]
        logger.info("%s: %d inferences of a process that is gone", self._left.folder, len(opened))
        telling = asyncio.create_task(self._teller.run())
        try:
            # Their traces are older than anything that this process sends.
            async with TraceCollector(self._config, may_remove=False) as collector:
                await asyncio.gather(*(self._end(collector, each) for each in opened))
            await self._all_told()
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
        self._counts["stuck"] += self._teller.stuck
        if not self._counts["stuck"]:
            await self._give_back([it.intent for it in found if SET_ASIDE in it.intent])
        logger.info("%s is done: %s", self._left.folder, self._counts)
        return Recovered(**self._counts)

    async def _end(self, collector: TraceCollector, each: Open) -> None:
        """Tell the end of one inference; where that fails, the others are told all the same."""
        id = each.intent["intent"]
        try:
            if each.outcome is not None and "traces" not in each.outcome:
                self._teller.tell(id, {"customer": each.intent["customer"], **each.outcome})
                self._counts["told"] += 1
            else:
                way = await self._decide(collector, id, each)
                self._counts[way] += 1
        except Exception:
            logger.exception("%s of %s is not recovered", id, self._left.folder)
            self._counts["stuck"] += 1

    async def _decide(self, collector: TraceCollector, id: str, each: Open) -> str:
        since = min(int(each.intent["at"]) * 1000, time.time_ns())
        collector.expect(id, each.intent["pool"], since)
        outcome = decided(each, self._config, await traced(collector, id))
        self._left.decided(id, outcome)
        self._teller.tell(id, outcome)
        return "released" if "release" in outcome else "parked" if "park" in outcome else "charged"

    async def _give_back(self, lines: list[dict[str, Any]]) -> None:
        try:
            await give_back(self._gateway, lines)
        except Exception:
            logger.exception("what %s had set aside is not given back", self._left.folder)
            self._counts["stuck"] += 1

    async def _all_told(self) -> None:
        while self._teller.backlog:
            await self._teller.drain(_REPORT_SECONDS)
            if self._teller.backlog:
                logger.warning("%d outcomes wait for the ledger", self._teller.backlog)


async def traced(collector: TraceCollector, id: str) -> Traced:
    """Ask for everything that the traces tell of an inference."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[bool | None] = loop.create_future()
    collector.outcome(id, outcome.set_result)
    ran = await outcome
    told: asyncio.Future[Traced] = loop.create_future()
    if ran:
        # All of it at once: right after that it may be forgotten for another.
        collector.when_known(
            id, lambda time: told.set_result(Traced(ran, time, collector.shares(id)))
        )
    else:
        told.set_result(Traced(ran))
    found = await told
    collector.forget(id)
    return found


def decided(each: Open, config: GatewayConfig, found: Traced) -> Outcome:
    """Return what the ledger is to be told of an inference whose end was not known."""
    meter = config.meter(each.intent["meter"])
    if each.outcome is not None:
        return _timed(each.outcome["event"], meter, found)
    if found.ran is False:
        paid_by = each.intent.get("slice")
        known = {} if paid_by is None else {"slice": paid_by}
        known |= {
            name: each.intent[name] for name in ("customer", "pipeline") if name in each.intent
        }
        return {"release": f"the server never ran it: {DIED}", **known}
    known = quantities_from_wire(each.intent.get("known", {}))
    # A run's stages have meters of their own: what it used is known before it ran, or not at all.
    if meter is not None and found.device_time and "pipeline" not in each.intent:
        usage = meters.without_answer(meter, known, found.device_time)
        if usage is not None:
            # A trace looks the same for an answer and for an error, which costs nothing: somebody
            # has to look, and to release the record as it stands if it was an answer.
            return {"event": _event(each, config, usage), "park": f"{_RAN_SOMEHOW}: {DIED}"}
    told = "the server ran it" if found.ran else "nobody knows whether the server ran it"
    if "pipeline" in each.intent:
        event = lost_run(config.source, each.intent)
        return {"event": event, "park": f"{told}: {DIED}"}
    counted = {"requests": 0} if meter is None else dict.fromkeys(meter.usage, 0)
    return {"event": _event(each, config, {**counted, **known}), "park": f"{told}: {DIED}"}


def _timed(event: dict[str, Any], meter: Meter | None, found: Traced) -> Outcome:
    """Complete a record by its device time, or park it without."""
    stages = [each["stage"] for each in event["data"].get("stages", ())]
    if meter is None or not meter.stage.keys() >= set(stages):
        return {"event": event, "park": "its meter is no longer configured"}
    if found.device_time is None:
        return {"event": event, "park": "the server's traces do not tell its device time"}
    if stages:
        return {"event": timed_run(event, meter, found.shares)}
    before = quantities_from_wire(event["data"]["usage"])
    usage = meters.with_device_time(meter, before, found.device_time)
    return {"event": {**event, "data": {**event["data"], "usage": quantities_to_wire(usage)}}}


def _event(each: Open, config: GatewayConfig, usage: Quantities) -> dict[str, Any]:
    intent = each.intent
    data = {
        "customer": intent["customer"],
        "model": intent["model"],
        "usage": quantities_to_wire({unit: usage[unit] for unit in sorted(usage)}),
        "occurred_at": format_instant(intent["at"]),
        "request_hash": intent["request_hash"],
    }
    source = config.source
    return usage_event(source, intent["intent"], data, intent.get("slice"))
