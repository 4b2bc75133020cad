"""A writer's clock that a test can set, and executors that run by it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from adapters.clock import DatabaseClock
from adapters.event_store.store import PostgresEventStore
from adapters.vault import KeyVault
from application.executor import Executor
from application.tollbook import Tollbook
from tests.support.databases import MASTER_KEY, TestDatabase

SECOND = 10**9
"""Nanoseconds in a second."""


class MonotonicClock:
    """This machine's monotonic clock, put forward or back, or running too fast or too slow."""

    def __init__(self) -> None:
        """Start in step with the machine."""
        self._start = time.monotonic_ns()
        self.shift = 0
        self.percent = 100

    def __call__(self) -> int:
        """Return nanoseconds."""
        passed = time.monotonic_ns() - self._start
        return self._start + passed * self.percent // 100 + self.shift


@contextmanager
def ledger_by(clock: MonotonicClock, database: TestDatabase) -> Iterator[Tollbook]:
    """Open a Tollbook whose writer follows this clock."""
    writing = PostgresEventStore(database.app_url)
    reading = PostgresEventStore(database.app_url)
    executor = Executor(writing, DatabaseClock(clock))
    try:
        yield Tollbook(executor, reading, KeyVault(reading.run, MASTER_KEY))
    finally:
        executor.close()
        writing.close()
        reading.close()
