"""The stream's settlement on a real ledger: each record once, whatever repeats or breaks."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from tollbook.errors import Unavailable

from adapters.event_store.store import PostgresEventStore
from adapters.kafka.topics import Bounds
from application.answers import Answer
from application.deciding import Plan
from application.jobs import Item
from application.tollbook import Tollbook
from domain.usage_events import UsageParked
from entrypoints.streaming import check_kept, offsets_of
from streams import wire
from streams.settlement import ITEMS_MAX, Dead, OutOfStepError, Record, Settlement
from tests.streams.records import SOURCE, forget, raw, record, usage_event
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger, reserve

PRICE = 25_000_000_000
"""0.025 dollars: what the usage of one record costs."""
CLUSTER, TOPIC = "cluster-1", "inference-usage"


class Stream:
    """A ledger, a settlement on it, and what was buried."""

    def __init__(self, ledger: Tollbook, store: PostgresEventStore) -> None:
        """Begin at the first record of partitions 0 and 1."""
        self.ledger = ledger
        self.offsets = offsets_of(store, CLUSTER, TOPIC)
        self.buried: list[Dead] = []
        self.settlement = self.another()

    def another(self) -> Settlement:
        """Return a worker of its own on the same ledger, where the ledger stands."""
        made = Settlement(self.ledger.executor, CLUSTER, TOPIC, self.offsets, self.bury)
        known = self.offsets()
        for partition in (0, 1):
            made.begin(partition, known.get(partition, 0))
        return made

    def bury(self, dead: object) -> None:
        """Keep what is dead."""
        assert isinstance(dead, list)
        self.buried += dead

    def hold(self, *names: str) -> None:
        """Hold the money of inferences."""
        for name in names:
            reserve(self.ledger, name).result()

    @property
    def charged(self) -> int:
        """How many times the price of one inference was spent, which has to be a whole number."""
        times, rest = divmod(self.ledger.balance("cust-1").spent, PRICE)
        assert rest == 0
        return times

    def parked(self) -> dict[str, str]:
        """Return the reason of every parked record, by its id."""
        store = self.ledger.store
        head = store.head().position
        found = (store.at([position])[position].event for position in range(1, head + 1))
        return {each.record: each.detail for each in found if isinstance(each, UsageParked)}


@pytest.fixture
def stream(embedded_database: TestDatabase) -> Iterator[Stream]:
    with (
        open_ledger(embedded_database) as ledger,
        closing(PostgresEventStore(embedded_database.app_url)) as store,
    ):
        a_customer(ledger)
        forget()
        yield Stream(ledger, store)


def test_a_record_is_settled_with_its_offset(stream: Stream) -> None:
    stream.hold("i-1", "i-2", "i-3")
    stream.settlement.apply([record(0, usage_event("i-1"), usage_event("i-2"))])
    assert (stream.charged, dict(stream.offsets())) == (2, {0: 1})
    stream.settlement.apply([record(0, usage_event("i-3"), partition=1)])
    assert (stream.charged, dict(stream.offsets())) == (3, {0: 1, 1: 1})


def test_what_kafka_repeats_is_passed_over(stream: Stream) -> None:
    stream.hold("i-1", "i-2")
    first = record(0, usage_event("i-1"))
    stream.settlement.apply([first])
    stream.settlement.apply([first, record(1, usage_event("i-2")), first])
    assert (stream.charged, stream.settlement.repeated) == (2, 2)
    assert dict(stream.offsets()) == {0: 2}


def test_a_record_that_comes_twice_under_two_offsets_is_charged_once(stream: Stream) -> None:
    stream.hold("i-1")
    stream.settlement.apply([record(0, usage_event("i-1")), record(1, usage_event("i-1"))])
    assert (stream.charged, stream.parked()) == (1, {})


@pytest.mark.parametrize("partition", [0, 7])
def test_a_gap_or_a_partition_of_another_settles_nothing(stream: Stream, partition: int) -> None:
    stream.hold("i-1", "i-2")
    given = [record(0, usage_event("i-1")), record(2, usage_event("i-2"), partition=partition)]
    with pytest.raises(OutOfStepError):
        stream.settlement.apply(given)
    assert (stream.charged, dict(stream.offsets())) == (0, {})


@pytest.mark.parametrize("given", [[], [usage_event("i-2")]], ids=["nothing", "something"])
def test_a_worker_that_was_replaced_is_fenced(
    stream: Stream, given: list[dict[str, object]]
) -> None:
    """Also where all that it has is a record that cannot be read."""
    stream.hold("i-1", "i-2")
    zombie = stream.another()
    stream.settlement.apply([record(0, usage_event("i-1"))])
    with pytest.raises(OutOfStepError):
        zombie.apply([record(0, *given)] if given else [raw(0, b"no"), raw(1, b"JSON")])
    assert (stream.charged, dict(stream.offsets())) == (1, {0: 1})
    zombie.resume()
    zombie.apply([record(0, usage_event("i-1")), record(1, usage_event("i-2"))])
    assert (stream.charged, dict(stream.offsets())) == (2, {0: 2})


BAD = [
    (b"no JSON", None),
    (b"\xff", None),
    (None, None),
    (b"{}", None),
    (b"[]", None),
    (b"[" * 100_000, None),
    (b'[{"a":1,"a":2}]', None),
    (b'[{"a":1.5}]', None),
    (b" " * (wire.RECORD_BYTES_MAX + 1), None),
    (b"[1]", 0),
    (rb'[{"type":"\ud800"}]', 0),
    (wire.packed([{**usage_event("i-9"), "type": "made.up"}]), 0),
    (wire.packed([{**usage_event("i-9"), "type": wire.PARKED}]), 0),
    (wire.packed([{**usage_event("i-9"), "type": wire.RELEASED, "data": None}]), 0),
]


@pytest.mark.parametrize(("value", "at"), BAD, ids=lambda value: str(value)[:20])
def test_what_cannot_be_read_is_buried_with_its_reason(
    stream: Stream, value: bytes | None, at: int | None
) -> None:
    stream.hold("i-1", "i-2")
    records = [record(0, usage_event("i-1")), raw(1, value), record(2, usage_event("i-2"))]
    stream.settlement.apply(records)
    assert (stream.charged, dict(stream.offsets())) == (2, {0: 3})
    (dead,) = stream.buried
    assert (dead.partition, dead.offset, dead.key, dead.bad.at) == (0, 1, b"cust-1", at)
    assert dead.bad.reason


def test_nesting_of_any_depth_is_read_or_told() -> None:
    """The reader's own bound lies where the writer's does not."""
    for depth in range(800, 1_000):
        value = b'[{"type":' + b"[" * depth + b"]" * depth + b"}]"
        assert len(wire.read(value).bad) == 1


def test_a_bad_event_among_good_ones_is_buried_alone(stream: Stream) -> None:
    stream.hold("i-1", "i-2")
    bad = {**usage_event("i-9"), "specversion": "0.3"}
    stream.settlement.apply([record(0, usage_event("i-1"), bad, usage_event("i-2"))])
    (dead,) = stream.buried
    assert (stream.charged, dead.bad.at, dead.bad.value) == (2, 1, wire.packed([bad]))


def test_nothing_is_settled_past_a_dead_letter_that_is_not_kept(stream: Stream) -> None:
    def nowhere(_: object) -> None:
        raise Unavailable("no broker")

    stream.hold("i-1")
    settlement = Settlement(stream.ledger.executor, CLUSTER, TOPIC, stream.offsets, nowhere)
    settlement.begin(0, 0)
    with pytest.raises(Unavailable):
        settlement.apply([record(0, usage_event("i-1")), raw(1, b"no JSON")])
    assert (stream.charged, dict(stream.offsets())) == (0, {})


def test_usage_that_the_ledger_refuses_is_parked_with_the_reason(stream: Stream) -> None:
    """Of nobody, and of another record's id: neither may vanish, whoever is at fault."""
    stream.hold("i-1")
    other = usage_event("i-1", usage={"input_tokens": 2000, "output_tokens": 500})
    nobody = usage_event("i-2", customer="nobody")
    records = [record(0, usage_event("i-1"), other, nobody), record(1, other)]
    stream.settlement.apply(records)
    parked = stream.parked()
    assert (stream.charged, dict(stream.offsets()), len(parked)) == (1, {0: 2}, 2)
    assert "i-2" in parked
    (name,) = parked.keys() - {"i-2"}
    assert name.startswith("i-1~")
    assert parked[name].startswith("id_reused")


