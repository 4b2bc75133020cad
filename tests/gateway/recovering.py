"""Killing gateways and recovering what they left, for tests."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from domain.events import ReservationReleased
from domain.usage_events import UsageParked
from entrypoints.gateway.config import GatewayConfig, config_from
from entrypoints.gateway.recovery import Recovered, recover
from tests.architecture.source_files import ROOT
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
    command = [sys.executable, "-m", "tests.gateway.dying_gateway", json.dumps(order)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return Died(json.loads(ended.stdout), home)


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
