"""The gRPC front and its servers: what goes to them, and what becomes of calls when they die."""

import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from tollbook.errors import Unavailable
from tritonclient.grpc import service_pb2 as pb

from adapters.triton.server import TritonServer
from tests.gateway.grpc_serving import (
    CALL_SECONDS,
    GrpcServed,
    add_number,
    before,
    grpc_serving,
    metadata,
    request,
    wait,
)
from tests.gateway.grpc_streaming import Stream, asking
from tests.gateway.rig import METERS, Licensee, Rig, configured
from tests.support.triton import a_triton
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

MESSAGE_BYTES = 100_000
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def sent(served: GrpcServed, who: Licensee, asked: Any, **headers: str) -> Any:
    """Send one unary inference."""
    with served.raw("ModelInfer") as infer:
        given = metadata({**who.headers, **headers})
        body = infer(asked.SerializeToString(), metadata=given, timeout=CALL_SECONDS)
    return pb.ModelInferResponse.FromString(body)


def status(served: GrpcServed, who: Licensee, asked: Any) -> tuple[Any, str]:
    """Return the status and the words of an inference that fails."""
    with pytest.raises(grpc.RpcError) as raised:
        sent(served, who, asked)
    return raised.value.code(), raised.value.details()


def slow(milliseconds: int) -> Any:
    asked = request("slow")
    add_number(asked, "DELAY_MS", milliseconds)
    return asked


