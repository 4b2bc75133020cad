"""The stream's settlement on a real ledger: each record once, whatever repeats or breaks."""

import asyncio

import pytest
from tollbook.errors import Unavailable

from adapters.kafka.topics import Bounds
from application.answers import Answer
from application.deciding import Plan
from application.jobs import Item
from domain.parking import parked_id
from entrypoints.streaming import check_kept
from streams import wire
from streams.settlement import ITEMS_MAX, OutOfStepError, Record, Settlement
from streams.worker import steadily
from tests.streams.records import SOURCE, raw, record, usage_event
from tests.streams.settling import CLUSTER, TOPIC, Stream
from tests.support.ledger import release_usage, reserve


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


_PART = {**usage_event("i-9", final=False, reason="lost"), "subject": "cust-1"}
"""A part of no reservation, which could be neither charged nor parked."""

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
    (wire.packed([{**usage_event("i-9", final=False), "subject": "cust-1"}]), 0),
    (wire.packed([{**_PART, "type": wire.PARKED}]), 0),
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
    settlement = Settlement(stream.asked(), CLUSTER, TOPIC, stream.offsets, nowhere)
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
    # On a busy machine the first may take too long, and is tried again in smaller ones.
    asyncio.run(steadily(stream.settlement, records))
    assert dict(stream.offsets()) == {0: len(records)}
    assert dict(stream.ledger.balance_state("cust-1").holds.items()) == {}
    assert stream.parked() == {}


def test_of_two_tellings_of_an_inference_that_differ_one_is_charged(stream: Stream) -> None:
    reserve(stream.ledger, "many", inferences=5).result()
    first = {**usage_event("i-1", final=False), "subject": "many"}
    usage = {"input_tokens": 1000, "output_tokens": 0}
    other = {**first, "data": {**first["data"], "usage": usage}}
    lost = wire.event_of("i-1", {"event": other, "park": "its server was lost"}, SOURCE)
    stream.settlement.apply([record(0, first), record(1, lost)])
    (aside,) = stream.parked()
    answer = release_usage(stream.ledger, parked_id(SOURCE, aside))
    problem = answer.problem()
    assert problem is not None
    assert problem.code == "told_before"
    assert stream.charged == 1
