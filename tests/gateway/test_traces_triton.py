"""Shares of device time from a real Triton, against what its models say they did."""

import asyncio
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import aio
from tritonclient.utils import InferenceServerException

from adapters.triton.server import TritonServer
from adapters.triton.traces import TraceFolder
from domain import meters
from domain.device_time import batches, batches_of, microseconds, times
from domain.tensors import Tensor
from entrypoints.gateway.admission import Asked
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.trace_collector import TraceCollector
from tests.gateway.collecting import ran, shares
from tests.gateway.rig import Rig, configured
from tests.support.triton import (
    a_triton,
    account,
    infer,
    tensor,
    text_inputs,
    traced,
)
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

COUNT = 200
ERRORS = 20


async def ask(server: TritonServer, model: str, texts: dict[str, str]) -> None:
    """Send everything at once; what the model refuses is no error here."""
    async with aio.InferenceServerClient(server.grpc_address) as client:

        async def one(id: str, text: str) -> None:
            try:
                await client.infer(model, text_inputs(text, 4), request_id=id)
            except InferenceServerException:
                assert "boom" in text

        await asyncio.gather(*(one(id, text) for id, text in texts.items()))


def collected(server: TritonServer, work: Any, seconds: int = 10) -> Any:
    async def working() -> Any:
        config = configured(traces=str(server.traces), trace_seconds=seconds)
        async with TraceCollector(config) as collector:
            return await work(collector)

    return asyncio.run(asyncio.wait_for(working(), 60))


def executed(server: TritonServer, ids: set[str], model: str = "textgen") -> list[dict[str, Any]]:
    return [line for line in account(server, model) if line["request_id"] in ids]


def test_every_batchs_shares_add_up_to_its_device_time(triton: TritonServer) -> None:
    texts = {f"share-{n}": "boom" if n < ERRORS else f"text {n}" for n in range(COUNT)}
    direct = {f"direct-{n}": "from elsewhere" for n in range(10)}

    async def work(collector: TraceCollector) -> dict[str, int]:
        for id in texts:
            collector.expect(id, "shared")
        await ask(triton, "textgen", texts | direct)
        found = await shares(collector, *texts)
        assert collector.totals.late == 0
        assert collector.totals.charged == sum(each or 0 for each in found)
        return {id: share for id, share in zip(texts, found, strict=True) if share is not None}

    found = collected(triton, work)
    assert found.keys() == texts.keys()
    by_batch: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in executed(triton, texts.keys() | direct.keys()):
        by_batch[line["begun_ns"]].append(line)
    assert max(map(len, by_batch.values())) > 1
    assert sum(line["outcome"] == "error" for lines in by_batch.values() for line in lines) == 20
    for lines in by_batch.values():
        assert len(lines) == lines[0]["batch"]
        mine = [found[line["request_id"]] for line in lines if line["request_id"] in texts]
        if len(mine) == len(lines):
            # The server's own work comes on top of what the model measured.
            assert sum(mine) * 1000 + 1000 >= lines[0]["device_ns"]
        assert not mine or max(mine) - min(mine) <= 1


def test_the_naive_sum_is_the_batch_size_times_too_much(triton: TritonServer) -> None:
    texts = {f"naive-{n}": f"text {n}" for n in range(64)}

    async def work(collector: TraceCollector) -> list[int | None]:
        for id in texts:
            collector.expect(id, "shared")
        await ask(triton, "textgen", texts)
        return await shares(collector, *texts)

    total = sum(each or 0 for each in collected(triton, work))
    assert triton.trace_folder is not None
    written = TraceFolder(triton.trace_folder.parent).look(0)
    mine = [each for one in written for each in one.traces if each.request in texts]
    assert total == sum(times(mine).values()) == sum(map(microseconds, batches(mine)))
    naive = sum(microseconds(batch) for each in mine for batch in batches_of(each))
    assert naive > 1.5 * total


