"""What a killed gateway left of runs through pipelines: all stages end once, in the same way."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.event_store.store import PostgresEventStore
from adapters.intent_log import IntentLog
from adapters.kafka.server import KafkaServer
from adapters.kafka.topics import Bounds
from entrypoints.gateway.assembling import Kafka
from entrypoints.gateway.recovery import Recovered
from entrypoints.streaming import check_kept, offsets_of
from streams import runs, wire
from streams.ledger import OwnLedger
from streams.settlement import Dead, Record, Settlement
from tests.gateway.http_serving import wait
from tests.gateway.recovering import killed, reasons, recovered
from tests.gateway.rig import Licensee, Rig, configured
from tests.gateway.staged import (
    HELD,
    PARKED,
    RELEASED,
    SETTLED,
    STAGES,
    assert_exact,
    meter,
    names,
    parked,
    published,
    reserved,
)
from tests.gateway.test_core import answer, begun, told
from tests.gateway.trace_files import MILLI, Boot
from tests.support.kafka import kafka as kafka  # noqa: PLC0414 - a fixture, by its name
from tests.support.kafka import make_topic, read


@pytest.fixture(scope="module")
def sold(rig: Rig) -> list[dict[str, Any]]:
    return [meter(published(rig))]


def died(
    rig: Rig, home: Path, after: str, who: Licensee, sold: Any, traces: Path | None = None
) -> str:
    """Have a gateway killed with one run under way; return the run's id."""
    (id,) = killed(rig, home, after, [("pipeline", who.key)], traces, meters=sold).ids
    return id


@pytest.mark.parametrize(
    ("after", "way"),
    [("outcome", SETTLED), ("settled", SETTLED), ("failed", RELEASED), ("given up", RELEASED)],
)
def test_the_end_of_a_run_that_was_written_down_is_told_once(
    rig: Rig, sold: Any, tmp_path: Path, after: str, way: list[str]
) -> None:
    who = rig.licensee()
    died(rig, tmp_path, after, who, sold)
    assert recovered(rig, tmp_path, meters=sold) == Recovered(told=1)
    assert names(who) == [*HELD, *way]
    assert list(tmp_path.iterdir()) == []
    if way == SETTLED:
        assert_exact(who, (3, 11))


def test_a_run_that_was_only_held_ends_with_its_holds(rig: Rig, sold: Any, tmp_path: Path) -> None:
    who = rig.licensee()
    died(rig, tmp_path, "held", who, sold)
    assert recovered(rig, tmp_path, meters=sold) == Recovered()
    assert names(who) == HELD


@pytest.mark.parametrize("after", ["begun", "answered"])
def test_a_run_whose_answer_was_lost_is_parked_by_its_stages(
    rig: Rig, sold: Any, tmp_path: Path, after: str
) -> None:
    who = rig.licensee()
    id = died(rig, tmp_path, after, who, sold)
    assert recovered(rig, tmp_path, meters=sold) == Recovered(parked=1)
    assert names(who) == [*HELD, *PARKED]
    told_why = "nobody knows whether the server ran it: the gateway died before its answer was told"
    assert reasons(who) == [told_why] * 3
    assert [each.record for each in parked(who)] == [f"{id}.{stage['name']}" for stage in STAGES]
    assert [each.body["usage"] for each in parked(who)] == [
        {"requests": 1},
        {"input_tokens": 0, "output_tokens": 0},
        {"requests": 1},
    ], "what is known without the answer"
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_the_traces_show_as_never_begun_is_released(
    rig: Rig, sold: Any, tmp_path: Path
) -> None:
    who, home, traces = rig.licensee(), tmp_path / "home", tmp_path / "traces"
    boot = Boot(traces)
    id = died(rig, home, "begun", who, sold, traces)
    boot.write(boot.trace(id, answered=False))
    boot.batch("after", start=MILLI)
    assert recovered(rig, home, traces, meters=sold) == Recovered(released=1)
    assert names(who) == [*HELD, *RELEASED]


def test_what_a_recovery_decided_of_a_run_is_told_by_the_next(
    rig: Rig, sold: Any, tmp_path: Path
) -> None:
    who = rig.licensee()
    died(rig, tmp_path, "begun", who, sold)
    killed(rig, tmp_path, "decided", [], meters=sold)
    assert names(who) == HELD
    assert recovered(rig, tmp_path, meters=sold) == Recovered(told=1)
    assert names(who) == [*HELD, *PARKED]


def test_a_run_is_recovered_though_its_model_is_no_longer_offered(
    rig: Rig, sold: Any, tmp_path: Path
) -> None:
    who = rig.licensee()
    died(rig, tmp_path, "begun", who, sold)
    assert recovered(rig, tmp_path) == Recovered(parked=1)
    assert names(who) == [*HELD, *PARKED]


