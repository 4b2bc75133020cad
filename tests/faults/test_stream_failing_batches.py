"""A batch that PostgreSQL does not take: nothing behind it is settled, and nothing of it is lost.

A trigger refuses one event for as long as the test wants, so that the worker gives up; a proxy cuts
connections around a commit, or swallows its answer.
"""

import secrets
import time
from contextlib import closing
from pathlib import Path
from random import Random
from signal import SIGTERM

import pytest

from adapters.kafka.server import KafkaServer
from streams import wire
from streams.worker import EX_TEMPFAIL
from tests.faults.cutting_proxy import CUTS, CuttingProxy
from tests.faults.invariants import assert_sound
from tests.faults.stream_load import StreamLoad, held
from tests.streams.records import forget, usage_event
from tests.support.databases import TestDatabase
from tests.support.kafka import kafka as kafka  # noqa: PLC0414 - a fixture, by its name
from tests.support.kafka import send
from tests.support.ledger import open_ledger
from tests.support.sizes import all_or
from tests.support.triton import wait_until

RECORDS = 60
BURST = RECORDS // 3
PLACES = {"first": 0, "in the middle": RECORDS // 2, "last": RECORDS - 1}
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER refused BEFORE INSERT ON events FOR EACH ROW
WHEN (NEW.command = 'i-{refused}') EXECUTE FUNCTION refuse();
"""


class Failing:
    """One partition of records with one inference each, on a ledger that holds their money."""

    def __init__(self, database: TestDatabase, kafka: KafkaServer, folder: Path) -> None:
        """Hold, and send nothing yet."""
        self.database = database
        topic = f"usage-{secrets.token_hex(6)}"
        self.load = StreamLoad(folder, database.parts, kafka, topic, partitions=1)
        forget()
        with open_ledger(database) as ledger:
            self._inferences = held(ledger, RECORDS)
        self._sent = 0

    def send(self, count: int) -> None:
        """Send the next records."""
        some = self._inferences[self._sent : self._sent + count]
        self._sent += count
        values = [wire.packed([usage_event(id, customer)]) for customer, id in some]
        keys = [customer.encode() for customer, _ in some]
        send(self.load.kafka.address, self.load.topic, values, keys=keys)

    def settled(self) -> int:
        """Return the offset up to which the ledger has settled."""
        return self.load.standing()[0][0]

    def assert_charged_once(self) -> None:
        """Compare the ledger with all that there was to send."""
        assert self._sent == RECORDS
        rows = self.database.query(
            "SELECT stream FROM events WHERE name = 'reservation_settled' ORDER BY position"
        )
        streams = [f"reservation-{id}" for _, id in self._inferences]
        assert rows == [(stream,) for stream in streams]
        assert self.settled() == RECORDS
        assert_sound(self.database.super_url)


@pytest.fixture
def failing(embedded_database: TestDatabase, kafka: KafkaServer, tmp_path: Path) -> Failing:
    """Give the test a stream of its own."""
    return Failing(embedded_database, kafka, tmp_path)


@pytest.mark.parametrize("place", all_or(1, PLACES))
def test_a_batch_that_stays_impossible_ends_the_worker_and_is_settled_in_the_end(
    failing: Failing, place: str
) -> None:
    refused = PLACES[place]
    failing.database.query(REFUSE.format(refused=refused))
    with failing.load.worker("worker", stuck_seconds=3) as worker:
        for number in range(0, RECORDS, BURST):
            failing.send(BURST)
            if number + BURST <= refused:
                failing.load.caught_up()
        end = time.monotonic() + 120
        while not worker.codes[EX_TEMPFAIL]:
            assert time.monotonic() < end, worker.codes
            assert failing.settled() <= refused, "nothing is settled past what failed"
            time.sleep(0.2)
        failing.database.query("DROP TRIGGER refused ON events")
        failing.load.caught_up()
        assert worker.stop() in (0, -SIGTERM)
    assert worker.codes.keys() <= {0, EX_TEMPFAIL, -SIGTERM}
    failing.assert_charged_once()


@pytest.mark.parametrize("cut", all_or(3, [*CUTS, "error"]))
def test_a_cut_around_a_commit_settles_its_batch_once_in_the_same_worker(
    failing: Failing, tmp_path: Path, seed: int, cut: str
) -> None:
    """In the first batch, in one of the middle, and in the last, a few times in a row each."""
    chance = Random(f"{seed}-{cut}")
    left = 0

    def choose() -> str | None:
        nonlocal left
        left -= 1
        return cut if left >= 0 else None

    with closing(CuttingProxy(failing.database.owner_url, tmp_path / "proxy", choose)) as proxy:
        left = times = chance.randint(1, 3)
        failing.send(BURST)

        def all_cut() -> bool:
            return proxy.cuts == times

        with failing.load.worker("worker", url=proxy.url) as worker:
            failing.load.caught_up()
            wait_until(all_cut)  # what was settled is tried again as well
            for count in (RECORDS - BURST - 1, 1):
                more = chance.randint(1, 3)
                left, times = more, times + more
                failing.send(count)
                failing.load.caught_up()
                wait_until(all_cut)
            assert (worker.stop(), worker.codes) == (0, {0: 1})
    failing.assert_charged_once()
