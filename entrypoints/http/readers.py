"""Readers: a few threads, each with a connection of its own, that read so that the loop need not.

They never write events, and never use the executor's connection.
"""

import asyncio
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple, TypeVar

from tollbook.errors import Invalid, TollbookError, Unavailable

from adapters.event_store.store import PostgresEventStore
from adapters.vault import KeyVault
from application.executor import Executor
from application.ports import ConnectionLostError, StoreFailedError
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database
from projections import checkpoint

T = TypeVar("T")

READERS = 4
WAITING_MAX = 1_000
"""So many reads may wait for a reader; more are refused as `overloaded`."""

_PAUSE_SECONDS = 0.02


class Reader(NamedTuple):
    """What a read may use: queries, and the ledger as seen through the same connection."""

    store: PostgresEventStore
    ledger: Tollbook

    def run(self, query: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Run one query and return its rows."""
        return self.store.run(query, parameters)


class Readers:
    """Runs functions that block, each with a reader of its own."""

    def __init__(self, database: Database, executor: Executor, count: int = READERS) -> None:
        """Connect; commands that a reader's ledger is given go to the one executor."""
        self._all = [_reader(database, executor) for _ in range(count)]
        self._free: queue.SimpleQueue[Reader] = queue.SimpleQueue()
        for reader in self._all:
            self._free.put(reader)
        self._threads = ThreadPoolExecutor(count, "tollbook-reader")
        self._under_way = 0

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function with a reader and these arguments; raises Unavailable without one."""
        if self._under_way >= WAITING_MAX:
            raise Unavailable("too many reads are waiting: try again later", code="overloaded")
        self._under_way += 1
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._call, function, arguments)
        finally:
            self._under_way -= 1

    def _call(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        """Run in a thread of the pool; there are as many readers as threads."""
        reader = self._free.get()
        try:
            return function(reader, *arguments)
        except TollbookError:
            raise
        except (ConnectionLostError, StoreFailedError) as error:
            raise Unavailable(f"the database does not answer: {first_line(error)}") from None
        finally:
            self._free.put(reader)

    async def wait_for(self, wanted: int, seconds: float = checkpoint.WAIT_SECONDS) -> None:
        """Return when the views hold everything up to a position; no thread waits meanwhile.

        Raises Invalid for a position that the ledger itself has not reached.
        """
        until = time.monotonic() + seconds
        if wanted > (head := await self.read(_head)):
            raise Invalid.because("wait_for", wanted, f"at most {head}, the ledger's position")
        while (reached := await self.read(_position)) < wanted:
            if time.monotonic() >= until:
                raise Unavailable(
                    f"the views stand at position {reached}, not yet at {wanted}",
                    position=reached,
                    wanted=wanted,
                )
            await asyncio.sleep(_PAUSE_SECONDS)

    def close(self) -> None:
        """Let reads that are under way finish, and disconnect."""
        self._threads.shutdown()
        for reader in self._all:
            with closing(reader.store):
                pass


def _reader(database: Database, executor: Executor) -> Reader:
    store = PostgresEventStore(database.app_url)
    return Reader(store, Tollbook(executor, store, KeyVault(store.run, database.master_key)))


def _head(reader: Reader) -> int:
    return reader.store.head().position


def _position(reader: Reader) -> int:
    return checkpoint.position(reader.run)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().split("\n")[0]
