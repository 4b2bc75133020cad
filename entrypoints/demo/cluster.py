"""The demo on a cluster: every part that serves, settles or projects is a process of its own."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tollbook.errors import Unavailable

from adapters.kafka import installation as kafka_installation
from adapters.kafka.errors import KafkaUnavailable
from adapters.kafka.server import KafkaServer
from adapters.kafka.topics import make_topics
from adapters.redis import installation as redis_installation
from adapters.redis.errors import RedisUnavailable
from adapters.redis.server import RedisServer
from adapters.triton.server import TritonServer
from application.tollbook import Tollbook
from entrypoints.demo.processes import Process, started
from entrypoints.demo.serving import serving
from entrypoints.gateway.assembling import Kafka
from streams.dead_letters import SUFFIX

TOPIC, PARTITIONS = "inference-usage", 4
WORKERS = 2
STEPS = 4 + WORKERS
"""So many things are started: Triton, Kafka, Redis, the workers and the projector."""
SETTLED_SECONDS = 120.0
"""So long the workers may take over what is left when the last answer has come."""


def installed() -> None:
    """Raise Unavailable, with what to do about it, where this machine lacks Kafka or Redis."""
    try:
        kafka_installation.find()
        redis_installation.find()
    except (KafkaUnavailable, RedisUnavailable) as error:
        raise Unavailable(f"the demo cannot run on a cluster: {error}") from None


class Cluster:
    """Triton, Kafka, Redis, the workers that settle, and a projector; all of them run."""

    def __init__(
        self,
        triton: TritonServer,
        kafka: Kafka,
        redis: str,
        ours: Sequence[Process],
        ledger: Path,
        place: Path,
    ) -> None:
        """Stand for what was started on an embedded ledger."""
        self.triton = triton
        self.kafka = kafka
        self.redis = redis
        self.ledger = ledger
        self._ours = ours
        self._place = place

    def check(self) -> None:
        """Raise Unavailable when one of our processes has ended."""
        for each in self._ours:
            each.check()

    def settle(self, tollbook: Tollbook, customers: Iterable[str]) -> None:
        """Wait until no money is held any more; raises Unavailable when that does not happen."""
        self.wait(lambda: not any(tollbook.balance(each).held for each in customers))

    def wait(self, is_done: Callable[[], bool]) -> None:
        """Wait for what the workers are to do; raises Unavailable when it does not happen."""
        end = time.monotonic() + SETTLED_SECONDS
        while not is_done():
            self.check()
            if time.monotonic() > end:
                told = self._ours[0].last_words()
                raise Unavailable(f"the stream does not settle what ran: {told}")
            time.sleep(0.1)

    @contextmanager
    def gateway(self, config: Path) -> Iterator[dict[str, Any]]:
        """Run a gateway with this Kafka and this Redis; yields where it listens."""
        ports = [each for name in ("grpc", "http") for each in (f"--{name}-port", "0")]
        arguments = ("gateway", "--config", str(config), "--data", str(self.ledger), *ports)
        beside = ("--kafka", self.kafka.address, "--topic", self.kafka.topic, "--redis", self.redis)
        with started(self._place, "gateway", *arguments, *beside) as process:
            yield process.told()


@contextmanager
def running(
    ledger: Path, models: Sequence[str], log: Path, advance: Callable[[int], None]
) -> Iterator[Cluster]:
    """Run a cluster on an embedded ledger, and stop it in order; `advance` counts its parts."""
    with ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="tollbook-demo-cluster-")
        place = Path(stack.enter_context(folder))
        triton = stack.enter_context(serving(log, models))
        advance(1)
        kafka = stack.enter_context(_kafka(place / "kafka"))
        advance(1)
        redis = stack.enter_context(_redis(place / "redis"))
        advance(1)
        settle = ("stream", "run", "--kafka", kafka.address, "--topic", kafka.topic)
        commands: dict[str, tuple[str, ...]]
        commands = {f"worker {number + 1}": settle for number in range(WORKERS)}
        commands["projector"] = ("project",)
        ours = []
        for name, command in commands.items():
            ours.append(stack.enter_context(started(place, name, *command, "--data", str(ledger))))
        for each in ours[:WORKERS]:
            each.told()
            advance(1)
        advance(1)
        yield Cluster(triton, kafka, redis, ours, ledger, place)


@contextmanager
def _kafka(folder: Path) -> Iterator[Kafka]:
    try:
        server = KafkaServer(folder)
        server.start()
    except KafkaUnavailable as error:
        raise Unavailable(f"the demo cannot run on a cluster: {error}") from None
    with server:
        asyncio.run(make_topics(server.address, {TOPIC: PARTITIONS, TOPIC + SUFFIX: 1}, 1, 1))
        yield Kafka(server.address, TOPIC)


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    server = RedisServer(folder)
    try:
        server.start()
    except RedisUnavailable as error:
        raise Unavailable(f"the demo cannot run on a cluster: {error}") from None
    with server:
        yield server.url
