"""Publishing: every outcome reaches Kafka, each customer's in order, whatever Kafka does."""

import asyncio
import json
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Unavailable

from adapters.kafka.producer import Producer
from adapters.kafka.server import KafkaServer
from application.ports import Key
from entrypoints.gateway import publishing
from entrypoints.gateway.publishing import Publisher
from streams import wire
from tests.streams.records import SOURCE, usage_event
from tests.support.kafka import make_topic, read


class Told:
    """An intent log that keeps who was told, in their order."""

    def __init__(self) -> None:
        """Know of nobody."""
        self.ids: list[str] = []

    def told(self, id: str) -> None:
        """Take note."""
        self.ids.append(id)


class Sent:
    """What took records, and failed now and then, having kept the record or not."""

    def __init__(self, seed: int, failures: float = 0.0) -> None:
        """Fail by chance."""
        self._chance = random.Random(seed)
        self._failures = failures
        self.records: list[tuple[str, list[str]]] = []
        self.under_way: set[str] = set()

    async def send(self, key: str, value: bytes) -> None:
        """Keep a record, lose it, or keep it and lose the acknowledgement."""
        assert key not in self.under_way, "one record of a customer at a time"
        self.under_way.add(key)
        await asyncio.sleep(0)
        self.under_way.discard(key)
        fails, keeps = self._chance.random() < self._failures, self._chance.random() < 0.5
        if not fails or keeps:
            events = json.loads(value)
            assert {event["data"]["customer"] for event in events} == {key}
            assert 0 < len(events) <= wire.EVENTS_MAX
            self.records.append((key, [event["id"] for event in events]))
        if fails:
            raise Unavailable("lost")


def published(sender: Any, work: Callable[[Publisher], Coroutine[Any, Any, None]]) -> Told:
    """Run a publisher for as long as some work takes, and until the ledger has it all."""
    told = Told()
    settled = False

    async def known(keys: Sequence[Key]) -> Collection[Key]:
        return keys if settled else ()

    async def run() -> None:
        nonlocal settled
        publisher = Publisher(sender, told, SOURCE, known)
        running = asyncio.create_task(publisher.run())
        await work(publisher)
        await publisher.drain(30)
        await asyncio.sleep(0.01)
        waiting = publisher.backlog
        assert publisher.told == len(told.ids), "what only Kafka has is not forgotten"
        assert (publisher.waits_seconds() > 0) == (waiting > 0)
        settled = True
        for _ in range(10_000):
            await asyncio.sleep(0.001 if publisher.backlog else 0)
        assert (publisher.backlog, publisher.told) == (0, len(told.ids))
        running.cancel()

    asyncio.run(run())
    return told


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_PAUSES", (0.0,))
    monkeypatch.setattr(publishing, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr(publishing, "CONFIRM_SECONDS", 0.001)


@pytest.mark.parametrize("failures", [0.0, 0.4])
def test_each_outcome_is_told_in_its_customers_order(failures: float, seed: int) -> None:
    sent = Sent(seed, failures)
    names = [(f"c-{number % 7}", f"i-{number}") for number in range(1_000)]

    async def tell(publisher: Publisher) -> None:
        for customer, id in names:
            publisher.tell(id, {"event": usage_event(id, customer)})
            if int(id[2:]) % 100 == 0:
                await asyncio.sleep(0)

    told = published(sent, tell)
    for customer in {customer for customer, _ in names}:
        wanted = [id for whose, id in names if whose == customer]
        got = [id for key, ids in sent.records if key == customer for id in ids]
        assert list(dict.fromkeys(got)) == wanted, "in order, where repetitions are passed over"
        assert [id for id in told.ids if id in set(wanted)] == wanted
        if not failures:
            assert got == wanted


def test_what_comes_while_a_record_is_sent_is_gathered_before_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    linger, asleep = 0.0125, asyncio.sleep
    late = [f"late-{number}" for number in range(46)]
    publishers: list[Publisher] = []

    def tell_more(count: int) -> None:
        for id in late[:count]:
            late.remove(id)
            publishers[0].tell(id, {"event": usage_event(id)})

    async def sleep(seconds: float) -> None:
        if seconds == linger:
            tell_more(10)
        await asleep(0)

    class Busy(Sent):
        async def send(self, key: str, value: bytes) -> None:
            await super().send(key, value)
            tell_more(2)

    async def tell(publisher: Publisher) -> None:
        publishers.append(publisher)
        publisher.tell("first", {"event": usage_event("first")})

    monkeypatch.setattr(publishing, "LINGER_SECONDS", linger)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    sent = Busy(1)
    published(sent, tell)
    sizes = [len(ids) for _, ids in sent.records]
    assert sum(sizes) == 47
    assert min(sizes) > 10, sizes


@given(st.lists(st.sampled_from(["charge", "park", "release", "slice"]), max_size=120))
def test_every_way_to_end_is_an_event_that_the_stream_reads(ways: list[str]) -> None:
    sent = Sent(1)

    async def tell(publisher: Publisher) -> None:
        for number, way in enumerate(ways):
            publisher.tell(f"i-{number}", outcome(f"i-{number}", way))

    told = published(sent, tell)
    assert len(told.ids) == len(ways)
    assert sum(len(ids) for _, ids in sent.records) == len([way for way in ways if way != "slice"])


def outcome(id: str, way: str) -> wire.Outcome:
    """Return an outcome of each kind."""
    if way == "release":
        return {"release": "the server failed it", "customer": "cust-1"}
    if way == "slice":
        return {"release": "the server failed it", "customer": "cust-1", "slice": "s-1"}
    found: wire.Outcome = {"event": usage_event(id)}
    assert not wire.read(wire.packed([wire.event_of(id, found, SOURCE)])).bad
    return {**found, "park": "lost"} if way == "park" else found


def test_an_outcome_that_no_worker_could_read_holds_up_no_other() -> None:
    """It would be sent for ever, and then nobody would be admitted while it waits."""
    sent = Sent(1)
    stuck: list[int] = []

    async def tell(publisher: Publisher) -> None:
        publisher.tell("i-1", {"event": usage_event("i-1", usage={"requests": 10**18})})
        publisher.tell("i-2", {"event": usage_event("i-2")})
        stuck.append(publisher.stuck)

    assert published(sent, tell).ids == ["i-2"]
    assert (stuck, [ids for _, ids in sent.records]) == ([1], [["i-2"]])


def test_what_is_told_while_kafka_is_away_arrives_when_it_is_back(kafka: KafkaServer) -> None:
    """A Kafka that nobody can reach yet is a port on which nothing listens."""
    make_topic(kafka, "away")

    class Away:
        def __init__(self) -> None:
            self.tries = 0

        async def send(self, key: str, value: bytes) -> None:
            self.tries += 1
            address = "127.0.0.1:1" if self.tries < 3 else kafka.address
            producer = Producer(address, "away")
            try:
                await producer.send(key, value)
            finally:
                await producer.close()

    async def tell(publisher: Publisher) -> None:
        publisher.tell("i-1", {"event": usage_event("i-1")})

    assert published(Away(), tell).ids == ["i-1"]
    (value,) = read(kafka.address, "away", 1)
    assert [event["id"] for event in json.loads(value)] == ["i-1"]
