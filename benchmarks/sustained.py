"""Pairs at a steady rate for a minute, with the projector beside them on the same cores.

An open load: so many pairs begin each second, whether or not earlier ones are answered, as
customers' requests do. What counts is how many are finished, and how far behind the views are.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from adapters.event_store.store import PostgresEventStore
from application.executor import Executor
from application.jobs import Item, Job
from benchmarks.bench import Bench, customer_names, set_up
from benchmarks.load import reserve, settle
from entrypoints.bootstrap import Database, tollbook_on
from projections.checkpoint import lag

OFFERED_PER_SECOND = 4_500
TICK_SECONDS = 0.01
CUSTOMERS = 1_000
IN_FLIGHT_MAX = 10_000
PATIENCE_SECONDS = 60.0


def pairs_sustained(bench: Bench) -> dict[str, float]:
    """Measure the pairs finished per second, and the lag of the views when the load ends."""
    customers = customer_names(min(CUSTOMERS, bench.sizes.customers))
    with bench.fresh_database() as name:
        database = bench.database(name)
        with tollbook_on(database) as tollbook, _follower(database):
            set_up(tollbook, customers)
            load = SteadyLoad(tollbook.executor, customers)
            finished, seconds = load.run(bench.sizes.sustained_seconds)
            behind = _seconds_behind(database)
            load.wait()
    return {"pairs_sustained": finished / seconds, "pairs_sustained_lag": behind}


def _seconds_behind(database: Database) -> float:
    with closing(PostgresEventStore(database.app_url)) as store:
        return float(lag(store.run)["seconds_behind"])


class SteadyLoad:
    """Begins pairs at a rate, in turn over the customers; a failed command ends it."""

    def __init__(self, executor: Executor, customers: list[str]) -> None:
        """Drive an executor."""
        self._executor = executor
        self._customers = customers
        self._started = 0
        self._finished = 0
        self._failure: object = None

    def run(self, seconds: float) -> tuple[int, float]:
        """Begin pairs for so long; return how many were finished, and the seconds it took."""
        begin = time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds:
            due = int(elapsed * OFFERED_PER_SECOND)
            while self._started < due and self._started - self._finished < IN_FLIGHT_MAX:
                self._begin()
            if self._failure is not None:
                raise RuntimeError(f"a command of the load was not done: {self._failure}")
            time.sleep(TICK_SECONDS)
        return self._finished, time.perf_counter() - begin

    def wait(self) -> None:
        """Wait until every pair that began is settled."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._finished < self._started and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS)

    def _begin(self) -> None:
        number = self._started
        self._started += 1
        name = f"r{number:010d}"
        command = reserve(name, self._customers[number % len(self._customers)])

        def held(job: Job) -> None:
            if self._done(job):
                self._executor.submit(Job([Item(settle(name))], on_done=self._settled))

        self._executor.submit(Job([Item(command)], on_done=held))

    def _settled(self, job: Job) -> None:
        if self._done(job):
            self._finished += 1

    def _done(self, job: Job) -> bool:
        answer = job.items[0].answer
        if answer is not None and answer.done:
            return True
        self._failure = answer and answer.problem()
        return False


@contextmanager
def _follower(database: Database) -> Iterator[None]:
    """Start the projector's process and wait until the views are there."""
    command = [sys.executable, "-m", "benchmarks.follower", database.owner_url, database.app_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        try:
            assert follower.stdout is not None
            if follower.stdout.readline() != "ready\n":
                raise RuntimeError("the projector did not start; its words are above")
            yield
        finally:
            follower.terminate()
            follower.wait(30)