def release(reason: str) -> wire.Outcome:
    """Return how an inference ends that gives its hold back."""
    return {"release": reason, "customer": "cust-1"}


def test_a_long_id_of_any_letters_is_parked_where_another_record_has_it(stream: Stream) -> None:
    """Its own id and a digest are no longer than an id may be."""
    stream.hold("i-1", "i-2")
    long = {"id": "\u20ac" * 170, "subject": "i-1"}
    first = {**usage_event("i-1"), **long}
    second = {**usage_event("i-2"), **long, "subject": "i-2"}
    stream.settlement.apply([record(0, first), record(1, second), record(2)])
    assert (stream.charged, len(stream.parked())) == (1, 1)
    assert dict(stream.offsets()) == {0: 3}


def test_what_can_be_neither_charged_nor_kept_moves_no_offset(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that breaks at one record of many must not cost that record."""
    stream.hold("i-1", "i-2")
    records = [record(0, usage_event("i-1"), usage_event("i-2"))]
    decide = Plan._answer

    def failing(plan: Plan, item: Item) -> Answer:
        if item.command.id == "i-2":
            return Answer("i-2", None, error=Unavailable("the connection broke"))
        return decide(plan, item)

    with monkeypatch.context() as patched:
        patched.setattr(Plan, "_answer", failing)
        with pytest.raises(Unavailable):
            stream.settlement.apply(records)
    assert (stream.charged, dict(stream.offsets())) == (0, {})
    stream.settlement.apply(records)
    assert (stream.charged, dict(stream.offsets())) == (2, {0: 1})


def test_a_kafka_that_has_less_than_was_settled_from_it_is_refused() -> None:
    check_kept({0: 5}, {0: Bounds(0, 5), 1: Bounds(0, 0)})
    with pytest.raises(Unavailable, match="partition 0 ends at 4, 5 were settled"):
        check_kept({0: 5}, {0: Bounds(0, 4)})


def test_a_dead_letter_is_sent_once_however_often_its_batch_is_tried(stream: Stream) -> None:
    records = [raw(0, b"no JSON"), record(5)]
    for _ in range(3):
        with pytest.raises(OutOfStepError):
            stream.settlement.apply(records)
    stream.hold("i-1")
    stream.another().apply([record(0, usage_event("i-1"))])
    for _ in range(3):
        with pytest.raises(OutOfStepError):
            stream.settlement.apply([raw(0, b"no JSON"), record(1, usage_event("i-9"))])
    assert len(stream.buried) == 1


def test_a_hold_is_released_and_a_record_parked_by_word_of_the_gateway(stream: Stream) -> None:
    stream.hold("i-1", "i-2")
    released = wire.event_of("i-1", release("the server failed it"), SOURCE)
    kept = wire.event_of("i-2", {"event": usage_event("i-2"), "park": "lost"}, SOURCE)
    unknown = wire.event_of("i-3", release("never held"), SOURCE)
    stream.settlement.apply([record(0, released, kept, unknown)])
    assert stream.ledger.reservation("i-1").status == "released"
    assert (stream.charged, stream.parked()) == (0, {"i-2": "lost"})
    assert dict(stream.offsets()) == {0: 1}


def test_many_records_are_settled_in_several_transactions(stream: Stream) -> None:
    names = [f"i-{number}" for number in range(ITEMS_MAX + 60)]
    stream.hold(*names)
    records = [
        Record(0, offset, b"cust-1", wire.packed([usage_event(name) for name in some]))
        for offset, some in enumerate(names[at : at + 50] for at in range(0, len(names), 50))
    ]
    stream.settlement.apply(records)
    assert dict(stream.offsets()) == {0: len(records)}
    assert dict(stream.ledger.balance_state("cust-1").holds.items()) == {}
    assert stream.parked() == {}
