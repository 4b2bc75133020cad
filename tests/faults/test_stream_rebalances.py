"""Workers join and leave every few seconds under load: each record is settled by one of them."""

import secrets
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random
from signal import SIGTERM

import pytest

from adapters.kafka.server import KafkaServer
from tests.faults.rounds import rounds
from tests.faults.stream_load import POISON, StreamLoad
from tests.faults.stream_process import StreamWorker
from tests.support.databases import TestDatabase
from tests.support.kafka import kafka as kafka  # noqa: PLC0414 - a fixture, by its name
from tests.support.sizes import in_full_or

INFERENCES = in_full_or(450, 900)
CHANGES = in_full_or(4, 8)
WORKERS_MAX = 4


class Crew:
    """The workers that there are now."""

    def __init__(self, load: StreamLoad, stack: ExitStack, chance: Random) -> None:
        """Begin with two."""
        self._load, self._stack, self._chance = load, stack, chance
        self.here: list[StreamWorker] = []
        self._count = 0
        self.join()
        self.join()

    def join(self) -> None:
        """Start one more."""
        worker = self._load.worker(f"worker-{self._count}")
        self._count += 1
        self.here.append(self._stack.enter_context(worker))

    def leave(self) -> None:
        """Let one end in order; it may have been told so before it knew the signal."""
        assert self._any().stop() in (0, -SIGTERM)

    def fall(self) -> None:
        """Kill one, which nobody starts again."""
        self._any().__exit__()

    def change(self, number: int) -> None:
        """Let one come or go: each way at least once, and then by chance."""
        ways = [self.leave, self.join, self.fall, self.join]
        way = ways[number] if number < len(ways) else self._chance.choice(ways)
        if len(self.here) == 1 or len(self.here) == WORKERS_MAX:
            way = self.join if len(self.here) == 1 else self.leave
        way()

    def _any(self) -> StreamWorker:
        return self.here.pop(self._chance.randrange(len(self.here)))


@pytest.mark.timeout(400)
def test_workers_that_come_and_go_settle_each_record_once(
    embedded_database: TestDatabase, kafka: KafkaServer, tmp_path: Path, seed: int
) -> None:
    chance = Random(f"{seed}-rebalances")
    topic = f"usage-{secrets.token_hex(6)}"
    load = StreamLoad(tmp_path, embedded_database.parts, kafka, topic)
    sent = load.run(INFERENCES, chance)
    with ExitStack() as stack:
        crew = Crew(load, stack, chance)
        load_seconds = CHANGES * 2.5
        sending = load.sending(sent.records, pause=load_seconds / len(sent.records))
        load.more_settled()
        for number in rounds(CHANGES):
            crew.change(number)
            time.sleep(chance.uniform(0.5, 4.0))
        sending.all_sent()
        load.caught_up()
        assert {worker.stop() for worker in crew.here} <= {0, -SIGTERM}
        assert load.buried() >= POISON
        load.assert_settled_once(sent, embedded_database.super_url)
