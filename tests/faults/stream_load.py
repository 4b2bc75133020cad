"""Usage on Kafka and workers that settle it, for tests that take something away under them.

Records are repeated, come in any order and in two partitions, some are poison, some name nobody,
some say something else under an id that another has. Afterwards each inference that was sent is
charged exactly once, what could not be charged is parked or buried with its reason, the ledger
stands where the log ends, and the audit is clean.
"""

import asyncio
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import NamedTuple

from tollbook.errors import TollbookError, Unavailable

from adapters.event_store.store import PostgresEventStore
from adapters.kafka import topics
from adapters.kafka.producer import Producer
from adapters.kafka.server import KafkaServer
from application.tollbook import Tollbook
from domain.events import ReservationSettled
from domain.inferences import apart
from domain.usage_events import UsageParked
from entrypoints.bootstrap import Database, tollbook_on
from entrypoints.streaming import offsets_of
from streams import wire
from streams.dead_letters import SUFFIX
from tests.faults.invariants import assert_sound
from tests.faults.stream_process import StreamWorker
from tests.streams.records import USAGE as SPENT
from tests.streams.records import forget, usage_event
from tests.support.databases import MASTER_KEY
from tests.support.ledger import MODEL, USAGE, a_customer

CUSTOMERS = tuple(f"cust-{number}" for number in range(6))
POISON, NOBODY, REWORDED = 9, 9, 6
LESS = {**SPENT, "output_tokens": SPENT["output_tokens"] - 1}

Records = list[tuple[str, bytes]]
"""Keys and values."""


class Inferences(NamedTuple):
    """What ran, and what gateways send of it."""

    ids: list[str]
    reworded: list[str]
    """Of these there is a record that says something else."""
    records: Records


class StreamLoad:
    """A topic, and the ledger that settles it."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        kafka: KafkaServer,
        topic: str = "inference-usage",
        partitions: int = 4,
    ) -> None:
        """Make the topic, and that of its dead letters."""
        self.folder, self.database, self.kafka = folder, database, kafka
        self.topic, self.partitions = topic, partitions
        wanted = {topic: partitions, topic + SUFFIX: 1}
        asyncio.run(topics.make_topics(kafka.address, wanted, 1, 1))

    def worker(self, name: str, *, url: str | None = None, stuck_seconds: int = 15) -> StreamWorker:
        """Return a worker, on the database or on what stands before it."""
        given = (url or self.database.owner_url, MASTER_KEY, self.kafka.address, self.topic)
        return StreamWorker(self.folder, name, *given, stuck_seconds=stuck_seconds)

    def run(self, count: int, chance: Random) -> Inferences:
        """Hold the money of inferences, and return what is sent of them."""
        forget()
        with tollbook_on(self.database) as ledger:
            inferences = held(ledger, count)
        reworded = [id for _, id in chance.sample(inferences, REWORDED)]
        records = records_of(inferences, reworded, chance)
        return Inferences([id for _, id in inferences], reworded, records)

    def sending(self, records: Records, pause: float = 0.01) -> "Sending":
        """Begin to send records."""
        sending = Sending(self.kafka.address, self.topic, records, pause)
        sending.start()
        return sending

    def standing(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return where the ledger is, and where the log ends; raises what keeps one from asking."""
        cluster = asyncio.run(topics.cluster_id(self.kafka.address))
        with closing(PostgresEventStore(self.database.app_url)) as store:
            known = offsets_of(store, cluster, self.topic)()
        bounds = asyncio.run(topics.bounds(self.kafka.address, self.topic))
        assert len(bounds) == self.partitions
        settled = {each: known.get(each, 0) for each in bounds}
        return settled, {each: at.end for each, at in bounds.items()}

    def behind(self) -> int:
        """Return how many records the ledger has not settled; many where nobody can say."""
        try:
            settled, ends = self.standing()
        except TollbookError:
            return 10**9
        return sum(ends.values()) - sum(settled.values())

    def caught_up(self) -> None:
        """Wait until the ledger has every record; a worker may have to wait out a session first."""
        end = time.monotonic() + 120
        while left := self.behind():
            assert time.monotonic() < end, f"{left} records are not settled"
            time.sleep(0.5)

    def settled(self) -> int:
        """Return how many records the ledger has settled; -1 where nobody can say."""
        try:
            return sum(self.standing()[0].values())
        except TollbookError:
            return -1

    def more_settled(self) -> None:
        """Wait until the workers settle something, so that what goes next is at work.

        More may be sent meanwhile than they settle, and they may have to wait out a session first.
        """
        begun, end = self.settled(), time.monotonic() + 120
        while self.settled() <= begun and self.behind() > 0:
            assert time.monotonic() < end, "nothing is settled any more"
            time.sleep(0.1)

    def buried(self) -> int:
        """Return how many dead letters there are."""
        return asyncio.run(topics.bounds(self.kafka.address, self.topic + SUFFIX))[0].end

    def assert_settled_once(self, sent: Inferences, super_url: str) -> None:
        """Compare the ledger with what was sent."""
        settled: Counter[str] = Counter()
        parked: Counter[str] = Counter()
        with closing(PostgresEventStore(self.database.app_url)) as store:
            head = store.head().position
            stored = store.at(range(1, head + 1)).values()
            for recorded in (each for one in stored for each in apart(one)):
                if isinstance(recorded.event, ReservationSettled):
                    settled[recorded.event.reservation] += 1
                elif isinstance(recorded.event, UsageParked):
                    # What another record has the id of is kept under its own, and a digest.
                    name, reworded, _ = recorded.event.record.partition("~")
                    reason = "id_reused" if reworded else "unknown_customer"
                    assert reason in (recorded.event.code, recorded.event.detail.split(":")[0])
                    parked[name] += 1
        assert settled == dict.fromkeys(sent.ids, 1)
        nobodies = [f"n-{number}" for number in range(NOBODY)]
        assert parked == dict.fromkeys([*nobodies, *sent.reworded], 1)
        at, ends = self.standing()
        assert at == ends
        assert_sound(super_url)


