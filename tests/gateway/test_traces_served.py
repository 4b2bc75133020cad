"""Device time that clients pay for: through the gateway's own front, before a real Triton."""

import asyncio
from pathlib import Path

import pytest
from tritonclient.grpc import aio
from tritonclient.utils import InferenceServerException

from adapters.triton.server import TritonServer
from adapters.triton.traces import TraceFolder
from domain.device_time import batches, microseconds, times
from entrypoints.gateway.trace_collector import TraceCollector
from tests.gateway.grpc_serving import before, grpc_serving
from tests.gateway.rig import Licensee, Rig
from tests.support.triton import account, text_inputs
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

COUNT, ERRORS, AT_ONCE = 120, 10, 24
TIMED = {
    "name": "textgen",
    "price_model": "timed",
    "usage": {"gpu_seconds": {"traces": True}},
    "estimate": {"gpu_seconds": {"constant": "1"}},
}


async def asked(address: str, who: Licensee) -> None:
    """Ask through the gateway, many at once; the model refuses some."""
    turns = asyncio.Semaphore(AT_ONCE)
    async with aio.InferenceServerClient(address) as client:

        async def one(number: int) -> None:
            inputs = text_inputs("boom" if number < ERRORS else f"text {number}", 4)
            async with turns:
                if number < ERRORS:
                    with pytest.raises(InferenceServerException):
                        await client.infer("textgen", inputs, headers=who.headers)
                else:
                    await client.infer("textgen", inputs, headers=who.headers)

        await asyncio.gather(*map(one, range(COUNT)))


def test_each_client_pays_its_share_of_its_batch_and_nothing_for_an_error(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    config = before(triton, traces=str(triton.traces), meters=[TIMED])
    traces = TraceCollector(config)
    known = {line["request_id"] for line in account(triton, "textgen")}
    with grpc_serving(rig, tmp_path, config, traces) as served:
        asyncio.run(asked(served.address, who))
        charges = who.until(COUNT - ERRORS)
    lines = [each for each in account(triton, "textgen") if each["request_id"] not in known]
    outcomes = {each["request_id"]: each["outcome"] for each in lines}
    assert max(each["batch"] for each in lines) > 1, "something was computed together"
    assert triton.trace_folder is not None
    written = TraceFolder(triton.trace_folder.parent).look(0)
    mine = [each for one in written for each in one.traces if each.request in outcomes]
    shares = times(mine)
    assert sum(shares.values()) == sum(map(microseconds, batches(mine)))
    paid = {each.reservation: each.usage["gpu_seconds"] for each in charges}
    assert paid == {id: shares[id] for id, outcome in outcomes.items() if outcome != "error"}
    assert traces.totals.uncharged == sum(shares[id] for id in outcomes.keys() - paid.keys())
