"""The shared trace through Kafka and real workers: to the last unit the charges of the demo."""

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from tollbook.times import format_instant

from adapters.event_store.store import PostgresEventStore
from adapters.kafka import topics
from adapters.kafka.server import KafkaServer
from application.jobs import Item
from domain.commands import Reserve
from entrypoints.bootstrap import license_desk, tollbook_on
from entrypoints.demo import job, licenses
from entrypoints.demo.trace import Row, read_trace, seeded_trace
from entrypoints.streaming import offsets_of
from streams import wire
from streams.dead_letters import SUFFIX
from streams.worker import GROUP
from tests.e2e.test_demo import TRACE, amount, demo
from tests.faults.invariants import assert_sound
from tests.faults.stream_process import StreamWorker
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.databases import embedded_database as embedded_database  # noqa: PLC0414
from tests.support.kafka import kafka as kafka  # noqa: PLC0414 - a fixture, by its name
from tests.support.sizes import in_full_or

ROWS = in_full_or(4_000, 20_000)
"""So many rows of the trace: a part, and in CI all of it."""
CUSTOMERS = 4
"""So few that each crosses a tier of the prices with a part of the rows as well."""
PARTITIONS = 4

Records = list[tuple[str, bytes]]
"""Keys and values."""


@pytest.fixture(scope="module")
def trace() -> list[Row]:
    """Read the trace that the demo reads: the shared one, or where that is not at hand its own."""
    return read_trace(TRACE, ROWS) if TRACE.exists() else seeded_trace(ROWS)


@pytest.fixture(scope="module")
def embedded() -> dict[str, Any]:
    """Have the demo charge the trace with no broker; return what it says of each customer."""
    given = ["--trace", str(TRACE)] if TRACE.exists() else []
    document = demo(*given, "--limit", str(ROWS), "--customers", str(CUSTOMERS))
    assert document["settled"] == document["inferences"]
    return document


@pytest.fixture
def topic(kafka: KafkaServer) -> str:
    """Make a topic of usage for one test, and that of its dead letters."""
    name = f"usage-{secrets.token_hex(6)}"
    made = {name: PARTITIONS, name + SUFFIX: 1}
    asyncio.run(topics.make_topics(kafka.address, made, 1, 1))
    return name


def held(database: TestDatabase, trace: Sequence[Row]) -> None:
    """Make the demo's customers, and hold the money of every inference."""
    with (
        tollbook_on(database.parts) as tollbook,
        closing(PostgresEventStore(database.app_url)) as store,
    ):
        job.set_up(tollbook, license_desk(database.parts, store), CUSTOMERS, None)
        for rows in pieces(trace, 500):
            for answer in tollbook.executor.execute([_reserve(row) for row in rows]):
                answer.result()


def _reserve(row: Row) -> Item:
    number = row.number % CUSTOMERS
    command = Reserve(
        id=f"inf-{row.number:08d}",
        customer=job.customer_id(number),
        model=job.MODEL,
        estimate=used(row),
        license=licenses.license_id(number),
        ttl_seconds=3_600,
    )
    return Item(command)


