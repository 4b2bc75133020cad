"""The load: pairs of reserve and settle, one after another or with many in flight."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from application.answers import Answer
from application.executor import Executor
from application.jobs import Item, Job
from domain.commands import Reserve, Settle
from entrypoints.demo.job import MODEL

# An ordinary request of the shared trace: a little less is used than was estimated.
ESTIMATE = {"input_tokens": 374, "output_tokens": 44}
USAGE = {"input_tokens": 374, "output_tokens": 40}
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Timed:
    """What a load took."""

    pairs: int
    seconds: float
    latencies: list[float]
    """Seconds from sending a command to its answer, sorted."""

    @property
    def rate(self) -> float:
        """Return pairs per second."""
        return self.pairs / self.seconds

    @property
    def median_ms(self) -> float:
        """Return the median latency in milliseconds."""
        return statistics.median(self.latencies) * 1000

    @property
    def p99_ms(self) -> float:
        """Return the latency that 99 of 100 commands stay within, in milliseconds."""
        return self.latencies[len(self.latencies) * 99 // 100] * 1000


def reserve(name: str, customer: str) -> Reserve:
    """Return the command that holds the money of one inference."""
    return Reserve(id=name, customer=customer, model=MODEL, estimate=ESTIMATE)


def settle(name: str) -> Settle:
    """Return the command that settles it."""
    return Settle(id=f"s{name}", reservation=name, usage=USAGE)


class Load:
    """Keeps pairs in flight: a reserve's answer sends its settle, and that the next reserve.

    Answers come in the executor's thread, as they do to an event loop; there is no thread per
    pair. The first command that is not carried out ends the load.
    """

    def __init__(
        self,
        executor: Executor,
        customer_of: Callable[[int], str],
        prefix: str = "r",
        reserving: Callable[[str, str], Reserve] = reserve,
    ) -> None:
        """Drive an executor; `customer_of` says to whom a pair belongs, by its number."""
        self._executor = executor
        self._reserving = reserving
        self._customer_of = customer_of
        self._prefix = prefix
        self._started = 0
        self._finished = 0
        self._last = 0
        self._failure: Answer | None = None
        self._latencies: list[float] = []
        self._done = threading.Event()

    def run(self, pairs: int, in_flight: int) -> Timed:
        """Carry out so many pairs and say how long they took."""
        self._last = self._started + pairs
        self._latencies = []
        self._done.clear()
        begin = time.perf_counter()
        for _ in range(min(in_flight, pairs)):
            self._reserve()
        finished = self._done.wait(PATIENCE_SECONDS)
        seconds = time.perf_counter() - begin
        if self._failure is not None:
            raise RuntimeError(f"a command of the load was not done: {self._failure.problem()}")
        if not finished:
            raise RuntimeError(f"the load did not end within {PATIENCE_SECONDS:g} s")
        return Timed(pairs, seconds, sorted(self._latencies))

    def _reserve(self) -> None:
        number = self._started
        self._started += 1
        name = f"{self._prefix}{number:010d}"
        sent = time.perf_counter()

        def answered(job: Job) -> None:
            self._latencies.append(time.perf_counter() - sent)
            if self._carried_out(job):
                self._executor.submit(Job([Item(settle(name))], on_done=self._settled))

        command = self._reserving(name, self._customer_of(number))
        self._executor.submit(Job([Item(command)], on_done=answered))

    def _settled(self, job: Job) -> None:
        if not self._carried_out(job):
            return
        self._finished += 1
        if self._started < self._last:
            self._reserve()
        elif self._finished == self._last:
            self._done.set()

    def _carried_out(self, job: Job) -> bool:
        answer = job.items[0].answer
        if answer is not None and answer.done:
            return True
        self._failure = answer
        self._done.set()
        return False


def in_flight(
    executor: Executor,
    customers: Sequence[str],
    pairs: int,
    at_once: int,
    reserving: Callable[[str, str], Reserve] = reserve,
) -> Timed:
    """Warm up with a tenth of the pairs, then time them all."""
    load = Load(executor, lambda number: customers[number % len(customers)], reserving=reserving)
    load.run(max(pairs // 10, at_once), at_once)
    return load.run(pairs, at_once)


def one_by_one(executor: Executor, customer: str, pairs: int) -> Timed:
    """Send each command when the one before is answered; the latencies are of both kinds."""
    _one_by_one(executor, customer, pairs // 10 + 1, "w")
    return _one_by_one(executor, customer, pairs, "r")


def _one_by_one(executor: Executor, customer: str, pairs: int, prefix: str) -> Timed:
    latencies = []
    begin = time.perf_counter()
    for number in range(pairs):
        name = f"{prefix}{number:010d}"
        for command in (reserve(name, customer), settle(name)):
            sent = time.perf_counter()
            answer = executor.one(command)
            latencies.append(time.perf_counter() - sent)
            answer.result()
    return Timed(pairs, time.perf_counter() - begin, sorted(latencies))
