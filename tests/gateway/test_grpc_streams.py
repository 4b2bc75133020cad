"""Streams over gRPC: every request of one is an inference of its own, from admission to charge."""

import asyncio
import hashlib
import queue
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import tritonclient.grpc.aio as public_aio
from tollbook import receipt
from tollbook.tokens import TrustedKeys
from tritonclient.grpc import service_pb2 as pb

from adapters.triton.server import TritonServer
from domain.events import ReservationSettled
from entrypoints.bootstrap import license_secrets
from entrypoints.gateway.core import RECEIPT, REQUEST_ID
from entrypoints.gateway.grpc_streams import AT_ONCE
from tests.gateway.grpc_serving import (
    GrpcServed,
    before,
    grpc_serving,
    request,
    wait,
)
from tests.gateway.grpc_streaming import Stream, asking, exchanged
from tests.gateway.rig import Rig
from tests.support.triton import shared_triton, text_inputs
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

WANTS_LAST = "triton_enable_empty_final_response"


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


def test_the_public_client_streams_and_every_token_is_charged(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()
    found: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with served.client() as client:
        client.start_stream(lambda result, error: found.put((result, error)), headers=who.headers)
        client.async_stream_infer(
            "textgen_stream", text_inputs("a b", 5, batched=False), request_id="mine"
        )
        answers = [found.get(timeout=20) for _ in range(5)]
        client.stop_stream()
    assert found.empty()  # it did not ask for an empty last one
    assert [error for _, error in answers] == [None] * 5
    assert {result.get_response().id for result, _ in answers} == {"mine"}
    assert usage(who.until(1)[0]) == (2, 5)


def test_the_public_client_may_ask_for_the_empty_last_response(
    rig: Rig, served: GrpcServed
) -> None:
    who = rig.licensee()
    found: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with served.client() as client:
        client.start_stream(lambda result, error: found.put((result, error)), headers=who.headers)
        client.async_stream_infer(
            "textgen_stream",
            text_inputs("a b", 2, batched=False),
            enable_empty_final_response=True,
        )
        answers = [found.get(timeout=20)[0].get_response() for _ in range(3)]
        client.stop_stream()
    finals = [each.parameters["triton_final_response"].bool_param for each in answers]
    assert finals == [False, False, True]
    assert not answers[-1].outputs


def test_the_public_client_of_asyncio_streams(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()

    async def requests() -> Any:
        inputs = text_inputs("a b c", 4, batched=False)
        yield {"model_name": "textgen_stream", "inputs": inputs}

    async def work() -> list[Any]:
        async with public_aio.InferenceServerClient(served.address) as client:
            stream = client.stream_infer(requests(), headers=who.headers)
            return [answer async for answer in stream]

    answers = asyncio.run(work())
    assert [error for _, error in answers] == [None] * 4
    assert usage(who.until(1)[0]) == (3, 4)


def test_the_messages_are_the_servers_but_for_the_id_that_the_model_saw(
    rig: Rig, served: GrpcServed, triton: TritonServer
) -> None:
    who = rig.licensee()
    asked = pb.ModelInferRequest.FromString(asking("a b", 3, id="mine"))
    asked.parameters[WANTS_LAST].bool_param = True
    data = asked.SerializeToString()
    through = exchanged(served, who, data).messages
    with grpc.insecure_channel(triton.grpc_address) as channel:
        path = "/inference.GRPCInferenceService/ModelStreamInfer"
        pieces = list(channel.stream_stream(path)(iter([data])))
    direct = [pb.ModelStreamInferResponse.FromString(piece) for piece in pieces]
    for message in (*through, *direct):
        if message.infer_response.outputs:
            assert message.infer_response.outputs[3].name == "REQUEST_ID"
            message.infer_response.raw_output_contents[3] = b""
    assert through == direct
    assert len(direct) == 4


def test_the_trailers_carry_the_last_inferences_receipt_over_its_messages(
    rig: Rig, served: GrpcServed
) -> None:
    who = rig.licensee()
    data = asking("a b", 3)
    stream = exchanged(served, who, data)
    told = dict(stream.call.trailing_metadata())
    store: Any = rig.tollbook.store
    trusted = TrustedKeys(license_secrets(rig.database, store).public_keys())
    found = receipt.verify(told[RECEIPT], trusted, told[REQUEST_ID])
    assert found.usage == {"input_tokens": 2, "output_tokens": 3}
    assert found.request_hash == hashlib.sha256(data).hexdigest()
    framed = b"".join(len(piece).to_bytes(4, "big") + piece for piece in stream.pieces)
    assert found.response_hash == hashlib.sha256(framed).hexdigest()


def test_inferences_of_one_stream_interleave_and_each_is_charged(
    rig: Rig, served: GrpcServed
) -> None:
    who = rig.licensee()
    slow, quick = asking("a b c", 4, 500, id="slow"), asking("d", 6, id="quick")
    stream = exchanged(served, who, slow, quick)
    ids = [message.infer_response.id for message in stream.messages]
    assert (ids.count("slow"), ids.count("quick")) == (4, 6)
    assert max(n for n, id in enumerate(ids) if id == "quick") < len(ids) - 1
    assert sorted(map(usage, who.until(2))) == [(1, 6), (3, 4)]


def test_a_refusal_is_a_message_with_its_clients_id_and_the_stream_goes_on(
    rig: Rig, served: GrpcServed
) -> None:
    who = rig.licensee()
    reserved = pb.ModelInferRequest.FromString(asking("a", 1, id="reserved"))
    reserved.parameters["triton_made_up"].bool_param = True
    stream = exchanged(
        served,
        who,
        b"\xff\xff no message",
        request("no-such-model", id="unknown").SerializeToString(),
        reserved.SerializeToString(),
        asking("a b", 2, id="good"),
    )
    refusals = [each for each in stream.messages if each.error_message]
    assert {each.infer_response.id for each in refusals} == {"", "unknown", "reserved"}
    answers = [each for each in stream.messages if not each.error_message]
    assert [each.infer_response.id for each in answers] == ["good", "good"]
    assert stream.error is None
    assert usage(who.until(1)[0]) == (2, 2)
    assert who.names() == ["reservation_held", "reservation_settled"]


def test_an_error_of_the_server_has_the_clients_id_and_nothing_is_charged(
    rig: Rig, served: GrpcServed
) -> None:
    who = rig.licensee()
    boom, good = asking("boom", 3, id="bad"), asking("a", 1, id="good")
    stream = exchanged(served, who, boom, good)
    (failure,) = [each for each in stream.messages if each.error_message]
    assert failure.error_message == "boom: the text is refused"
    assert failure.infer_response.id == "bad"
    who.until(1)
    wait(lambda: "reservation_released" in who.names())
    assert rig.tollbook.balance(who.customer).held == 0


def test_a_stream_that_fails_half_way_is_charged_for_what_it_produced(
    rig: Rig, served: GrpcServed
) -> None:
    who = rig.licensee()
    stream = exchanged(served, who, asking("a crumble", 6, id="x"))
    assert [bool(each.error_message) for each in stream.messages] == [False] * 3 + [True]
    assert usage(who.until(1)[0]) == (2, 3)


def test_an_ordinary_model_answers_on_a_stream_as_well(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()
    asked = request("textgen", id="one")
    asked.outputs.add(name="OUT")
    boom = request("textgen", "boom", id="two")
    stream = exchanged(served, who, asked.SerializeToString(), boom.SerializeToString())
    found = {each.infer_response.id: each for each in stream.messages}
    assert [each.name for each in found["one"].infer_response.outputs] == ["OUT"]
    assert len(found["one"].infer_response.raw_output_contents) == 1
    assert found["two"].error_message == "boom: the text is refused"
    assert usage(who.until(1)[0]) == (3, 16)


def test_more_inferences_than_run_at_once_all_come_about(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()
    requests = [asking("a", 2, 500, id=f"n{each}") for each in range(80)]
    seen = 0
    with served.raw("ModelStreamInfer", stream=True) as call:
        stream = Stream(call, who)
        stream.send(*requests)
        while len(stream.pieces) < 160 and stream.error is None:
            seen = max(seen, len(served.gateway.running))
            time.sleep(0.005)
        stream.close()
    assert seen == AT_ONCE
    ids = [each.infer_response.id for each in stream.messages]
    assert sorted(ids) == sorted([f"n{each}" for each in range(80)] * 2)
    assert len(who.until(80)) == 80


def test_requests_of_a_sequence_wait_for_each_other(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()
    requests = []
    for each in range(4):
        made = pb.ModelInferRequest.FromString(asking("a", 3, 20, id=f"n{each}"))
        made.parameters["sequence_id"].int64_param = 7
        requests.append(made.SerializeToString())
    stream = exchanged(served, who, *requests)
    ids = [each.infer_response.id for each in stream.messages]
    assert ids == [id for id in ("n0", "n1", "n2", "n3") for _ in range(3)]
    who.until(4)