def pieces(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    """Cut rows into pieces, the last of which may be smaller."""
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def used(row: Row) -> dict[str, int]:
    """Return the usage of an inference."""
    return {"input_tokens": row.input_tokens, "output_tokens": row.output_tokens}


def records(trace: Sequence[Row]) -> Records:
    """Return the usage as a gateway sends it: up to 50 events of one customer in a record."""
    at = format_instant(time.time_ns() // 1_000)
    found = []
    of_each = sorted(trace, key=lambda row: row.number % CUSTOMERS)  # keeps each one's order
    for number, rows in groupby(of_each, key=lambda row: row.number % CUSTOMERS):
        customer = job.customer_id(number)
        for some in pieces(list(rows), wire.EVENTS_MAX):
            events = [_event(row, customer, at) for row in some]
            found.append((customer, wire.packed(events)))
    return found


def _event(row: Row, customer: str, at: str) -> dict[str, Any]:
    id = f"inf-{row.number:08d}"
    data = {"customer": customer, "model": job.MODEL, "usage": used(row), "occurred_at": at}
    envelope = {"specversion": "1.0", "type": wire.USAGE, "source": "gateway/trace", "id": id}
    return {**envelope, "subject": id, "time": at, "data": data}


def publish(kafka: KafkaServer, topic: str, sent: Records) -> None:
    """Send records as fast as Kafka takes them."""

    async def ask() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.address, acks="all")
        await producer.start()
        try:
            waiting = [await producer.send(topic, value, key=key.encode()) for key, value in sent]
            await asyncio.gather(*waiting)
        finally:
            await producer.stop()

    asyncio.run(ask())


def members(kafka: KafkaServer) -> int:
    """Say how many workers have partitions."""

    async def ask() -> int:
        client = AIOKafkaAdminClient(bootstrap_servers=kafka.address)
        await client.start()
        try:
            (found,) = await client.describe_consumer_groups([GROUP])
        except GroupCoordinatorNotAvailableError:
            return 0  # nobody has asked for this group before
        finally:
            await client.close()
        (_, _, state, _, _, who, *_) = found.groups[0]
        return len(who) if state == "Stable" else 0

    return asyncio.run(ask())


def settle(
    database: TestDatabase,
    kafka: KafkaServer,
    topic: str,
    folder: Path,
    sent: Records,
    workers: int,
) -> list[int]:
    """Have workers settle records that are sent when all of them are there.

    Returns how many events each of them told the ledger.
    """
    given = (database.owner_url, MASTER_KEY, kafka.address, topic)
    with ExitStack() as stack, closing(PostgresEventStore(database.app_url)) as store:
        running = [
            stack.enter_context(StreamWorker(folder, f"worker-{n}", *given, stuck_seconds=120))
            for n in range(workers)
        ]
        end = time.monotonic() + 120
        while members(kafka) < workers:
            assert time.monotonic() < end, "the workers do not come"
            time.sleep(0.2)
        publish(kafka, topic, sent)
        end = time.monotonic() + 240
        offsets = offsets_of(store, asyncio.run(topics.cluster_id(kafka.address)), topic)
        while sum(offsets().values()) < len(sent):
            assert time.monotonic() < end, f"settled: {offsets()} of {len(sent)}"
            time.sleep(0.1)
        assert [worker.stop() for worker in running] == [0] * workers
        said = [re.findall(r"settled (\d+) events", each.log.read_text()) for each in running]
        return [sum(map(int, counts)) for counts in said]


def assert_as_embedded(database: TestDatabase, embedded: dict[str, Any]) -> None:
    """Compare every customer's charges and tokens, and what they have left, with the demo's."""
    rows = database.query(
        "SELECT customer, sum((data::jsonb->>'charged')::numeric * 1000000000000)::bigint,"
        " sum((data::jsonb->'usage'->>'input_tokens')::bigint)::bigint,"
        " sum((data::jsonb->'usage'->>'output_tokens')::bigint)::bigint"
        " FROM events WHERE name = 'reservation_settled' GROUP BY customer"
    )
    expected = {
        name: (amount(told["charged"]), told["input_tokens"], told["output_tokens"])
        for name, told in embedded["customers"].items()
    }
    assert {name: tuple(sums) for name, *sums in rows} == expected
    assert sum(charged for charged, _, _ in expected.values()) == amount(embedded["charged"])
    with tollbook_on(database.parts) as tollbook:
        for name, told in embedded["customers"].items():
            balance = tollbook.balance(name)
            assert (balance.held, balance.available) == (0, amount(told["balance"]))
    kept = "SELECT count(*) FROM events WHERE name IN ('usage_parked', 'command_refused')"
    assert database.query(kept) == [(0,)]
    assert_sound(database.super_url)


@pytest.mark.timeout(600)
def test_one_worker_charges_the_trace_as_the_demo_does(
    embedded_database: TestDatabase,
    kafka: KafkaServer,
    topic: str,
    tmp_path: Path,
    trace: list[Row],
    embedded: dict[str, Any],
) -> None:
    held(embedded_database, trace)
    told = settle(embedded_database, kafka, topic, tmp_path, records(trace), 1)
    assert told == [len(trace)]
    assert_as_embedded(embedded_database, embedded)


@pytest.mark.timeout(600)
def test_two_workers_and_records_that_come_again_change_no_charge(
    embedded_database: TestDatabase,
    kafka: KafkaServer,
    topic: str,
    tmp_path: Path,
    trace: list[Row],
    embedded: dict[str, Any],
    seed: int,
) -> None:
    chance = Random(f"{seed}-trace")
    held(embedded_database, trace)
    once, sent = records(trace), []
    for record in once:
        sent += [record] * chance.choice((1, 1, 2, 3))
        if chance.random() < 0.2:
            sent.append(chance.choice(sent))
    again = sent + chance.sample(once, len(once) // 4)
    told = settle(embedded_database, kafka, topic, tmp_path, again, 2)
    assert min(told) > 0, "both of them had work"
    assert sum(told) > len(trace)
    assert_as_embedded(embedded_database, embedded)
