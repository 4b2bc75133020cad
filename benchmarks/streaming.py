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
CUSTOMERS = 64
MODEL = "gpt4-equivalent"
USAGE = {"input_tokens": 1_000, "output_tokens": 500}
_BATCH = 1_000
_TICKS = os.sysconf("SC_CLK_TCK")


class Settled(NamedTuple):
    """How fast workers settled."""

    rate: float
    """Events a second, from the first transaction seen to the last."""
    cpu_us: float
    """What the workers computed for each event, their start included, in microseconds."""


def stream(bench: Bench) -> dict[str, float]:
    """Measure one worker, and then two, each on a ledger and a topic of its own."""
    found = {}
    with (
        tempfile.TemporaryDirectory(prefix="tollbook-bench-stream-") as name,
        KafkaServer(Path(name) / "kafka") as kafka,
    ):
        for workers in (1, 2):
            settled = _settled(bench, Path(name), kafka, workers)
            found[f"stream_settled_{workers}"] = settled.rate
            found[f"stream_cpu_{workers}"] = settled.cpu_us
    return found


def _settled(bench: Bench, folder: Path, kafka: KafkaServer, workers: int) -> Settled:
    topic, count = f"{TOPIC}-{workers}", bench.sizes.streamed
    asyncio.run(topics.make_topics(kafka.address, {topic: PARTITIONS}, 1, 1))
    settings = Settings(data=folder / f"ledger-{workers}")
    with open_database(settings) as database:
        with tollbook_on(database) as tollbook:
            names = customer_names(CUSTOMERS)
            set_up(tollbook, names)
            values = _held(tollbook, names, count)
        asyncio.run(_sent(kafka.address, topic, values))
        with _working(settings, kafka.address, topic, workers) as pids:
            rate = _rate(database, kafka.address, topic, len(values), count)
            return Settled(rate, sum(map(_cpu_us, pids)) / count)


def _held(tollbook: Tollbook, customers: Sequence[str], count: int) -> list[tuple[str, bytes]]:
    """Hold the money of so many inferences; return their usage, 50 to a record."""
    values = []
    each = wire.EVENTS_MAX
    for first in range(0, count, _BATCH):
        items = []
        for number in range(first, min(first + _BATCH, count)):
            whose = customers[number // each % len(customers)]
            body = {"id": f"i-{number}", "customer": whose, "model": MODEL, "estimate": USAGE}
            items.append(Item(parse("reserve", {**body, "ttl_seconds": 3_600})))
        for answer in tollbook.executor.execute(items):
            answer.result()
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for first in range(0, count, each):
        whose = customers[first // each % len(customers)]
        numbers = range(first, min(first + each, count))
        values.append((whose, wire.packed([_event(n, whose, now) for n in numbers])))
    return values


def _event(number: int, customer: str, at: str) -> dict[str, object]:
    id = f"i-{number}"
    data = {"customer": customer, "model": MODEL, "usage": USAGE, "occurred_at": at}
    data |= {"request_hash": "0a" * 32, "response_hash": "0b" * 32}
    envelope = {"specversion": "1.0", "type": wire.USAGE, "source": "gateway/bench", "id": id}
    return {**envelope, "subject": id, "time": at, "data": data}


async def _sent(address: str, topic: str, values: Sequence[tuple[str, bytes]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all")
    await producer.start()
    try:
        sent = [await producer.send(topic, value, key=key.encode()) for key, value in values]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


@contextmanager
def _working(settings: Settings, address: str, topic: str, count: int) -> Iterator[list[int]]:
    command = [sys.executable, "-m", "tollbook", "stream", "run", "--kafka", address]
    command += ["--topic", topic, "--data", str(settings.data)]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            for _ in range(count)
        ]
        try:
            yield [worker.pid for worker in workers]
        finally:
            for worker in workers:
                worker.terminate()


def _rate(database: Database, address: str, topic: str, records: int, events: int) -> float:
    cluster = asyncio.run(topics.cluster_id(address))
    first: tuple[int, float] | None = None
    with closing(PostgresEventStore(database.app_url)) as store:
        offsets = offsets_of(store, cluster, topic)
        while True:
            done, now = sum(offsets().values()), time.perf_counter()
            if done and first is None:
                first = (done, now)
            if first is not None and done >= records:
                share = (done - first[0]) / records
                return share * events / (now - first[1]) if now > first[1] else 0.0
            time.sleep(0.02)


def _cpu_us(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS * 1e6
