"""Asking a trace collector, for tests."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from entrypoints.gateway.trace_collector import TraceCollector
from tests.gateway.rig import configured


def collector(traces: Path | None, seconds: int = 2, **more: Any) -> TraceCollector:
    where = None if traces is None else str(traces)
    return TraceCollector(configured(traces=where, trace_seconds=seconds, **more))


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


async def share(collector: TraceCollector, id: str) -> int | None:
    future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    collector.when_known(id, future.set_result)
    return await future


async def ran(collector: TraceCollector, id: str) -> bool | None:
    future: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
    collector.outcome(id, future.set_result)
    return await future


async def shares(collector: TraceCollector, *ids: str) -> list[int | None]:
    return await asyncio.gather(*(share(collector, id) for id in ids))
