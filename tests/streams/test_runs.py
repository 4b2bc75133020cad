"""Runs through pipelines on the stream: one event charges all stages, keeps all, or is dead."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.times import SECOND, format_instant

from domain import settling
from domain.pipeline_events import PipelineReleased, PipelineSettled
from domain.stages import STAGES_MAX, WHOLE_WEIGHT
from streams import runs, wire
from tests.integration.audit_fixtures import audited, rewrite, whats
from tests.streams.records import MODEL, SOURCE, record, usage_event
from tests.streams.settling import Stream
from tests.support.pipelines import publish_pipeline, reserve_pipeline

USED = {
    "retrieve": {"input_tokens": 900, "output_tokens": 0},
    "write": {"input_tokens": 1000, "output_tokens": 77},
    "polish": {"input_tokens": 10, "output_tokens": 1},
}


def run_event(id: str, **more: Any) -> dict[str, Any]:
    """Return the event of a run whose stages were all used."""
    told = usage_event(id)
    data = {
        "customer": "cust-1",
        "pipeline": "rag",
        "stages": [{"stage": name, "model": MODEL, "usage": used} for name, used in USED.items()],
        "occurred_at": told["data"]["occurred_at"],
        "request_hash": "0" * 64,
        **more,
    }
    return {**told, "type": runs.RUN, "data": data}


def ended(stream: Stream) -> list[str]:
    """Return the names of what became of stages and runs, in order."""
    store = stream.ledger.store
    found = (store.at([place])[place].event.NAME for place in range(1, store.head().position + 1))
    first = ("reservation_settled", "reservation_released", "usage_parked", "command_refused")
    return [name for name in found if name in (*first, "pipeline_settled", "pipeline_released")]


@pytest.fixture
def rag(stream: Stream) -> Stream:
    publish_pipeline(stream.ledger).result()
    for run in ("run-1", "run-2"):
        reserve_pipeline(stream.ledger, run).result()
    return stream


def test_a_run_is_settled_as_a_whole_and_once(rag: Stream) -> None:
    event = run_event("run-1")
    rag.settlement.apply([record(0, event, event)])
    rag.settlement.apply([record(1, event)])
    assert ended(rag) == [*["reservation_settled"] * 3, "pipeline_settled"]
    store = rag.ledger.store
    last = store.at([store.head().position])[store.head().position].event
    assert isinstance(last, PipelineSettled)
    assert [line.stage for line in last.lines] == list(USED)
    assert sum(line.charged for line in last.lines) == rag.ledger.balance("cust-1").spent
    assert {stage.request_hash for stage in last.stages} == {"0" * 64}


def test_a_run_is_parked_by_its_stages_and_one_is_given_back(rag: Stream) -> None:
    lost = wire.event_of("run-1", {"event": run_event("run-1"), "park": "lost"}, SOURCE)
    gone = wire.event_of(
        "run-2", {"release": "it failed", "customer": "cust-1", "pipeline": "rag"}, SOURCE
    )
    rag.settlement.apply([record(0, lost, gone), record(1, lost, gone)])
    assert ended(rag) == [
        *["usage_parked"] * 3,
        *["reservation_released"] * 3,
        "pipeline_released",
    ]
    assert rag.parked() == {f"run-1.{stage}": "lost" for stage in USED}
    store = rag.ledger.store
    last = store.at([store.head().position])[store.head().position].event
    assert isinstance(last, PipelineReleased)
    assert last.reason == "it failed"


@pytest.mark.parametrize("what", ["run", "stage"])
def test_a_run_that_the_ledger_refuses_is_parked_by_its_stages_once(rag: Stream, what: str) -> None:
    if what == "run":
        body = {"id": "by-hand", "reserved": "run-1", "pipeline": "rag"}
        rag.ledger.run("release_pipeline", body).result()
    else:
        body = {"id": "by-hand", "reservation": "run-1.write"}
        rag.ledger.run("release", body).result()
    before = len(ended(rag))
    event = run_event("run-1")
    rag.settlement.apply([record(0, event), record(1, event)])
    assert ended(rag)[before:] == ["command_refused", *["usage_parked"] * 3]
    assert list(rag.parked()) == [f"run-1.{stage}" for stage in USED]
    assert dict(rag.offsets()) == {0: 2}


def test_a_run_that_nobody_reserved_is_parked(rag: Stream) -> None:
    rag.settlement.apply([record(0, run_event("run-9"), usage_event("i-0"))])
    told = "not_found: there is no reservation run-9 of the pipeline rag"
    assert {rag.parked()[f"run-9.{stage}"] for stage in USED} == {told}
    assert len(rag.parked()) == 4, "and the one beside it, whose reservation there is not either"


def test_a_run_whose_ids_others_have_is_kept_aside_and_stops_nobody(rag: Stream) -> None:
    """Two events under one id that say different things, each refused or kept before."""
    first = run_event("run-1")
    other = run_event("run-1", stages=[{**first["data"]["stages"][0], "usage": {"requests": 9}}])
    lost = wire.event_of("run-1", {"event": other, "park": "lost"}, SOURCE)
    rag.settlement.apply([record(0, lost), record(1, first), record(2, other), record(3, other)])
    assert ended(rag) == [
        "usage_parked",
        *["reservation_settled"] * 3,
        "pipeline_settled",
        "usage_parked",
    ]
    aside = [name for name in rag.parked() if "~" in name]
    assert len(aside) == 1
    assert aside[0].startswith("run-1.retrieve~")
    assert dict(rag.offsets()) == {0: 4}


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_run_that_cannot_have_been_then_is_parked_once_and_never_charged(
    rag: Stream, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """Also where it would be charged when it is told again: its records are parked by then."""
    event = run_event(
        "run-1", occurred_at=format_instant(time.time_ns() // 1000 + seconds * SECOND)
    )
    for offset in range(3):
        rag.settlement.apply([record(offset, event)])
    monkeypatch.setattr(settling, "TOLERANCE", 7200 * SECOND)
    rag.settlement.apply([record(3, event)])
    assert ended(rag) == ["command_refused", *["usage_parked"] * 3]
    (reason,) = set(rag.parked().values())
    assert reason.startswith("occurred_at_out_of_range: stage retrieve: occurred_at is ")
    assert audited(rag.database).differences == ()


def test_the_audit_decides_the_time_of_a_run_again(rag: Stream) -> None:
    late = format_instant(time.time_ns() // 1000 + 3600 * SECOND)
    rag.settlement.apply([record(0, run_event("run-1", occurred_at=late))])
    refused = rag.ledger.store.head().position - 3
    rewrite(rag.database, refused, "occurred_at_out_of_range", "unknown_model", with_leaf=True)
    assert (refused, "command_refused.code") in whats(audited(rag.database))


def test_a_run_that_was_charged_is_not_parked_any_more(rag: Stream) -> None:
    event = run_event("run-1")
    lost = wire.event_of("run-1", {"event": event, "park": "lost"}, SOURCE)
    rag.settlement.apply([record(0, event), record(1, lost)])
    assert ended(rag) == [*["reservation_settled"] * 3, "pipeline_settled"]
    assert dict(rag.offsets()) == {0: 2}
    assert rag.ledger.store.taken(list(wire.keys_of(lost, "cust-1"))), "the ledger has its end"


def test_a_run_that_was_charged_is_parked_where_it_says_something_else(rag: Stream) -> None:
    event = run_event("run-1")
    other = run_event("run-1", stages=[{**event["data"]["stages"][0], "usage": {"requests": 9}}])
    lost = wire.event_of("run-1", {"event": other, "park": "lost"}, SOURCE)
    rag.settlement.apply([record(0, event), record(1, lost), record(2, lost)])
    assert ended(rag) == [*["reservation_settled"] * 3, "pipeline_settled", "usage_parked"]
    assert rag.parked() == {"run-1.retrieve": "lost"}


def test_a_record_is_kept_aside_once_for_whatever_reasons_it_is_parked_again(rag: Stream) -> None:
    """The reasons tell what it collided with, which need not be the same each time."""
    first = run_event("run-1", stages=run_event("run-1")["data"]["stages"][:1])
    other = run_event("run-1", stages=[{**first["data"]["stages"][0], "usage": {"requests": 9}}])
    told = [(first, "lost"), (other, "gone"), (other, "lost"), (other, "gone"), (first, "lost")]
    for offset, (event, why) in enumerate(told):
        lost = wire.event_of("run-1", {"event": event, "park": why}, SOURCE)
        rag.settlement.apply([record(offset, lost)])
    assert ended(rag) == ["usage_parked"] * 2
    assert dict(rag.offsets()) == {0: 5}


@pytest.mark.parametrize(
    "change",
    [
        {"data": None},
        {"data": []},
        {"data": {}},
        {"subject": None},
        {"id": None},
        {"id": "a b"},
        {"id": "x" * 96},
        {"source": ""},
        {"specversion": "2.0"},
    ],
)
def test_an_event_of_a_run_that_is_none_is_dead_and_the_others_are_settled(
    rag: Stream, change: dict[str, Any]
) -> None:
    rag.settlement.apply([record(0, {**run_event("run-1"), **change}, run_event("run-2"))])
    assert (len(rag.buried), ended(rag).count("pipeline_settled")) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"stages": None},
        {"stages": []},
        {"stages": [1]},
        {"stages": [{"stage": "write"}]},
        {"stages": [{"stage": "a.b", "model": MODEL, "usage": {"requests": 1}}]},
        {"stages": [{"stage": "write", "model": MODEL, "usage": {"requests": -1}}]},
        {"stages": [{"stage": "write", "model": MODEL, "usage": []}]},
        {"stages": [{"stage": 1, "model": MODEL, "usage": {"requests": 1}}]},
        {"stages": [{"stage": "write", "model": MODEL, "usage": {"requests": 1}}] * 2},
        {"stages": [{"stage": "write", "model": MODEL, "usage": {"requests": 1}}] * 33},
        {"customer": None},
        {"pipeline": None},
        {"pipeline": "a b"},
        {"occurred_at": None},
        {"occurred_at": "today"},
        {"request_hash": "short"},
        {"reason": "there is none here"},
        {"price": 1},
    ],
)
@pytest.mark.parametrize("kind", [runs.RUN, runs.RUN_PARKED])
def test_what_an_event_of_a_run_does_not_say_well_is_told(
    kind: str, change: dict[str, Any]
) -> None:
    event = run_event("run-1", **({"reason": "lost"} if kind == runs.RUN_PARKED else {}))
    good = wire.read(wire.packed([{**event, "type": kind}]))
    assert good.bad == []
    if kind == runs.RUN_PARKED and "reason" in change:
        change = {"reason": ""}
    event["data"].update(change)
    found = wire.read(wire.packed([{**event, "type": kind}]))
    assert (len(found.bad), found.told) == (1, [])


def test_a_record_of_more_runs_than_one_transaction_takes_is_dead() -> None:
    most = wire.WEIGHT_MAX // WHOLE_WEIGHT
    assert most >= 1
    events = [run_event(f"run-{number}") for number in range(most + 1)]
    assert wire.read(wire.packed(events[:most])).bad == []
    (bad,) = wire.read(wire.packed(events)).bad
    assert (bad.at, bad.reason) == (None, f"more than {most} runs through pipelines")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["stages", "stage", "usage", "model", "x"]), inner)
        ),
        max_leaves=12,
    )
)
def test_whatever_an_event_of_a_run_holds_it_is_read_or_told(data: Any) -> None:
    for kind in runs.TYPES:
        event = {**run_event("run-1"), "type": kind, "data": data}
        found = wire.read(wire.packed([event]))
        assert len(found.told) <= STAGES_MAX
        assert bool(found.told) != bool(found.bad)
