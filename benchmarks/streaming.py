"""The stream: usage in Kafka, settled by one worker and by two, end to end into PostgreSQL."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from adapters.event_store.store import PostgresEventStore
from adapters.kafka import topics
from adapters.kafka.server import KafkaServer
from application.jobs import Item
from application.tollbook import Tollbook
from benchmarks.bench import Bench, customer_names, set_up
from domain.commands import parse
from entrypoints.bootstrap import Database, open_database, tollbook_on
from entrypoints.settings import Settings
from entrypoints.streaming import offsets_of
from streams import wire

TOPIC, PARTITIONS = "inference-usage", 8
CUSTOMERS = customer_names(64)
MODEL = "gpt4-equivalent"
USAGE = {"input_tokens": 1_000, "output_tokens": 500}
PATIENCE_SECONDS = 120.0
"""So long workers may settle nothing at all."""
_BATCH = 250
_TICKS = os.sysconf("SC_CLK_TCK")

Values = list[tuple[str, bytes]]
"""Records: the key and the value of each."""


class Ground(NamedTuple):
    """A ledger and a topic of its own, on which workers are started."""

    settings: Settings
    database: Database
    kafka: str
    """Where the broker listens."""
    topic: str


class Settled(NamedTuple):
    """How fast workers settled."""

    rate: float
    """Events a second, from the first transaction seen to the last."""
    cpu_us: float
    """What the workers computed for each event, their start included, in microseconds."""
    steady_us: float
    """The same of the second half of the events, when all workers have long been at work."""


def stream(bench: Bench) -> dict[str, float]:
    """Measure one worker, and then two, each on a ledger and a topic of its own."""
    found = {}
    for workers in (1, 2):
        each = _settled(bench.sizes.streamed, workers)
        found[f"stream_settled_{workers}"] = each.rate
        found[f"stream_cpu_{workers}"] = each.cpu_us
        found[f"stream_cpu_steady_{workers}"] = each.steady_us
    return found


def _settled(count: int, workers: int) -> Settled:
    with ground() as place:
        with tollbook_on(place.database) as tollbook:
            set_up(tollbook, CUSTOMERS)
            hold(tollbook, range(count))
        return settled(place, records(range(count)), count, workers)


def settled(place: Ground, values: Values, count: int, workers: int) -> Settled:
    """Send the records of so many events, and see how fast so many workers settle them."""
    asyncio.run(sent(place, values))
    # Scoring fraud is a process beside one of them; here it would share their two cores.
    with working(place, workers, TOLLBOOK_FRAUD_SCORING="off") as processes:
        rate, steady = _watched(place, processes, len(values), count)
        found = Settled(rate, _cpu_us(processes) / count, steady)
    with closing(PostgresEventStore(place.database.app_url)) as store:
        ((parked,),) = store.run("SELECT count(*) FROM events WHERE name = 'usage_parked'")
    if parked:  # that is less work, and not what is measured
        raise RuntimeError(f"{parked} events were parked, and not charged")
    return found


@contextmanager
def ground() -> Iterator[Ground]:
    """Start a Kafka and make an empty ledger; nothing of either is left afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="tollbook-bench-stream-") as name,
        KafkaServer(Path(name) / "kafka") as kafka,
    ):
        asyncio.run(topics.make_topics(kafka.address, {TOPIC: PARTITIONS}, 1, 1))
        settings = Settings(data=Path(name) / "ledger")
        with open_database(settings) as database:
            yield Ground(settings, database, kafka.address, TOPIC)