def test_a_run_that_the_ledger_refuses_again_and_again_is_parked_once(
    rig: Rig, sold: Any, tmp_path: Path
) -> None:
    """The refusal is recorded, and repeated; so are the records that were kept instead."""
    who = rig.licensee()
    id = died(rig, tmp_path, "outcome", who, sold)
    (segment,) = tmp_path.glob("*/*.jsonl")
    lines = segment.read_bytes()
    release = {"id": f"r-{id}", "pipeline": sold[0]["pipeline"], "reserved": id}
    rig.tollbook.run("release_pipeline", release).result()
    for number in range(2):
        again = IntentLog.create(tmp_path, f"gw_again-{number}")
        os.close(again._lock)
        (tmp_path / f"gw_again-{number}" / "00000000.jsonl").write_bytes(lines)
        assert recovered(rig, tmp_path, meters=sold).told > 0
    assert names(who) == [*HELD, "command_refused", *PARKED]
    assert {each.detail.partition(":")[0] for each in parked(who)} == {"already_released"}


class Stream:
    """What settles a topic's first partition on the ledger of a rig, record after record."""

    def __init__(self, rig: Rig, store: PostgresEventStore, topic: str) -> None:
        """Begin at the first record."""
        offsets = offsets_of(store, "cluster-p", topic)
        check_kept(offsets(), {0: Bounds(0, 0)})
        self._at = 0
        self.dead: list[Dead] = []
        ledger = OwnLedger(rig.tollbook.executor)
        self.settlement = Settlement(ledger, "cluster-p", topic, offsets, self.dead.extend)
        self.settlement.begin(0, 0)

    def apply(self, value: bytes, times: int = 1) -> None:
        """Settle what Kafka has, however often it says so."""
        for _ in range(times):
            record = Record(0, self._at, b"key", value)
            self.settlement.apply([record])
            self._at += 1
        assert self.dead == []


@pytest.mark.parametrize("way", ["finish", "fail", "lose", "released by hand"])
def test_a_run_is_settled_by_the_stream_as_without_it(
    rig: Rig, sold: Any, kafka: KafkaServer, tmp_path: Path, way: str
) -> None:
    who, topic = rig.licensee(), f"runs-{way.replace(' ', '-')}"
    make_topic(kafka, topic)
    config = configured(meters=sold)
    store: Any = rig.tollbook.store
    address = Kafka(kafka.address, topic)
    with rig.gateway(tmp_path, config, kafka=address) as gateway:
        running = begun(rig, gateway, who, model="pipeline")
        if way == "released by hand":
            release = {"id": f"r-{running.id}", "reserved": running.id}
            body = {**release, "pipeline": sold[0]["pipeline"]}
            rig.tollbook.run("release_pipeline", body).result()
        told(rig, running, answer(3, 11))
        if way in ("finish", "released by hand"):
            rig.now(lambda: gateway.finish(running))
        elif way == "fail":
            running.produced = running.produced._replace(messages=0)
            rig.now(lambda: gateway.failed(running, "boom"))
        else:
            running.produced = running.produced._replace(messages=0)
            rig.now(lambda: gateway.lost(running, "it broke"))
        (value,) = read(kafka.address, topic, 1)
        assert gateway.settler.backlog == 1, "what only Kafka has is not forgotten"
        Stream(rig, store, topic).apply(value, times=2)
        wait(lambda: gateway.settler.backlog == 0)
    ways = {
        "finish": SETTLED,
        "fail": RELEASED,
        "lose": PARKED,
        "released by hand": ["command_refused", *PARKED],
    }
    assert names(who) == [*HELD, *ways[way]]
    if way == "finish":
        assert_exact(who, (3, 11))
    assert list(tmp_path.iterdir()) == [], "the ledger has it all"


def test_a_parked_run_travels_with_all_that_is_known(rig: Rig, sold: Any, tmp_path: Path) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path, configured(meters=sold)) as gateway:
        running = begun(rig, gateway, who, model="pipeline")
        told(rig, running, answer(3, 11))
        event = running.charge_of_known("gateway/gateway")
        rig.now(lambda: gateway.failed(running, "enough"))
    moved = wire.event_of(running.id, {"event": event, "park": "lost"}, "gateway/gateway")
    assert moved["type"] == runs.RUN_PARKED
    found = wire.read(wire.packed([json.loads(json.dumps(moved))]))
    assert [each.KIND for each in found.commands] == ["park_usage"] * 3
    assert [dict(each.records[0].usage) for each in found.told] == [
        {"requests": 1},
        {"input_tokens": 3, "output_tokens": 11},
        {"requests": 1},
    ]
    assert reserved(who).reserved == running.id
