"""Dead letters on a real Kafka: what a broker took as a record fits beside its reason."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from adapters.kafka.server import KafkaServer
from streams import dead_letters
from streams.dead_letters import ORIGIN, REASON, SIZE, SUFFIX, DeadLetters
from streams.settlement import Dead
from streams.wire import EVENTS_MAX, Bad
from streams.worker import TAKE
from tests.support.kafka import kafka as kafka  # noqa: PLC0414 - a fixture, by its name
from tests.support.kafka import make_topic

SECONDS = 60


async def taken(kafka: KafkaServer, topic: str, key: bytes, value: bytes) -> None:
    """Send a record that is small where it is packed."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.address, compression_type="gzip", max_request_size=10_000_000
    )
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, key=key)
    finally:
        await producer.stop()


async def buried(kafka: KafkaServer, topic: str, *dead: Dead) -> None:
    """Bury from a thread of its own, as a worker does."""
    letters = DeadLetters(kafka.address, topic)
    try:
        await asyncio.to_thread(letters.bury, dead)
    finally:
        await letters.close()


async def kept(kafka: KafkaServer, topic: str) -> tuple[bytes, bytes, dict[str, bytes]]:
    """Return key, value and headers of the first dead letter."""
    reading = AIOKafkaConsumer(
        topic + SUFFIX, bootstrap_servers=kafka.address, auto_offset_reset="earliest"
    )
    await reading.start()
    try:
        found = await asyncio.wait_for(reading.getone(), SECONDS)
        return found.key, found.value, dict(found.headers)
    finally:
        await reading.stop()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"cust-1", b"x" * 3_000_000),
        (b"k" * 3_000_000, b"no JSON"),
        (b"k" * 5_000_000, b"x" * 3_000_000),
    ],
    ids=["a long value", "a long key", "both"],
)
def test_whatever_a_broker_takes_as_a_record_can_be_buried(
    kafka: KafkaServer, key: bytes, value: bytes
) -> None:
    """Otherwise one record would end each worker of its partition, for ever."""
    topic = f"usage-{len(key)}-{len(value)}"
    make_topic(kafka, topic)
    make_topic(kafka, topic + SUFFIX)
    asyncio.run(taken(kafka, topic, key, value))
    asyncio.run(buried(kafka, topic, Dead(0, 7, key, Bad(2, "no JSON" * 70, value))))
    found_key, found_value, headers = asyncio.run(kept(kafka, topic))
    assert key.startswith(found_key)
    assert value.startswith(found_value)
    assert headers[ORIGIN] == f"{topic}/0/7/2".encode()
    assert headers[SIZE] == str(len(value)).encode()
    assert headers[REASON].startswith(b"no JSON")


def test_as_many_as_one_batch_may_have_are_buried_with_a_slow_broker(
    kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its records may hold fifty events that cannot be read; here they have less time."""
    monkeypatch.setattr(dead_letters, "SECONDS", 5.0)
    make_topic(kafka, "usage-many" + SUFFIX)
    many = [
        Dead(0, offset, b"k", Bad(at, "no event", b"1"))
        for offset in range(TAKE)
        for at in range(EVENTS_MAX)
    ]
    asyncio.run(buried(kafka, "usage-many", *many))