def customer_of(number: int) -> str:
    """Return whose inference it is: each customer has 50 in a row, the most of a record."""
    return CUSTOMERS[number // wire.EVENTS_MAX % len(CUSTOMERS)]


def hold(tollbook: Tollbook, numbers: range) -> None:
    """Hold the money of inferences."""
    for first in range(0, len(numbers), _BATCH):
        items = []
        for number in numbers[first : first + _BATCH]:
            whose = {"customer": customer_of(number), "model": MODEL, "estimate": USAGE}
            body = {"id": f"i-{number}", **whose, "ttl_seconds": 3_600}
            items.append(Item(parse("reserve", body)))
        for answer in tollbook.executor.execute(items):
            answer.result()


def records(numbers: range) -> Values:
    """Return the usage of inferences, 50 to a record."""
    each = wire.EVENTS_MAX
    firsts = range(0, len(numbers), each)
    return [
        (customer_of(some[0]), wire.packed([usage_event(number) for number in some]))
        for some in (numbers[first : first + each] for first in firsts)
    ]


def usage_event(number: int) -> dict[str, object]:
    """Return the CloudEvent of an inference that ran now."""
    id, at = f"i-{number}", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    data = {"customer": customer_of(number), "model": MODEL, "usage": USAGE, "occurred_at": at}
    data |= {"request_hash": "0a" * 32, "response_hash": "0b" * 32}
    envelope = {"specversion": "1.0", "type": wire.USAGE, "source": "gateway/bench", "id": id}
    return {**envelope, "subject": id, "time": at, "data": data}


async def sent(place: Ground, values: Values) -> None:
    """Send records; returns when all of them are kept."""
    producer = AIOKafkaProducer(bootstrap_servers=place.kafka, acks="all")
    await producer.start()
    try:
        under_way = [
            await producer.send(place.topic, value, key=key.encode()) for key, value in values
        ]
        await asyncio.gather(*under_way)
    finally:
        await producer.stop()


@contextmanager
def working(
    place: Ground, count: int = 1, **environment: str
) -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Run so many workers."""
    command = [sys.executable, "-m", "tollbook", "stream", "run", "--kafka", place.kafka]
    command += ["--topic", place.topic, "--data", str(place.settings.data)]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, env={**os.environ, **environment}
                )
            )
            for _ in range(count)
        ]
        try:
            yield workers
        finally:
            for worker in workers:
                worker.terminate()


class Progress:
    """How many records the ledger has settled; raises RuntimeError when it does not get on."""

    def __init__(
        self,
        place: Ground,
        store: PostgresEventStore,
        workers: "Sequence[subprocess.Popen[bytes]]",
    ) -> None:
        """Look at the ledger's offsets through a store."""
        cluster = asyncio.run(topics.cluster_id(place.kafka))
        self._offsets = offsets_of(store, cluster, place.topic)
        self._workers = workers
        self._last = (-1, time.monotonic())

    def look(self) -> int:
        """Return how many records are settled."""
        done, now = sum(self._offsets().values()), time.monotonic()
        if done > self._last[0]:
            self._last = (done, now)
        ended = [worker.returncode for worker in self._workers if worker.poll() is not None]
        if ended or now - self._last[1] > PATIENCE_SECONDS:
            raise RuntimeError(f"{done} records are settled, and no more; workers ended: {ended}")
        return done

    def wait(self, records: int) -> None:
        """Wait until so many records are settled."""
        while self.look() < records:
            time.sleep(0.02)


def _watched(
    place: Ground, workers: "Sequence[subprocess.Popen[bytes]]", records: int, events: int
) -> tuple[float, float]:
    """Return events a second, and the CPU for each event of the second half, in microseconds."""
    with closing(PostgresEventStore(place.database.app_url)) as store:
        progress = Progress(place, store, workers)
        while not (first := progress.look()):
            time.sleep(0.02)
        begin = time.perf_counter()
        progress.wait(max(first, records // 2))
        half, computed = progress.look(), _cpu_us(workers)
        progress.wait(records)
        seconds, computed = time.perf_counter() - begin, _cpu_us(workers) - computed
    settled, later = ((records - since) * events / records for since in (first, half))
    return settled / seconds if settled else 0.0, computed / later if later else 0.0


def _cpu_us(workers: "Sequence[subprocess.Popen[bytes]]") -> float:
    pids = [pid for worker in workers for pid in (worker.pid, *children(worker.pid))]
    return sum(map(_own_cpu_us, pids))


def children(pid: int) -> list[int]:
    """Return the processes that a worker has started: what it does is done by them too."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(each) for one in lists for each in one.read_text(encoding="utf-8").split()]


def _own_cpu_us(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS * 1e6