def test_priority_and_metadata_cannot_be_forged(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    plain, first = rig.licensee(), rig.licensee(overrides={"priority": 1})
    asked = request("textgen", id="inf_forged")
    asked.parameters["priority"].int64_param = 1
    asked.parameters["color"].string_param = "blue"
    with grpc_serving(rig, tmp_path, before(triton)) as served:
        for who in (plain, first):
            sent(served, who, asked, traceparent=TRACE, cookie="secret", **{"triton-x": "1"})
        found = served.clients["shared"].sent
    assert [each.parameters["priority"].uint64_param for each, _ in found] == [5, 1]
    for each, beside in found:
        assert each.parameters["color"].string_param == "blue"
        assert each.id.startswith("inf_") and each.id != "inf_forged"
        assert beside == (("traceparent", TRACE),)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_huge_message_is_refused_also_where_it_travels_small(
    rig: Rig, triton: TritonServer, tmp_path: Path, compression: Any
) -> None:
    who = rig.licensee()
    config = before(triton, message_bytes=MESSAGE_BYTES)
    with grpc_serving(rig, tmp_path, config) as served:
        data = request("textgen", "a" * 50 * MESSAGE_BYTES).SerializeToString()
        with grpc.insecure_channel(served.address, compression=compression) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            with pytest.raises(grpc.RpcError) as raised:
                call(data, metadata=metadata(who.headers), timeout=CALL_SECONDS)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        sent(served, who, request("textgen"))  # and it goes on
    assert who.names() == ["reservation_held", "reservation_settled"]


def test_an_answer_that_is_too_large_is_parked_for_the_server_ran_it(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    asked = request("textgen", "w")
    add_number(asked, "MAX_TOKENS", 4096)
    with grpc_serving(rig, tmp_path, before(triton, message_bytes=4096)) as served:
        code, words = status(served, who, asked)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than this gateway carries" in words
        wait(lambda: who.names() == ["reservation_held", "usage_parked"])


def test_a_request_that_never_comes_is_not_waited_for(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    ended = threading.Event()

    def nothing() -> Any:
        ended.wait(20)
        yield from ()

    with (
        grpc_serving(rig, tmp_path, before(triton), read_seconds=0.3) as served,
        grpc.insecure_channel(served.address) as channel,
    ):
        call = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as raised:
            call(nothing(), metadata=metadata(who.headers), timeout=CALL_SECONDS)
    ended.set()
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert raised.value.details() == "the request did not arrive in time"


def test_an_inference_that_takes_longer_than_its_meter_allows_is_parked(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    meters = [{**each, "seconds": 1} for each in METERS if each["name"] == "slow"]
    with grpc_serving(rig, tmp_path, before(triton, meters=meters)) as served:
        code, words = status(served, who, slow(1_800))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert triton.grpc_address not in words
        wait(lambda: who.names() == ["reservation_held", "usage_parked"])
        assert who.charged_after_all() == {"requests": 1}, "what the request told is known"


def test_where_no_server_answers_no_money_is_held(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    with grpc_serving(rig, tmp_path, configured("127.0.0.1:1")) as served:
        for _ in range(3):
            code, words = status(served, who, request("textgen"))
            assert code is grpc.StatusCode.UNAVAILABLE
            assert "127.0.0.1" not in words
        with served.client() as client:
            assert client.is_server_live()
            assert not client.is_server_ready()
        # The first may have found out; whatever was held then is given back.
        wait(lambda: rig.tollbook.balance(who.customer).held == 0)
    assert who.names() in ([], ["reservation_held", "reservation_released"])


def test_a_server_that_is_killed_leaves_parked_records_and_is_found_again(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    names = ("slow", "textgen", "textgen_stream")
    meters = [each for each in METERS if each["name"] in names]
    found: list[tuple[Any, str]] = []
    with (
        a_triton(tmp_path / "triton", models=names) as server,
        grpc_serving(rig, tmp_path / "home", before(server, meters=meters)) as served,
    ):
        sent(served, who, request("textgen"))
        thread = threading.Thread(target=lambda: found.append(status(served, who, slow(5_000))))
        thread.start()
        wait(lambda: len(served.clients["shared"].sent) == 2)
        time.sleep(0.3)
        server.kill()
        thread.join(20)
        assert found == [(grpc.StatusCode.UNAVAILABLE, "the model's server does not answer")]
        wait(lambda: "usage_parked" in who.names())
        assert status(served, who, request("textgen"))[0] is grpc.StatusCode.UNAVAILABLE
        server.start()
        wait(lambda: served.clients["shared"].reachable)
        sent(served, who, request("textgen"))
        who.until(2)
    assert who.names().count("usage_parked") == 1


def test_a_server_that_is_killed_under_a_stream_ends_its_inference_and_not_the_stream(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    meters = [each for each in METERS if each["name"] == "textgen_stream"]
    with (
        a_triton(tmp_path / "triton", models=("textgen_stream",)) as server,
        grpc_serving(rig, tmp_path / "home", before(server, meters=meters)) as served,
        served.raw("ModelStreamInfer", stream=True) as call,
    ):
        stream = Stream(call, who)
        stream.send(asking("a b", 50, 50, id="lost"))
        wait(lambda: len(stream.pieces) >= 4)
        server.kill()
        wait(lambda: bool(stream.messages[-1].error_message))
        stream.send(asking("a b", 1, id="early"))
        wait(lambda: stream.messages[-1].infer_response.id == "early")
        server.start()
        wait(lambda: served.clients["shared"].reachable)
        stream.send(asking("a b", 1, id="again"))
        wait(lambda: stream.messages[-1].infer_response.id == "again")
        stream.close()
        produced = [each for each in stream.messages if each.infer_response.id == "lost"]
        first, second = who.until(2)
    assert produced[-1].error_message == "the model's server does not answer"
    assert stream.error is None
    assert first.usage == {"input_tokens": 2, "output_tokens": len(produced) - 1}
    assert second.usage == {"input_tokens": 2, "output_tokens": 1}


def test_the_words_of_a_server_name_the_clients_id_and_not_ours(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    with grpc_serving(rig, tmp_path, before(triton)) as served:
        for id, shown in (("mine", "[request id: mine]"), ("", "[request id: <id_unknown>]")):
            asked = request("textgen", id=id)
            asked.inputs[0].shape[:] = [1, 2]
            asked.raw_input_contents[0] *= 2
            code, words = status(served, who, asked)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert words.startswith(shown), words
        wait(lambda: who.names().count("reservation_released") == 2)


def test_a_port_that_is_taken_is_told_at_once(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    with grpc_serving(rig, tmp_path, before(triton)) as served:
        port = int(served.address.rpartition(":")[2])
        with pytest.raises(Unavailable, match="is not to be had"):
            rig.call(served.front.start("127.0.0.1", port))