def test_an_ensemble_counts_its_stages_and_a_cached_answer_nothing(triton: TritonServer) -> None:
    async def work(collector: TraceCollector) -> list[int | None]:
        ids = {"ens-1": "pipeline", "cached-1": "textgen_cached", "cached-2": "textgen_cached"}
        for id, model in ids.items():
            collector.expect(id, "shared")
            await ask(triton, model, {id: "the same words of this test"})
        return await shares(collector, *ids)

    staged, first, second = collected(triton, work)
    (line,) = executed(triton, {"ens-1"})
    assert staged * 1000 > line["device_ns"]
    assert first > 0
    assert second == 0


def test_an_answer_that_was_cancelled_in_the_queue_never_ran(triton: TritonServer) -> None:
    async def work(collector: TraceCollector) -> list[bool | None]:
        collector.expect("queued", "shared")
        collector.expect("running", "shared")
        async with aio.InferenceServerClient(triton.grpc_address) as client:
            sent = []
            # The second is taken out of the queue at once, to be next; the third stays in it.
            for id in ("running", "next", "queued"):
                # Long, so that the third still waits however slowly this test gets on.
                call = client.infer("slow", slow_inputs(3_000), request_id=id)
                sent.append(asyncio.create_task(call))
                await asyncio.sleep(0.1)
            sent.pop().cancel()
            await asyncio.gather(*sent)
            return [await ran(collector, "running"), await ran(collector, "queued")]

    assert collected(triton, work) == [True, False]


def slow_inputs(milliseconds: int) -> Any:
    return [*text_inputs("slow words"), tensor("DELAY_MS", "INT32", [[milliseconds]])]


def test_what_a_killed_server_had_under_way_is_not_known(tmp_path: Path) -> None:
    with a_triton(tmp_path, models=["textgen", "slow"]) as server:

        async def work(collector: TraceCollector) -> list[bool | None]:
            collector.expect("whole", "shared")
            await ask(server, "textgen", {"whole": "a b"})
            await asyncio.to_thread(traced, server, "whole")
            collector.expect("killed", "shared")
            killing = threading.Timer(0.3, server.kill)
            killing.start()
            with pytest.raises(InferenceServerException):
                async with aio.InferenceServerClient(server.grpc_address) as client:
                    await client.infer("slow", slow_inputs(5_000), request_id="killed")
            await asyncio.to_thread(killing.join)
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(infer, server, "textgen", text_inputs("x"), request_id="after")
            return [await ran(collector, "whole"), await ran(collector, "killed")]

        assert collected(server, work, seconds=2) == [True, None]


def test_an_inference_is_charged_its_share_and_no_more_is_remembered(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who, count = rig.licensee(), 40
    timed = {
        "name": "textgen",
        "price_model": "timed",
        "usage": {"gpu_seconds": {"traces": True}},
        "estimate": {"gpu_seconds": {"constant": "1"}},
    }
    config = configured(traces=str(triton.traces), meters=[timed])
    traces = TraceCollector(config)

    async def inferences(gateway: Gateway) -> list[str]:
        request = meters.Request({}, {})
        asked = [Asked("textgen", who.key, request, "0" * 64) for _ in range(count)]
        runnings = [await gateway.admit(each) for each in asked]
        for running in runnings:
            gateway.begin(running)
        await ask(triton, "textgen", {running.id: "a b c" for running in runnings})
        for running in runnings[1:]:
            running.message({"OUT": Tensor("BYTES", (1, 1), listed=["a"])}, {})
            gateway.finish(running)
        gateway.failed(runnings[0], "an error of the model's")
        return [running.id for running in runnings]

    with rig.gateway(tmp_path, config, traces) as gateway:
        ids = rig.call(inferences(gateway))
        charges = who.until(count - 1)
        assert rig.now(lambda: traces.followed) == 0
    assert triton.trace_folder is not None
    written = TraceFolder(triton.trace_folder.parent).look(0)
    mine = [each for one in written for each in one.traces if each.request in ids]
    expected = times(mine)
    assert {charge.reservation: charge.usage["gpu_seconds"] for charge in charges} == {
        id: expected[id] for id in ids[1:]
    }
    assert sum(expected.values()) == sum(map(microseconds, batches(mine)))
    assert traces.totals.uncharged == expected[ids[0]]
    assert list(tmp_path.iterdir()) == []
