"""What a dead gateway left open ends once: charged, released, or parked with its reason."""

import itertools
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tollbook.times import format_instant

from adapters.intent_log import IntentLog, left_behind
from domain.usage_events import UsageParked
from domain.values import PICO
from entrypoints.gateway import trace_batches
from entrypoints.gateway.config import config_from
from entrypoints.gateway.recovery import Recovered, recover
from tests.gateway.recovering import document, killed, reasons, recovered, started
from tests.gateway.rig import Licensee, Rig
from tests.gateway.trace_files import MILLI, Boot


def parked_of(who: Licensee) -> list[UsageParked]:
    found = [each.event for each in who.events()]
    return [event for event in found if isinstance(event, UsageParked)]


def test_a_hold_of_which_nothing_was_begun_is_left_to_expire(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    killed(rig, tmp_path, "held", [("textgen", who.key)])
    assert recovered(rig, tmp_path) == Recovered()
    assert who.names() == ["reservation_held"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", ["begun", "answered"])
def test_without_traces_nobody_knows_and_it_is_parked(rig: Rig, tmp_path: Path, after: str) -> None:
    who = rig.licensee()
    killed(rig, tmp_path, after, [("textgen", who.key), ("identity", who.key)])
    assert recovered(rig, tmp_path) == Recovered(parked=2)
    assert sorted(who.names()) == ["reservation_held"] * 2 + ["usage_parked"] * 2
    told = "nobody knows whether the server ran it: the gateway died before its answer was told"
    assert reasons(who) == [told, told]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", ["begun", "answered"])
def test_what_ran_is_parked_with_the_usage_that_its_traces_tell(
    rig: Rig, tmp_path: Path, after: str
) -> None:
    """A trace tells no answer from an error: whoever looks releases the record as it stands."""
    who, home, traces = rig.licensee(), tmp_path / "home", tmp_path / "traces"
    models = ["timed", "identity", "document", "textgen"]
    died = killed(rig, home, after, [(model, who.key) for model in models], traces)
    boot = Boot(traces)
    timed, *others = died.ids
    boot.batch(timed, "somebody's", end=500_001 * 1_000)
    for number, id in enumerate(others, 1):
        boot.batch(id, start=number * MILLI, end=2 * number * MILLI)
    assert recovered(rig, home, traces) == Recovered(parked=4)
    parked = {each.record: each for each in parked_of(who)}
    assert {id: parked[id].body["usage"] for id in died.ids} == {
        timed: {"gpu_seconds": "0.250001"},
        others[0]: {"requests": 1},
        others[1]: {"pages": 1},
        others[2]: {"input_tokens": 0, "output_tokens": 0},
    }
    somehow = "the server ran it, and its traces tell no answer from an error"
    assert [parked[id].detail.partition(":")[0] for id in died.ids] == [
        *(somehow, somehow, somehow),
        "the server ran it",
    ]
    rig.tollbook.run(
        "release_usage", {"id": f"look-{timed}", "parked": parked[timed].parked}
    ).result()
    assert rig.tollbook.balance(who.customer).available < 100 * PICO


def test_an_answer_from_the_cache_is_not_charged_as_if_it_were_computed(
    rig: Rig, tmp_path: Path
) -> None:
    who, home, traces = rig.licensee(), tmp_path / "home", tmp_path / "traces"
    (id,) = killed(rig, home, "begun", [("identity", who.key)], traces).ids
    boot = Boot(traces)
    boot.write(boot.trace(id))
    assert recovered(rig, home, traces) == Recovered(parked=1)


@pytest.mark.parametrize("evidence", ["its own trace", "the others'"])
def test_what_never_ran_is_released(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: str
) -> None:
    monkeypatch.setattr(trace_batches, "MARGIN", 50 * MILLI)
    who, home, traces = rig.licensee(), tmp_path / "home", tmp_path / "traces"
    boot = Boot(traces)
    boot.batch("before")
    time.sleep(0.1)
    (id,) = killed(rig, home, "begun", [("textgen", who.key)], traces).ids
    with rig.gateway(home, config_from(document(traces, 2))) as gateway:
        recovering = started(rig, recover(home, gateway))
        time.sleep(0.5)
        if evidence == "its own trace":
            boot.write(boot.trace(id, answered=False))
        ends = itertools.count(1)
        while not recovering.done():  # it may have asked only now what others did afterwards
            boot.batch("after", start=next(ends) * MILLI, end=10_000 * MILLI)
            time.sleep(0.1)
        assert recovering.result() == Recovered(released=1)
    assert who.names() == ["reservation_held", "reservation_released"]
    told = "the server never ran it: the gateway died before its answer was told"
    assert reasons(who) == [told]


@pytest.mark.parametrize(
    ("after", "names"),
    [
        ("outcome", ["reservation_held", "reservation_settled"]),
        ("settled", ["reservation_held", "reservation_settled"]),
        ("failed", ["reservation_held", "reservation_released"]),
    ],
)
def test_an_end_that_was_written_down_is_told_once(
    rig: Rig, tmp_path: Path, after: str, names: list[str]
) -> None:
    who = rig.licensee()
    killed(rig, tmp_path, after, [("textgen", who.key)])
    assert recovered(rig, tmp_path) == Recovered(told=1)
    assert who.names() == names
    assert list(tmp_path.iterdir()) == []
    if after != "failed":
        (charge,) = who.charges()
        assert charge.usage == {"input_tokens": 3, "output_tokens": 11}


@pytest.mark.parametrize("has_trace", [True, False])
def test_an_end_that_waited_for_its_traces_waits_again(
    rig: Rig, tmp_path: Path, *, has_trace: bool
) -> None:
    who, home, traces = rig.licensee(), tmp_path / "home", tmp_path / "traces"
    (id,) = killed(rig, home, "outcome", [("timed", who.key)], traces).ids
    if has_trace:
        Boot(traces).batch(id, end=40_000_500)
    assert recovered(rig, home, traces) == Recovered(charged=has_trace, parked=not has_trace)
    if has_trace:
        (charge,) = who.charges()
        assert charge.usage == {"gpu_seconds": 40_001}
    else:
        assert reasons(who) == ["the server's traces do not tell its device time"]


def test_a_hold_that_expired_meanwhile_is_no_hindrance(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    (id,) = killed(rig, tmp_path, "outcome", [("textgen", who.key)]).ids
    end = time.monotonic() + 30
    while rig.tollbook.balance(who.customer).held and time.monotonic() < end:
        time.sleep(0.2)
    assert rig.tollbook.now() > rig.tollbook.reservation(id).expires_at
    assert recovered(rig, tmp_path) == Recovered(told=1)
    assert len(who.charges()) == 1


def test_what_a_recovery_decided_is_told_by_the_next_though_the_traces_are_gone(
    rig: Rig, tmp_path: Path
) -> None:
    who, home, traces = rig.licensee(), tmp_path / "home", tmp_path / "traces"
    (id,) = killed(rig, home, "begun", [("timed", who.key)], traces).ids
    Boot(traces).batch(id)
    killed(rig, home, "decided", [], traces)
    assert who.names() == ["reservation_held"]
    shutil.rmtree(traces)
    assert recovered(rig, home, traces) == Recovered(told=1)
    (parked,) = parked_of(who)
    assert parked.body["usage"] == {"gpu_seconds": "0.006"}
    assert list(home.iterdir()) == []


def test_a_line_that_a_recovery_left_cut_hides_nothing_else(rig: Rig, tmp_path: Path) -> None:
    who, home, traces = rig.licensee(), tmp_path / "home", tmp_path / "traces"
    (id,) = killed(rig, home, "begun", [("timed", who.key)], traces).ids
    (left,) = left_behind(home)
    with (left.folder / "recovered.jsonl").open("wb") as file:
        file.write(b'\n{"outcome":"' + id.encode() + b'","release":"no')
    event = {"specversion": "1.0", "type": "tollbook.usage.v1", "source": "gateway/gateway"}
    data = {
        "customer": who.customer,
        "model": "timed",
        "usage": {"gpu_seconds": "0.25"},
        "occurred_at": format_instant(rig.tollbook.reservation(id).opened_at),
    }
    left.decided(id, {"event": {**event, "id": id, "subject": id, "data": data}})
    left.leave()
    Boot(traces).batch(id)  # what the traces say now is too late
    assert recovered(rig, home, traces) == Recovered(told=1)
    (charge,) = who.charges()
    assert charge.usage == {"gpu_seconds": 250_000}


@pytest.mark.parametrize("kept", [0, 1, 20, -1])
def test_a_line_that_was_cut_counts_as_never_written(rig: Rig, tmp_path: Path, kept: int) -> None:
    who = rig.licensee()
    killed(rig, tmp_path, "outcome", [("textgen", who.key)])
    (segment,) = tmp_path.glob("*/*.jsonl")
    intent, outcome = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(intent + outcome[:kept])
    assert recovered(rig, tmp_path) == Recovered(parked=1)
    assert who.names() == ["reservation_held", "usage_parked"]


def test_an_intent_that_was_cut_was_never_forwarded(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    killed(rig, tmp_path, "begun", [("textgen", who.key)])
    (segment,) = tmp_path.glob("*/*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-1])
    assert recovered(rig, tmp_path) == Recovered()
    assert who.names() == ["reservation_held"]


def test_what_was_given_up_after_its_intent_leaves_nothing_open(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    killed(rig, tmp_path, "given up", [("textgen", who.key)])
    assert recovered(rig, tmp_path) == Recovered(told=1)
    assert who.names() == ["reservation_held", "reservation_released"]


def test_the_folder_of_a_gateway_that_lives_is_not_touched(rig: Rig, tmp_path: Path) -> None:
    log = IntentLog.create(tmp_path, "gw_alive")
    log.begin("inf_1", {"at": 1})
    try:
        assert recovered(rig, tmp_path) == Recovered()
        assert [path.name for path in tmp_path.iterdir()] == ["gw_alive"]
    finally:
        os.close(log._lock)


def test_two_gateways_recover_one_home_and_charge_once(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    for _ in range(3):
        killed(rig, tmp_path, "outcome", [("textgen", who.key)])
    config = config_from(document(None))
    with rig.gateway(tmp_path, config) as one, rig.gateway(tmp_path, config) as other:
        both = [started(rig, recover(tmp_path, gateway)) for gateway in (one, other)]
        found = [each.result(60) for each in both]
    assert sum(each.told for each in found) == 3
    assert len(who.charges()) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "outcome",
    [
        {"event": {"specversion": "1.0"}},
        {"event": {}, "traces": True},
        {"release": "of a hold that there never was"},
    ],
)
def test_what_the_ledger_does_not_take_stays(
    rig: Rig, tmp_path: Path, outcome: dict[str, Any]
) -> None:
    log = IntentLog.create(tmp_path, "gw_dead")
    log.begin("inf_1", {"at": 1})
    log.end("inf_1", outcome)
    os.close(log._lock)
    assert recovered(rig, tmp_path).stuck == 1
    assert (tmp_path / "gw_dead").is_dir()
