"""The demo on a cluster: Kafka between the gateway and the ledger, and two of Faust's workers."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tollbook.errors import Unavailable

from adapters.kafka.errors import KafkaUnavailable
from adapters.kafka.installation import find
from adapters.kafka.server import KafkaServer
from adapters.kafka.topics import make_topics
from application.tollbook import Tollbook
from entrypoints.gateway.assembling import Kafka
from streams.dead_letters import SUFFIX

TOPIC, PARTITIONS = "inference-usage", 4
WORKERS = 2
SETTLED_SECONDS = 120.0
"""So long the workers may take over what is left when the last answer has come."""

_STOP_SECONDS = 60


def installed() -> None:
    """Raise Unavailable, with what to do about it, where this machine has no Kafka."""
    try:
        find()
    except KafkaUnavailable as error:
        raise Unavailable(f"the demo cannot run on a cluster: {error}") from None


class Cluster:
    """A Kafka and the workers that settle from it."""

    def __init__(self, kafka: Kafka, workers: "list[subprocess.Popen[bytes]]", log: Path) -> None:
        """All of it runs."""
        self.kafka = kafka
        self._workers = workers
        self._log = log

    def settle(self, tollbook: Tollbook, customers: Iterable[str]) -> None:
        """Wait until no money is held any more; raises Unavailable when that does not happen."""
        end = time.monotonic() + SETTLED_SECONDS
        waiting = list(customers)
        while waiting:
            waiting = [each for each in waiting if tollbook.balance(each).held]
            ended = [worker for worker in self._workers if worker.poll() is not None]
            if ended or (waiting and time.monotonic() > end):
                told = self._log.read_text("utf-8", errors="replace")[-500:]
                raise Unavailable(f"the stream does not settle what ran: {told}")
            time.sleep(0.1)


@contextmanager
def running(ledger: Path) -> Iterator[Cluster]:
    """Run Kafka and the workers on an embedded ledger, and stop them in order."""
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="tollbook-demo-kafka-"))
        try:
            kafka = stack.enter_context(KafkaServer(Path(name) / "kafka"))
        except KafkaUnavailable as error:
            raise Unavailable(f"the demo cannot run on a cluster: {error}") from None
        topics = {TOPIC: PARTITIONS, TOPIC + SUFFIX: 1}
        asyncio.run(make_topics(kafka.address, topics, 1, 1))
        log = Path(name) / "workers.log"
        workers = [stack.enter_context(_worker(kafka.address, ledger, log)) for _ in range(WORKERS)]
        yield Cluster(Kafka(kafka.address, TOPIC), workers, log)


@contextmanager
def _worker(address: str, ledger: Path, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    command = (sys.executable, "-m", "tollbook", "stream", "run", "--kafka", address)
    with log.open("ab") as lines:
        worker = subprocess.Popen(
            [*command, "--topic", TOPIC, "--data", str(ledger)],
            stdout=lines,
            stderr=lines,
            env=os.environ,
        )
    try:
        yield worker
        worker.terminate()
        worker.wait(_STOP_SECONDS)
    finally:
        worker.kill()
        worker.wait()
