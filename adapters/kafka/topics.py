"""Topics: made by an administrator, and looked at: which cluster it is, and where a topic ends."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from tollbook.errors import Invalid, Unavailable

from adapters.kafka.access import PLAIN_TEXT, Access

SECONDS = 15.0
_REQUEST_MS = int(SECONDS * 500)
"""Less than we wait: cut in its midst, the client leaves connections open."""
ALREADY_EXISTS = 36
"""The code of Kafka's protocol for a topic that there is."""
RETENTION_DAYS = 14

_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")
_DAY = 86_400_000


def checked_name(name: str) -> str:
    """Return a topic's name; raises Invalid for one that Kafka would not take."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise Invalid.because("topic", name, "1 to 200 of letters, digits, '.', '_' and '-'")
    return name


async def make_topics(
    address: str,
    partitions: Mapping[str, int],
    replication: int,
    retention_days: int,
    access: Access = PLAIN_TEXT,
) -> dict[str, bool]:
    """Make topics; return of each whether it is new. Raises Unavailable or Invalid.

    What was acknowledged must outlive brokers: more than half of the replicas have to be in sync.
    """
    settings = {
        "min.insync.replicas": str(replication // 2 + 1),
        "retention.ms": str(retention_days * _DAY),
        "cleanup.policy": "delete",
    }
    wanted = [
        NewTopic(name, count, replication, topic_configs=settings)
        for name, count in partitions.items()
    ]
    async with _admin(address, access) as client:
        answer: Any = await client.create_topics(wanted)
    made = {}
    for name, code, *told in answer.topic_errors:
        if code not in (0, ALREADY_EXISTS):
            raise Invalid.because("topic", name, str(told[0] if told else f"Kafka's error {code}"))
        made[str(name)] = code == 0
    return made


async def cluster_id(address: str, access: Access = PLAIN_TEXT) -> str:
    """Return the name that a cluster bears for ever; raises Unavailable."""
    async with _admin(address, access) as client:
        described = await client.describe_cluster()
    return str(described["cluster_id"])


async def partitions(address: str, topic: str, access: Access = PLAIN_TEXT) -> list[int]:
    """Return the numbers of a topic's partitions; raises Unavailable or Invalid."""
    async with _admin(address, access) as client:
        # Asked for one by its name, a broker may make it.
        if topic not in await client.list_topics():
            raise Invalid.because("topic", topic, "a topic of this cluster")
        (described,) = await client.describe_topics([topic])
    numbers = [int(each["partition"]) for each in described["partitions"]]
    if described["error_code"] or not numbers:
        raise Invalid.because("topic", topic, "a topic of this cluster")
    return numbers


class Bounds(NamedTuple):
    """Where a partition begins and ends."""

    first: int
    """The offset of the first record that is still there."""
    end: int
    """The offset after the last."""


async def bounds(address: str, topic: str, access: Access = PLAIN_TEXT) -> dict[int, Bounds]:
    """Return the bounds of each partition of a topic; raises Unavailable or Invalid."""
    numbers = await partitions(address, topic, access)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=address, request_timeout_ms=_REQUEST_MS, **access.options()
    )
    try:
        async with asyncio.timeout(SECONDS):
            await consumer.start()
            try:
                places = [TopicPartition(topic, number) for number in numbers]
                firsts = await consumer.beginning_offsets(places)
                ends = await consumer.end_offsets(places)
            finally:
                await consumer.stop()
    except (KafkaError, TimeoutError, OSError) as error:
        raise Unavailable(f"Kafka at {address} does not answer: {error!r}") from None
    return {each.partition: Bounds(int(firsts[each]), int(ends[each])) for each in places}


@asynccontextmanager
async def _admin(address: str, access: Access) -> AsyncIterator[Any]:
    client = AIOKafkaAdminClient(
        bootstrap_servers=address, request_timeout_ms=_REQUEST_MS, **access.options()
    )
    try:
        async with asyncio.timeout(SECONDS):
            await client.start()
            try:
                yield client
            finally:
                await client.close()
    except (KafkaError, TimeoutError, OSError) as error:
        raise Unavailable(f"Kafka at {address} does not answer: {error!r}") from None
