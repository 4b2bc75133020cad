"""Admission from allowances: a gateway's core with a real Redis and PostgreSQL, and no server."""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import quantiles

import uvloop

from adapters.redis.server import RedisServer
from benchmarks.bench import Bench
from benchmarks.gateway import licensed_ledger
from benchmarks.gateway_load import MODEL
from domain import meters
from entrypoints.bootstrap import Database, open_database, tollbook_on
from entrypoints.gateway.admission import Asked
from entrypoints.gateway.allowing import Allowing
from entrypoints.gateway.assembling import gateway_on
from entrypoints.gateway.config import config_from
from entrypoints.settings import Settings

ADDRESS = "127.0.0.1:1"
"""Nobody listens there: nothing is sent to a server."""
CONFIG = {
    "pool": [{"name": "shared", "grpc": ADDRESS, "http": ADDRESS}],
    "model": [{"name": MODEL, "usage": {"requests": {"constant": 1}}}],
}


def allowance_admit(bench: Bench) -> dict[str, float]:
    """Measure admissions of one licence, 8 in flight and 64; none is refused, nor runs."""
    with tempfile.TemporaryDirectory(prefix="tollbook-bench-allowances-") as name:
        folder = Path(name)
        key = licensed_ledger(folder / "ledger")
        with (
            RedisServer(folder / "redis") as redis,
            open_database(Settings(data=folder / "ledger")) as database,
        ):
            work = _measured(database, key, redis.url, folder / "intents", bench.sizes.admitted)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(work)


async def _measured(
    database: Database, key: str, redis: str, home: Path, count: int
) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        tollbook = stack.enter_context(tollbook_on(database))
        core = gateway_on(database, tollbook, config_from(CONFIG), home, redis=redis)
        allowing = (await stack.enter_async_context(core)).emergency.allowing
        assert allowing is not None
        asked = Asked(MODEL, key, meters.Request({}, {}), "0" * 64)
        await _admitted(allowing, asked, count // 4, 8)
        few_rate, few = await _admitted(allowing, asked, count, 8)
        many_rate, _ = await _admitted(allowing, asked, count, 64)
        return {
            "allowance_admit_8": few_rate,
            "allowance_admit_8_p99": quantiles(few, n=100)[98] * 1000,
            "allowance_admit_64": many_rate,
        }


async def _admitted(
    allowing: Allowing, asked: Asked, count: int, at_once: int
) -> tuple[float, list[float]]:
    """Admit so many, so many at once; return the rate, and how long each took, in seconds."""
    times: list[float] = []
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            began = time.perf_counter()
            admitted = await allowing.admit(asked)
            times.append(time.perf_counter() - began)
            await asyncio.sleep(0)  # here it would go to its server
            if admitted.slice is not None:
                allowing.ended(admitted.id, admitted.slice, parked=False)

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    return count / (time.perf_counter() - began), times
