"""Killing gateways and recovering what they left, for tests."""

import asyncio
import multiprocessing
import signal
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from domain.events import ReservationReleased
from domain.usage_events import UsageParked
from entrypoints.gateway.config import GatewayConfig, config_from
from entrypoints.gateway.recovery import Recovered, recover
from tests.gateway import dying_gateway
from tests.gateway.rig import TEXT, Licensee, Rig

METERS: list[dict[str, Any]] = [
    {"name": "textgen", **TEXT},
    {"name": "identity", "usage": {"requests": {"constant": 1}}},
    {
        "name": "timed",
        "usage": {"gpu_seconds": {"traces": True}},
        "estimate": {"gpu_seconds": {"constant": "1"}},
    },
    {"name": "document", "usage": {"pages": {"input_shape": "TEXT"}}},
]


_FORKING = multiprocessing.get_context("forkserver")
# Those that die need no interpreter each that imports everything: they are forked from one.
_FORKING.set_forkserver_preload([dying_gateway.__name__])


class Died(NamedTuple):
    """A gateway that was killed, and what it had begun."""

    ids: list[str]
    home: Path


def document(traces: Path | None, seconds: int = 1) -> dict[str, Any]:
    pool = {"name": "shared", "grpc": "127.0.0.1:1", "http": "127.0.0.1:1"}
    if traces is not None:
        pool["traces"] = str(traces)
    times = {"hold_seconds": 10, "trace_seconds": seconds}
    return {"pool": [pool], "model": METERS, **times}


def killed(
    rig: Rig,
    home: Path,
    after: str,
    inferences: list[tuple[str, str]],
    traces: Path | None = None,
    meters: list[dict[str, Any]] | None = None,
) -> Died:
    order = {
        "urls": [rig.database.owner_url, rig.database.app_url],
        "master_key": (rig.database.master_key or b"").hex(),
        "config": {**document(traces), **({} if meters is None else {"model": meters})},
        "home": str(home),
        "inferences": inferences,
        "after": after,
    }
    told, telling = _FORKING.Pipe(duplex=False)
    process = _FORKING.Process(target=dying_gateway.begin, args=(order, telling))
    process.start()
    telling.close()
    with told:
        ids = told.recv()  # raises EOFError where it died too early
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return Died(ids, home)


def recovered(
    rig: Rig,
    home: Path,
    traces: Path | None = None,
    seconds: int = 1,
    meters: list[dict[str, Any]] | None = None,
) -> Recovered:
    sold = {} if meters is None else {"model": meters}
    config: GatewayConfig = config_from({**document(traces, seconds), **sold})
    with rig.gateway(home, config) as gateway:
        return rig.call(recover(home, gateway))


def started(rig: Rig, work: Coroutine[Any, Any, Recovered]) -> "Future[Recovered]":
    return asyncio.run_coroutine_threadsafe(work, rig.loop)


def reasons(who: Licensee) -> list[str]:
    found = [each.event for each in who.events()]
    return [
        event.detail if isinstance(event, UsageParked) else str(event.reason)
        for event in found
        if isinstance(event, UsageParked | ReservationReleased)
    ]
