"""Streams over gRPC that end early: their clients leave, stall, or the gateway stops."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import grpc
import pytest

from adapters.triton.server import TritonServer
from domain.events import ReservationHeld, ReservationSettled
from tests.gateway.grpc_serving import (
    GrpcServed,
    add_number,
    before,
    grpc_serving,
    metadata,
    request,
    wait,
)
from tests.gateway.grpc_streaming import Stream, asking
from tests.gateway.rig import METERS, Rig
from tests.support.triton import account, shared_triton, text_inputs
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name


@pytest.fixture(scope="module")
def served(
    rig: Rig, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GrpcServed]:
    """Serve all models, once for this file."""
    home = tmp_path_factory.mktemp("home")
    with grpc_serving(rig, home, before(shared_triton(pytestconfig))) as serving:
        yield serving


def usage(charge: ReservationSettled) -> tuple[int, int]:
    return charge.usage["input_tokens"], charge.usage["output_tokens"]


@pytest.mark.parametrize("after_cancel", ["stop", "drain"])
def test_a_client_that_leaves_a_stream_pays_once_for_what_its_meter_says(
    rig: Rig, triton: TritonServer, tmp_path: Path, after_cancel: str
) -> None:
    who = rig.licensee()
    meters = [{**each, "after_cancel": after_cancel} for each in METERS]
    with (
        grpc_serving(rig, tmp_path, before(triton, meters=meters)) as served,
        served.raw("ModelStreamInfer", stream=True) as call,
    ):
        stream = Stream(call, who)
        stream.send(asking("a b", 30, 100))
        wait(lambda: len(stream.pieces) >= 5)
        stream.leave()
        (charge,) = who.until(1)
        wait(lambda: any(line["request_id"] == charge.reservation for line in lines(triton)))
    (line,) = [line for line in lines(triton) if line["request_id"] == charge.reservation]
    assert who.names() == ["reservation_held", "reservation_settled"]
    if after_cancel == "drain":
        assert usage(charge) == (2, 30)
        assert line["outcome"] == "ok"
    else:
        assert 5 <= charge.usage["output_tokens"] <= line["output_tokens"] < 30
        assert line["outcome"] == "cancelled"


def lines(triton: TritonServer) -> list[dict[str, Any]]:
    return account(triton, "textgen_stream")


def test_leaving_before_anything_came_does_not_make_the_servers_work_free(
    rig: Rig, served: GrpcServed
) -> None:
    who = rig.licensee()
    asked = request("slow")
    add_number(asked, "DELAY_MS", 1_500)
    with served.raw("ModelStreamInfer", stream=True) as call:
        stream = Stream(call, who)
        stream.send(asked.SerializeToString())
        wait(lambda: bool(served.gateway.running))
        time.sleep(0.5)
        stream.leave()
    wait(lambda: who.names() == ["reservation_held", "reservation_settled"])


def test_a_stopping_gateway_ends_idle_streams_and_lets_others_finish(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    with (
        grpc_serving(rig, tmp_path, before(triton)) as served,
        served.raw("ModelStreamInfer", stream=True) as call,
    ):
        idle, busy = Stream(call, who), Stream(call, who)
        busy.send(asking("a", 10, 50))
        wait(lambda: len(busy.pieces) >= 2)
        rig.call(served.front.stop(20))
        for stream in (idle, busy):
            stream.close()
            assert stream.error is not None
            assert stream.error.code() is grpc.StatusCode.UNAVAILABLE
    assert len(busy.pieces) == 10
    assert usage(who.until(1)[0]) == (1, 10)


@pytest.mark.parametrize("says_so", ["before", "meanwhile"])
def test_a_stream_whose_client_asks_nothing_more_ends_well_though_the_gateway_stops(
    rig: Rig, triton: TritonServer, tmp_path: Path, says_so: str
) -> None:
    who = rig.licensee()
    with (
        grpc_serving(rig, tmp_path, before(triton)) as served,
        served.raw("ModelStreamInfer", stream=True) as call,
    ):
        stream = Stream(call, who)
        stream.send(asking("a", 20, 50))
        wait(lambda: len(stream.pieces) >= 2)
        if says_so == "before":
            stream.say_all()
            time.sleep(0.1)  # it has to get there first
        stopping = asyncio.run_coroutine_threadsafe(served.front.stop(20), rig.loop)
        if says_so == "meanwhile":
            wait(lambda: served.front._is_stopping)
            stream.say_all()
        stopping.result(30)
        stream.close()
    assert stream.error is None
    assert len(stream.pieces) == 20


def test_nothing_begins_on_a_stream_when_the_gateway_stops_though_another_inference_runs(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    with (
        grpc_serving(rig, tmp_path, before(triton)) as served,
        served.raw("ModelStreamInfer", stream=True) as call,
    ):
        stream = Stream(call, who)
        stream.send(asking("a", 20, 50))
        wait(lambda: len(stream.pieces) >= 2)
        stopping = asyncio.run_coroutine_threadsafe(served.front.stop(20), rig.loop)
        wait(lambda: served.front._is_stopping)
        stream.send(asking("a", 1))
        stopping.result(30)
        stream.close()
    assert stream.error is not None
    assert stream.error.code() is grpc.StatusCode.UNAVAILABLE
    assert len(stream.pieces) == 20
    assert who.names() == ["reservation_held", "reservation_settled"]


def test_a_stream_whose_key_is_looked_up_when_the_gateway_stops_does_not_hold_that_up(
    rig: Rig, triton: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, asked, told = rig.licensee(), Event(), asyncio.Event()

    async def slowly(_: str) -> None:
        asked.set()
        await told.wait()

    with (
        grpc_serving(rig, tmp_path, before(triton)) as served,
        served.raw("ModelStreamInfer", stream=True) as call,
    ):
        monkeypatch.setattr(served.gateway.admission, "known", slowly)
        stream = Stream(call, who)
        assert asked.wait(30)
        stopping = asyncio.run_coroutine_threadsafe(served.front.stop(20), rig.loop)
        wait(lambda: served.front._is_stopping)
        rig.now(told.set)
        stopping.result(10)  # half of what it may take where somebody has to be waited for
        stream.close()
    assert stream.error is not None
    assert stream.error.code() is grpc.StatusCode.UNAVAILABLE


def test_a_client_that_takes_nothing_does_not_hold_its_inferences_for_ever(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    text = "word " * 2_000
    with (
        grpc_serving(rig, tmp_path, before(triton), stall_seconds=0.5) as served,
        served.raw("ModelStreamInfer", stream=True) as call,
    ):
        never = call(iter([asking(text, 4_000, id="x" * 4_000)]), metadata=metadata(who.headers))
        wait(lambda: bool(served.gateway.running))
        served.idle()
        (charge,) = who.until(1)
        with pytest.raises(grpc.RpcError) as raised:
            list(never)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0 < charge.usage["output_tokens"] < 4_000


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
def test_clients_that_vanish_at_any_moment_leave_nothing_held_and_nothing_charged_twice(
    rig: Rig, served: GrpcServed, triton: TritonServer, seed: int, method: str
) -> None:
    who, random = rig.licensee(), Random(seed)
    is_stream = method == "ModelStreamInfer"
    data = asking("a", 3, 2) if is_stream else request("textgen").SerializeToString()
    with served.raw(method, stream=is_stream) as call:
        for _ in range(60):
            given = iter([data]) if is_stream else data
            began = (call if is_stream else call.future)(given, metadata=metadata(who.headers))
            time.sleep(random.uniform(0, 0.012))
            began.cancel()
    wait(lambda: rig.tollbook.balance(who.customer).held == 0)
    served.idle()
    wait(lambda: len(who.names()) == 2 * who.names().count("reservation_held"))
    charged = [charge.reservation for charge in who.charges()]
    assert len(charged) == len(set(charged))
    ran = {line["request_id"] for line in account(triton, "textgen")} | {
        line["request_id"] for line in lines(triton)
    }
    if is_stream:
        assert set(charged) <= ran
    else:  # whatever the server ran is paid for, whether or not its client stayed
        events = [each.event for each in who.events()]
        held = {each.reservation for each in events if isinstance(each, ReservationHeld)}
        assert set(charged) == held & ran


def test_idle_streams_cost_other_clients_nothing(rig: Rig, served: GrpcServed) -> None:
    who, ended = rig.licensee(), Event()

    def nothing() -> Iterator[bytes]:
        ended.wait(120)
        yield from ()

    with served.raw("ModelStreamInfer", stream=True) as call:
        idle = [call(nothing(), metadata=metadata(who.headers)) for _ in range(30)]
        wait(lambda: len(served.front._sessions) == 30)
        with served.client() as client:
            client.infer("textgen", text_inputs("a"), headers=who.headers)
        for each in idle:
            each.cancel()
        ended.set()
    who.until(1)
    wait(lambda: not served.front._sessions)
