"""Two processes on one ledger: this one reserves, another settles what it is told of by a pipe.

A new reserve is sent only when the id of an answered one is in the pipe, and the settling process
takes no more than it has in flight, so neither runs far ahead of the other.
"""

import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from application.answers import Answer
from application.executor import Executor
from application.jobs import Item, Job
from benchmarks.bench import Bench, set_up
from benchmarks.load import PATIENCE_SECONDS, reserve
from benchmarks.pairs import HOT, HOT_AT_ONCE
from entrypoints.bootstrap import Database, tollbook_on

Settler = subprocess.Popen[str]


def two_writers(bench: Bench) -> dict[str, float]:
    """Measure from the first reserve sent to the last settle answered."""
    pairs = bench.sizes.pairs
    with bench.fresh_database() as name:
        database = bench.database(name)
        with tollbook_on(database) as tollbook:
            set_up(tollbook, [HOT])
            with _settler(database) as settler:
                _send(Reserves(tollbook.executor, "w"), settler, max(pairs // 10, HOT_AT_ONCE))
                begin = time.perf_counter()
                _send(Reserves(tollbook.executor, "r"), settler, pairs)
                seconds = time.perf_counter() - begin
    return {"pairs_2writers": pairs / seconds}


class Reserves:
    """Sends reserves and collects the ids of those that are answered."""

    def __init__(self, executor: Executor, prefix: str) -> None:
        """Drive an executor."""
        self._executor = executor
        self._prefix = prefix
        self._sent = 0
        self.answered: queue.SimpleQueue[str | Answer | None] = queue.SimpleQueue()
        """Ids of reservations that stand, or the answer of the first command that failed."""

    def send(self) -> None:
        """Send the next reserve."""
        name = f"{self._prefix}{self._sent:010d}"
        self._sent += 1

        def collect(job: Job) -> None:
            answer = job.items[0].answer
            self.answered.put(name if answer is not None and answer.done else answer)

        self._executor.submit(Job([Item(reserve(name, HOT))], on_done=collect))


def _send(reserves: Reserves, settler: Settler, pairs: int) -> None:
    """Reserve so many times, tell the settler each id, and wait until it has settled them all."""
    assert settler.stdin is not None
    assert settler.stdout is not None
    settler.stdin.write(f"{pairs}\n")
    for _ in range(min(HOT_AT_ONCE, pairs)):
        reserves.send()
    for told in range(pairs):
        name = reserves.answered.get(timeout=PATIENCE_SECONDS)
        if not isinstance(name, str):
            raise RuntimeError(  # noqa: TRY004 - a refusal, not a wrong type
                f"a reserve was not done: {name and name.problem()}"
            )
        settler.stdin.write(f"{name}\n")
        if told + HOT_AT_ONCE < pairs:
            reserves.send()
        if reserves.answered.empty():
            settler.stdin.flush()
    settler.stdin.flush()
    if settler.stdout.readline() != "settled\n":
        raise RuntimeError("the settling process failed; its words are above")


@contextmanager
def _settler(database: Database) -> Iterator[Settler]:
    """Start the settling process and wait until it has opened the ledger."""
    command = [sys.executable, "-m", "benchmarks.settler", database.owner_url, database.app_url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as settler:
        try:
            assert settler.stdout is not None
            if settler.stdout.readline() != "ready\n":
                raise RuntimeError("the settling process did not start; its words are above")
            yield settler
        finally:
            settler.kill()
