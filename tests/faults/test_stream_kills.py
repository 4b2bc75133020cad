"""kill -9 of workers, Kafka and PostgreSQL under load: every record is settled once, or kept.

Records are repeated, some are poison, some name nobody. Afterwards each inference that was sent is
charged exactly once, what could not be charged is parked or buried with its reason, and the audit
is clean.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from signal import SIGTERM

import pytest
from tollbook.errors import TollbookError, Unavailable

from adapters.event_store.store import PostgresEventStore
from adapters.kafka import topics
from adapters.kafka.producer import Producer
from adapters.kafka.server import KafkaServer
from application.tollbook import Tollbook
from domain.events import ReservationSettled
from domain.usage_events import UsageParked
from entrypoints.bootstrap import tollbook_on
from entrypoints.streaming import offsets_of
from streams import wire
from streams.dead_letters import SUFFIX
from tests.faults.invariants import assert_sound
from tests.faults.own_server import OwnServer
from tests.faults.rounds import rounds
from tests.faults.stream_process import StreamWorker
from tests.streams.records import forget, usage_event
from tests.support.databases import MASTER_KEY
from tests.support.kafka import a_kafka
from tests.support.ledger import MODEL, USAGE, a_customer
from tests.support.triton import wait_until

TOPIC, PARTITIONS = "inference-usage", 4
CUSTOMERS = tuple(f"cust-{number}" for number in range(6))
INFERENCES, POISON, NOBODY = 900, 9, 9
MASSES = 5
"""So many times something is killed."""


def held(ledger: Tollbook) -> list[tuple[str, str]]:
    """Hold the money of every inference; return whose each is."""
    found = []
    for customer in CUSTOMERS:
        a_customer(ledger, customer, amount="1000")
    for number in range(INFERENCES):
        customer, id = CUSTOMERS[number % len(CUSTOMERS)], f"i-{number}"
        body = {"id": id, "customer": customer, "model": MODEL, "estimate": USAGE}
        ledger.run("reserve", {**body, "ttl_seconds": 3600}).result()
        found.append((customer, id))
    return found


def records(inferences: list[tuple[str, str]], chance: Random) -> list[tuple[str, bytes]]:
    """Return what gateways send: up to five events of a customer, some twice, some that are bad."""
    waiting: dict[str, list[str]] = {}
    for customer, id in inferences:
        waiting.setdefault(customer, []).append(id)
    found = []
    for customer, ids in waiting.items():
        while ids:
            some = [ids.pop() for _ in range(min(len(ids), chance.randint(1, 5)))]
            found.append((customer, wire.packed([usage_event(id, customer) for id in some])))
    found += chance.sample(found, len(found) // 10)
    found += [(chance.choice(CUSTOMERS), b"poison %d" % number) for number in range(POISON)]
    nobodies = [usage_event(f"n-{number}", "nobody") for number in range(NOBODY)]
    found += [("nobody", wire.packed([event])) for event in nobodies]
    chance.shuffle(found)
    return found


class Sending(threading.Thread):
    """Sends every record, however often Kafka has to be asked."""

    def __init__(self, address: str, records: list[tuple[str, bytes]]) -> None:
        """Send when started."""
        super().__init__(daemon=True)
        self._address, self._records = address, records
        self.sent = 0

    def run(self) -> None:
        """Send one record after another, each until it is acknowledged."""
        asyncio.run(self._send())

    async def _send(self) -> None:
        producer = Producer(self._address, TOPIC)
        try:
            for key, value in self._records:
                while True:
                    try:
                        await producer.send(key, value)
                        break
                    except Unavailable:
                        await asyncio.sleep(0.1)
                self.sent += 1
                await asyncio.sleep(0.01)
        finally:
            await producer.close()


def kill(victim: str, workers: list[StreamWorker], kafka: KafkaServer, server: OwnServer) -> None:
    """Kill something at once, and bring it back."""
    if victim == "kafka":
        kafka.kill()
        kafka.start()
    elif victim == "postgres":
        server.kill_everything()
        wait_until(lambda: revived(server))
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
) -> Iterator[tuple[KafkaServer, list[StreamWorker]]]:
    """Run Kafka and two workers on a ledger."""
    with a_kafka(folder / "kafka") as kafka, ExitStack() as stack:
        wanted = {TOPIC: PARTITIONS, TOPIC + SUFFIX: 1}
        asyncio.run(topics.make_topics(kafka.address, wanted, 1, 1))
        owner = own_server.parts.owner_url
        made = [
            StreamWorker(folder, f"worker-{number}", owner, MASTER_KEY, kafka.address, TOPIC)
            for number in range(2)
        ]
        yield kafka, [stack.enter_context(each) for each in made]


@pytest.mark.timeout(300)
def test_each_record_is_settled_once_whatever_is_killed(
    own_server: OwnServer, tmp_path: Path, seed: int
) -> None:
    chance = Random(f"{seed}-stream")
    forget()
    with tollbook_on(own_server.parts) as ledger:
        inferences = held(ledger)
    with all_running(tmp_path, own_server) as (kafka, workers):
        sending = Sending(kafka.address, records(inferences, chance))
        sending.start()
        victims = ["worker-0", "worker-1", "kafka", "postgres"]
        for number in rounds(MASSES):
            more_settled(own_server, kafka)
            time.sleep(chance.uniform(0.0, 1.0))
            victim = victims[number] if number < len(victims) else chance.choice(victims)
            kill(victim, workers, kafka, own_server)
        sending.join(120)
        assert sending.sent == len(sending._records)
        caught_up(own_server, kafka)
        buried = asyncio.run(topics.bounds(kafka.address, TOPIC + SUFFIX))[0].end
        # One that was just being started again knows no signal yet, and has begun nothing.
        assert {worker.stop() for worker in workers} <= {0, -SIGTERM}
    assert buried >= POISON
    assert_settled_once(own_server, inferences)
    assert_sound(own_server.super_url)


def caught_up(server: OwnServer, kafka: KafkaServer) -> None:
    """Wait until the ledger has every record; a worker may have to wait out a session first."""
    end = time.monotonic() + 120
    while left := behind(server, kafka):
        assert time.monotonic() < end, f"{left} records are not settled"
        time.sleep(0.5)


def more_settled(server: OwnServer, kafka: KafkaServer) -> None:
    """Wait until the workers settle something, so that what is killed next is at work."""
    begun, end = behind(server, kafka), time.monotonic() + 60
    while behind(server, kafka) >= begun > 0:
        assert time.monotonic() < end, "nothing is settled any more"
        time.sleep(0.1)


def behind(server: OwnServer, kafka: KafkaServer) -> int:
    """Return how many records the ledger has not settled; many where nobody can say."""
    try:
        cluster = asyncio.run(topics.cluster_id(kafka.address))
        bounds = asyncio.run(topics.bounds(kafka.address, TOPIC))
        with closing(PostgresEventStore(server.parts.app_url)) as store:
            settled = offsets_of(store, cluster, TOPIC)()
    except TollbookError:
        return 10**9
    assert len(bounds) == PARTITIONS
    return sum(at.end - settled.get(partition, 0) for partition, at in bounds.items())


def assert_settled_once(server: OwnServer, inferences: list[tuple[str, str]]) -> None:
    """Compare the ledger with what was sent."""
    settled: Counter[str] = Counter()
    parked: Counter[str] = Counter()
    with closing(PostgresEventStore(server.parts.app_url)) as store:
        head = store.head().position
        for recorded in store.at(range(1, head + 1)).values():
            if isinstance(recorded.event, ReservationSettled):
                settled[recorded.event.reservation] += 1
            elif isinstance(recorded.event, UsageParked):
                parked[recorded.event.record] += 1
    assert settled == {id: 1 for _, id in inferences}
    assert parked == {f"n-{number}": 1 for number in range(NOBODY)}
