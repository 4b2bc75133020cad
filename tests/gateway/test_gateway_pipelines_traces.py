"""Device time of a pipeline's stages: each its step's share of the traces, together all of it."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import aio

from adapters.triton.server import TritonServer
from adapters.triton.traces import TraceFolder
from domain import meters
from domain.device_time import batches, shares, times
from domain.pipeline_events import PipelineSettled
from domain.tensors import Tensor
from entrypoints.bootstrap import Database
from entrypoints.cli.audit import run_audit
from entrypoints.gateway.admission import Asked
from entrypoints.gateway.core import RECEIPT, USAGE, Gateway
from entrypoints.gateway.recovery import Recovered
from entrypoints.gateway.trace_collector import TraceCollector
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.recovering import killed, reasons, recovered
from tests.gateway.rig import Rig, configured
from tests.gateway.staged import HELD, PARKED, SETTLED, meter, names, own, published
from tests.gateway.test_core import answer, begun, told
from tests.gateway.trace_files import MILLI, Boot
from tests.support.triton import text_inputs

TIMED: dict[str, Any] = {
    "usage": {"requests": {"constant": 1}, "gpu_seconds": {"traces": True}},
    "estimate": {"gpu_seconds": {"constant": "1"}},
}
STEPS = {"retrieve": "retrieve", "write": "textgen", "polish": "polish"}
"""By stage, the model of the ensemble's step."""
STAGES = [{"name": name, "model": "rag/timed", "licensed": True} for name in STEPS]


def timed(rig: Rig) -> list[dict[str, Any]]:
    """Return the meter of the ensemble with every stage by its device time."""
    stage = {name: {**TIMED, "step": step} for name, step in STEPS.items()}
    return [meter(published(rig, stages=STAGES), stage=stage)]


def by_step(triton: TritonServer, ids: set[str]) -> dict[str, dict[str, int]]:
    """Return by request and model what each step's share is, as its traces alone say."""
    assert triton.trace_folder is not None
    written = TraceFolder(triton.trace_folder.parent).look(0)
    traces = [each for one in written for each in one.traces]
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for batch, members in batches(traces).items():
        for id, share in shares(batch, members).items():
            request = members[id].request
            if request in ids and members[id].leaf:
                found[request][batch.model] += share
    whole = times(each for each in traces if each.request in ids)
    assert {id: sum(parts.values()) for id, parts in found.items()} == whole
    return {id: dict(parts) for id, parts in found.items()}


def test_each_stage_is_charged_the_share_of_its_step(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    """Many at once, so that steps run in batches; sums are exact for each run and in all."""
    who, count = rig.licensee(), 40
    config = configured(traces=str(triton.traces), meters=timed(rig))
    traces = TraceCollector(config)

    async def runs(gateway: Gateway) -> dict[str, dict[str, str]]:
        asked = Asked("pipeline", who.key, meters.Request({}, {}), "0" * 64)
        runnings = await asyncio.gather(*(gateway.admit(asked) for _ in range(count)))
        for running in runnings:
            gateway.begin(running)
        async with aio.InferenceServerClient(triton.grpc_address) as client:
            sent = (
                client.infer("pipeline", text_inputs("a b", 3), request_id=running.id)
                for running in runnings
            )
            await asyncio.gather(*sent)
        found = {}
        for running in runnings:
            running.message({"OUT": Tensor("BYTES", (1, 1), listed=["a"])}, {})
            found[running.id] = gateway.finish(running)
        return found

    with rig.gateway(tmp_path, config, traces) as gateway:
        headers = rig.call(runs(gateway))
        charges = who.until(3 * count, 60)
        assert rig.now(lambda: traces.followed) == 0
    expected = by_step(triton, set(headers))
    assert {charge.reservation: charge.usage["gpu_seconds"] for charge in charges} == {
        f"{id}.{stage}": expected[id][step] for id in headers for stage, step in STEPS.items()
    }
    settled = [each.event for each in own(who) if isinstance(each.event, PipelineSettled)]
    assert sorted(each.reserved for each in settled) == sorted(headers)
    lines = [line.charged for each in settled for line in each.lines]
    assert sum(lines) == rig.tollbook.balance(who.customer).spent
    assert rig.tollbook.balance(who.customer).held == 0
    for told_of in headers.values():
        assert "gpu_seconds" not in told_of[USAGE], "it is counted later"
        assert told_of[RECEIPT]
    assert list(tmp_path.iterdir()) == []


def ensemble(boot: Boot, id: str) -> None:
    """Write the traces of a run: the whole, and a part for each step, of 1, 2 and 3 ms."""
    whole = boot.trace(id, model="pipeline")
    parts = [
        boot.trace(id, (number * 10 * MILLI, (number * 11) * MILLI), model=step, parent=1)
        for number, step in enumerate(STEPS.values(), 1)
    ]
    boot.write(whole, *parts)


@pytest.mark.parametrize("way", ["traced", "lost", "no longer configured"])
def test_a_run_that_waited_for_its_traces_waits_again_after_a_crash(
    rig: Rig, tmp_path: Path, way: str
) -> None:
    who, home, traces, sold = rig.licensee(), tmp_path / "home", tmp_path / "traces", timed(rig)
    (id,) = killed(rig, home, "outcome", [("pipeline", who.key)], traces, meters=sold).ids
    if way != "lost":
        ensemble(Boot(traces), id)
    known = None if way == "no longer configured" else sold
    is_charged = way == "traced"
    found = recovered(rig, home, traces, meters=known)
    assert found == Recovered(charged=is_charged, parked=not is_charged)
    if is_charged:
        assert names(who) == [*HELD, *SETTLED]
        assert [charge.usage for charge in who.charges()] == [
            {"requests": 1, "gpu_seconds": number * 1_000} for number in (1, 2, 3)
        ]
    else:
        assert names(who) == [*HELD, *PARKED]
        lost, gone = "the server's traces do not tell its device time", "its meter is no longer"
        assert {reason.startswith(lost if way == "lost" else gone) for reason in reasons(who)} == {
            True
        }


def test_a_run_that_the_traces_show_as_run_is_parked_when_its_answer_was_lost(
    rig: Rig, tmp_path: Path
) -> None:
    """A run's meter counts nothing itself: only those of its stages do."""
    who, home, traces, sold = rig.licensee(), tmp_path / "home", tmp_path / "traces", timed(rig)
    (id,) = killed(rig, home, "begun", [("pipeline", who.key)], traces, meters=sold).ids
    ensemble(Boot(traces), id)
    assert recovered(rig, home, traces, meters=sold) == Recovered(parked=1)
    assert names(who) == [*HELD, *PARKED]
    assert {reason.partition(":")[0] for reason in reasons(who)} == {"the server ran it"}
    assert list(home.iterdir()) == []


def test_a_run_without_traces_is_parked_by_its_stages(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    with rig.gateway(tmp_path, configured(meters=timed(rig))) as gateway:
        running = begun(rig, gateway, who, model="pipeline")
        told(rig, running, answer(1, 1))
        rig.now(lambda: gateway.finish(running))
    assert names(who) == [*HELD, *PARKED]


def test_the_ledger_with_all_of_these_runs_is_sound(rig: Rig) -> None:
    database: Database = rig.database
    assert run_audit(database, []).differences == ()
