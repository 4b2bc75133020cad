"""A real Kafka for the tests: one for each process of a run, and others for tests that kill theirs.

Where none can be installed, a test that needs it is skipped with the reason, and fails instead
where TOLLBOOK_REQUIRE says that nothing may be missing. What asks for a broker alone then runs on
librdkafka's mock broker, and the head of the run says so.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from adapters.kafka.errors import KafkaUnavailable
from adapters.kafka.installation import Installation, find
from adapters.kafka.server import KafkaServer
from tests.support.mock_kafka import a_mock_kafka

READ_SECONDS = 30


class Broker(Protocol):
    """What the reduced set of tests runs on: Kafka, or what stands in for it."""

    @property
    def address(self) -> str:
        """Where clients reach it, as host and port."""

    def make_topic(self, name: str, partitions: int = 1) -> None:
        """Make a topic."""


class RealKafka:
    """A Kafka that makes its topics when asked, as the mock broker does."""

    def __init__(self, server: KafkaServer) -> None:
        """Stand before a server."""
        self.server = server

    @property
    def address(self) -> str:
        """Where clients reach it, as host and port."""
        return self.server.address

    def make_topic(self, name: str, partitions: int = 1) -> None:
        """Make a topic."""
        make_topic(self.server, name, partitions)


def installed() -> Installation:
    """Return the Kafka of this checkout, or skip the test and say why there is none."""
    try:
        return find()
    except KafkaUnavailable as error:
        reason = str(error)
    assert "TOLLBOOK_REQUIRE" not in os.environ, reason
    pytest.skip(reason)


@contextmanager
def a_kafka(folder: Path, more: Mapping[str, str | int] | None = None) -> Iterator[KafkaServer]:
    """Run a server of the test's own."""
    server = KafkaServer(folder, more=more, installation=installed())
    try:
        server.start()
        yield server
    finally:
        server.kill()


@cache
def shared_kafka(config: pytest.Config) -> KafkaServer:
    """Return the server of this process; the first test that needs it starts it."""
    installed()
    folder = Path(tempfile.mkdtemp(prefix="tollbook-kafka-"))
    running = ExitStack()
    running.callback(shutil.rmtree, folder, ignore_errors=True)
    config.add_cleanup(running.close)
    return running.enter_context(a_kafka(folder))


@cache
def shared_mock_kafka(config: pytest.Config) -> Broker:
    """Return the mock broker of this process."""
    running = ExitStack()
    config.add_cleanup(running.close)
    return running.enter_context(a_mock_kafka())


@pytest.fixture
def kafka(pytestconfig: pytest.Config) -> KafkaServer:
    """Give the test this process's server; whoever kills one uses a_kafka."""
    return shared_kafka(pytestconfig)


@pytest.fixture(params=["kafka", "mock"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Give the test a broker, first Kafka and then what stands in for it."""
    if request.param == "kafka":
        return RealKafka(shared_kafka(request.config))
    return shared_mock_kafka(request.config)


def make_topic(server: KafkaServer, name: str, partitions: int = 1) -> None:
    """Make a topic as an administrator does."""

    async def ask() -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=server.address)
        await client.start()
        try:
            answer = await client.create_topics([NewTopic(name, partitions, 1)])
            assert [error[1] for error in answer.topic_errors] == [0], answer
        finally:
            await client.close()

    asyncio.run(ask())


def send(
    address: str,
    topic: str,
    values: Sequence[bytes],
    *,
    key: bytes | None = None,
    keys: Sequence[bytes] = (),
    partition: int | None = None,
) -> list[tuple[int, int]]:
    """Send records in order, each acknowledged by all who must have it; return their places.

    All have one key, or each its own.
    """

    async def ask() -> list[tuple[int, int]]:
        producer = AIOKafkaProducer(bootstrap_servers=address, acks="all")
        await producer.start()
        try:
            sent = [
                await producer.send(
                    topic, value, key=keys[number] if keys else key, partition=partition
                )
                for number, value in enumerate(values)
            ]
            places = [await acknowledged for acknowledged in sent]
            return [(place.partition, place.offset) for place in places]
        finally:
            await producer.stop()

    return asyncio.run(ask())


def read(address: str, topic: str, count: int, *, partition: int = 0) -> list[bytes]:
    """Read the first records of a partition."""

    async def ask() -> list[bytes]:
        consumer = AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, partition)])
            async with asyncio.timeout(READ_SECONDS):
                return [(await consumer.getone()).value for _ in range(count)]
        finally:
            await consumer.stop()

    return asyncio.run(ask())
