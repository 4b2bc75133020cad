"""Sampling: a gateway writes down what its servers have counted, for the day of reconciliation.

It does so when it starts, while it runs, and when it has told the ledger everything at its end.
What is too old to be asked for is removed when it starts, and once a day.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from tollbook.errors import TollbookError, Unavailable
from tollbook.times import SECOND

from adapters import sample_log
from adapters.event_store.store import PostgresEventStore
from adapters.triton.grpc_client import ServerError, ServerLost, TritonGrpc
from adapters.triton.statistics import StatisticsReader
from application.ports import ConnectionLostError, StoreFailedError
from domain.server_counters import Counters, Key, Sample
from entrypoints.bootstrap import Database
from entrypoints.gateway.config import GatewayConfig

logger = logging.getLogger("tollbook.gateway")

LAST_SECONDS = 5.0
"""So long a gateway that stops waits for its last sample."""

DAY_SECONDS = 86_400

REMOVING_SECONDS = 86_400.0
"""So long after it has removed old samples a gateway does so again."""


def counters_of(home: Path) -> Path:
    """Return where a gateway's samples lie: beside its intent logs, which come and go."""
    return home.with_name(f"{home.name}.counters")


class Sampler:
    """Takes samples of all servers of a gateway."""

    def __init__(
        self, config: GatewayConfig, home: Path, store: PostgresEventStore, message_bytes: int
    ) -> None:
        """Connect to every server once, whichever pools it stands in for."""
        self._folder = counters_of(home)
        self._days = config.sample_days
        self._store = store
        addresses = [server for pool in config.pool for server in pool.servers or (pool.grpc,)]
        self._clients = {each: TritonGrpc(each, message_bytes) for each in addresses}
        self._readers = {each: StatisticsReader(it) for each, it in self._clients.items()}

    async def close(self) -> None:
        """Disconnect from the servers."""
        for client in self._clients.values():
            await client.close()

    async def take(self) -> Sample:
        """Ask the ledger, the servers and the ledger again, and write down what they say.

        Raises Unavailable where no server answers, or the ledger does not.
        """
        before = await self._position()
        servers: dict[str, dict[Key, Counters]] = {}
        stages: dict[str, dict[str, int]] = {}
        answers = await asyncio.gather(
            *(reader.read() for reader in self._readers.values()), return_exceptions=True
        )
        for address, answer in zip(self._readers, answers, strict=True):
            if isinstance(answer, ServerError | ServerLost):
                logger.warning("no sample of %s: %s", address, answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                servers[address] = answer.counters
                stages.update(answer.stages)
        if not servers:
            raise Unavailable("no server tells what it has counted")
        after = await self._position()
        sample = Sample(_now(), before, after, servers, stages)
        await asyncio.to_thread(sample_log.append, self._folder, sample)
        return sample

    async def _position(self) -> int:
        try:
            return (await asyncio.to_thread(self._store.head)).position
        except (ConnectionLostError, StoreFailedError) as error:
            raise Unavailable(f"the ledger does not answer: {error}") from None

    async def run(self, seconds: int) -> None:
        """Remove old samples and take new ones until cancelled; a failure is told in the log."""
        removed_at = float("-inf")
        while True:
            if time.monotonic() - removed_at >= REMOVING_SECONDS:
                removed_at = time.monotonic()
                await self._remove_old()
            await asyncio.sleep(seconds)
            await self.try_to_take()

    async def _remove_old(self) -> None:
        oldest = _now() - self._days * DAY_SECONDS * SECOND
        try:
            await asyncio.to_thread(sample_log.remove_before, self._folder, oldest)
        except TollbookError as error:
            logger.warning("%s", error)

    async def try_to_take(self) -> None:
        """Take a sample, or say in the log why there is none."""
        try:
            await self.take()
        except TollbookError as error:
            logger.warning("no sample of the servers' counters: %s", error)
        except Exception:
            # Inferences go on without samples; whoever reconciles sees that one is missing.
            logger.exception("no sample of the servers' counters")


def _now() -> int:
    return time.time_ns() // 1000


@asynccontextmanager
async def sampler_on(
    database: Database, config: GatewayConfig, home: Path
) -> AsyncIterator[Sampler]:
    """Make a sampler with a connection to the ledger of its own."""
    with closing(PostgresEventStore(database.app_url)) as store:
        sampler = Sampler(config, home, store, config.message_bytes)
        try:
            yield sampler
        finally:
            await sampler.close()


@asynccontextmanager
async def sampling(database: Database, config: GatewayConfig, home: Path) -> AsyncIterator[None]:
    """Take samples before, during and after the block."""
    async with sampler_on(database, config, home) as sampler:
        await sampler.try_to_take()
        task = asyncio.create_task(sampler.run(config.sample_seconds))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            with suppress(TimeoutError):
                await asyncio.wait_for(sampler.try_to_take(), LAST_SECONDS)
