"""The broker is away for a minute under load, hanging or dead: what was sent is settled once."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGSTOP, SIGTERM

import pytest

from adapters.kafka.server import KafkaServer
from tests.faults.stream_load import POISON, StreamLoad
from tests.support.databases import TestDatabase
from tests.support.kafka import a_kafka
from tests.support.sizes import all_or
from tests.support.triton import wait_until

INFERENCES = 600
AWAY_SECONDS = 60 if "CI" in os.environ else 12
"""How long the broker is away; a worker's session is over after 10 s in either case."""

Away = Callable[[KafkaServer], AbstractContextManager[None]]


@contextmanager
def paused(kafka: KafkaServer) -> Iterator[None]:
    """Let the broker hang, its connections open, for the length of the block."""
    os.kill(kafka.pid, SIGSTOP)
    try:
        yield
    finally:
        os.kill(kafka.pid, SIGCONT)


@contextmanager
def killed(kafka: KafkaServer) -> Iterator[None]:
    """Kill the broker, and start it again after the block."""
    kafka.kill()
    yield
    kafka.start()


AWAY: dict[str, Away] = {"paused": paused, "killed": killed}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", all_or(1, AWAY))
def test_a_broker_that_is_away_costs_no_record_and_doubles_none(
    embedded_database: TestDatabase, tmp_path: Path, seed: int, way: str
) -> None:
    chance = Random(f"{seed}-away")
    with a_kafka(tmp_path / "kafka") as kafka, ExitStack() as stack:
        load = StreamLoad(tmp_path, embedded_database.parts, kafka)
        sent = load.run(INFERENCES, chance)
        workers = [stack.enter_context(load.worker(f"worker-{number}")) for number in range(2)]
        half = len(sent.records) // 2
        first = load.sending(sent.records[:half])
        load.more_settled()
        first.all_sent()
        sending = load.sending(sent.records[half:], pause=0.05)
        wait_until(lambda: sending.sent > 0)
        with AWAY[way](kafka):
            before = sending.sent
            assert before < len(sent.records) - half, "it goes away under load"
            time.sleep(AWAY_SECONDS)
            assert sending.sent <= before + 1, "nothing is acknowledged by nobody"
        sending.all_sent()
        load.caught_up()
        assert {worker.stop() for worker in workers} <= {0, -SIGTERM}
        assert load.buried() >= POISON
        load.assert_settled_once(sent, embedded_database.super_url)
