"""kill -9 of workers, their ledger, Kafka and PostgreSQL: every record is settled once, or kept."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from signal import SIGKILL, SIGTERM

import pytest

from adapters.kafka.server import KafkaServer
from tests.faults.own_server import OwnServer
from tests.faults.rounds import rounds
from tests.faults.stream_load import POISON, StreamLoad
from tests.faults.stream_process import StreamWorker
from tests.support.kafka import a_kafka
from tests.support.sizes import in_full_or
from tests.support.triton import wait_until

INFERENCES = in_full_or(500, 900)
MASSES = in_full_or(5, 6)
"""So many times something is killed."""


def kill(victim: str, workers: list[StreamWorker], kafka: KafkaServer, server: OwnServer) -> None:
    """Kill something at once, and bring it back."""
    if victim == "kafka":
        kafka.kill()
        kafka.start()
    elif victim == "postgres":
        server.kill_everything()
        wait_until(lambda: revived(server))
    elif victim.startswith("ledger"):
        for pid in workers[int(victim[-1])].beside("entrypoints.ledger_process"):
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.kill(pid, SIGKILL)
    else:
        workers[int(victim[-1])].kill()


def revived(server: OwnServer) -> bool:
    """Bring PostgreSQL back; a session of its last moment may be in the way at first."""
    try:
        server.revive()
    except Exception:
        return False
    return True


@contextmanager
def all_running(
    folder: Path, own_server: OwnServer
) -> Iterator[tuple[StreamLoad, list[StreamWorker]]]:
    """Run Kafka and two workers on a ledger."""
    with a_kafka(folder / "kafka") as kafka, ExitStack() as stack:
        load = StreamLoad(folder, own_server.parts, kafka)
        yield load, [stack.enter_context(load.worker(f"worker-{number}")) for number in range(2)]


@pytest.mark.timeout(300)
def test_each_record_is_settled_once_whatever_is_killed(
    own_server: OwnServer, tmp_path: Path, seed: int
) -> None:
    chance = Random(f"{seed}-stream")
    with all_running(tmp_path, own_server) as (load, workers):
        sent = load.run(INFERENCES, chance)
        sending = load.sending(sent.records)
        victims = ["worker-0", "ledger-1", "worker-1", "kafka", "postgres"]
        for number in rounds(MASSES):
            load.more_settled()
            time.sleep(chance.uniform(0.0, 1.0))
            victim = victims[number] if number < len(victims) else chance.choice(victims)
            kill(victim, workers, load.kafka, own_server)
        sending.all_sent()
        load.caught_up()
        # One that was just being started again knows no signal yet, and has begun nothing.
        assert {worker.stop() for worker in workers} <= {0, -SIGTERM}
        assert load.buried() >= POISON
        load.assert_settled_once(sent, own_server.super_url)