def held(ledger: Tollbook, count: int) -> list[tuple[str, str]]:
    """Hold the money of every inference; return whose each is."""
    found = []
    for customer in CUSTOMERS:
        a_customer(ledger, customer, amount="1000")
    for number in range(count):
        customer, id = CUSTOMERS[number % len(CUSTOMERS)], f"i-{number}"
        body = {"id": id, "customer": customer, "model": MODEL, "estimate": USAGE}
        ledger.run("reserve", {**body, "ttl_seconds": 3600}).result()
        found.append((customer, id))
    return found


def records_of(inferences: list[tuple[str, str]], reworded: list[str], chance: Random) -> Records:
    """Return what gateways send: up to five events of a customer, some twice, some that are bad.

    One in twenty comes again under the key of another customer, and so in another partition.
    """
    waiting: dict[str, list[str]] = {}
    for customer, id in inferences:
        waiting.setdefault(customer, []).append(id)
    found = []
    for customer, ids in waiting.items():
        while ids:
            some = [ids.pop() for _ in range(min(len(ids), chance.randint(1, 5)))]
            found.append((customer, wire.packed([usage_event(id, customer) for id in some])))
    again = chance.sample(found, len(found) // 20)
    found += chance.sample(found, len(found) // 10)
    found += [(chance.choice(CUSTOMERS), value) for _, value in again]
    whose = {id: customer for customer, id in inferences}
    for id in reworded:
        found.append((whose[id], wire.packed([usage_event(id, whose[id], usage=LESS)])))
    found += [(chance.choice(CUSTOMERS), b"poison %d" % number) for number in range(POISON)]
    nobodies = [usage_event(f"n-{number}", "nobody") for number in range(NOBODY)]
    found += [("nobody", wire.packed([event])) for event in nobodies]
    chance.shuffle(found)
    return found


class Sending(threading.Thread):
    """Sends every record, however often Kafka has to be asked."""

    def __init__(self, address: str, topic: str, records: Records, pause: float) -> None:
        """Send when started, with a pause after each."""
        super().__init__(daemon=True)
        self._address, self._topic, self._records = address, topic, records
        self._pause = pause
        self.sent = 0

    def run(self) -> None:
        """Send one record after another, each until it is acknowledged."""
        asyncio.run(self._send())

    def all_sent(self) -> None:
        """Wait until every record was acknowledged."""
        self.join(180)
        assert self.sent == len(self._records)

    async def _send(self) -> None:
        producer = Producer(self._address, self._topic)
        try:
            for key, value in self._records:
                while True:
                    try:
                        await producer.send(key, value)
                        break
                    except Unavailable:
                        await asyncio.sleep(0.1)
                self.sent += 1
                await asyncio.sleep(self._pause)
        finally:
            await producer.close()
