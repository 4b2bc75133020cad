"""Unary inferences over gRPC with the public client: charged exactly, and seen as if direct."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as public
import tritonclient.grpc.aio as public_aio
from tollbook import receipt
from tollbook.tokens import TrustedKeys
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from adapters.triton.server import TritonServer
from domain.events import ReservationSettled
from entrypoints.bootstrap import license_secrets
from entrypoints.gateway.core import RECEIPT, REQUEST_ID, USAGE
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
from tests.gateway.rig import Licensee, Rig
from tests.support.triton import account, batch_of, tensor, text_inputs
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

TRIES = 20
"""So often at most it is asked at once until a batch has come of it."""


@pytest.fixture(scope="module")
def served(
    rig: Rig, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GrpcServed]:
    """Serve all models, once for this file."""
    from tests.support.triton import shared_triton

    home = tmp_path_factory.mktemp("home")
    with grpc_serving(rig, home, before(shared_triton(pytestconfig))) as serving:
        yield serving


def usage(charge: ReservationSettled) -> tuple[int, int]:
    return charge.usage["input_tokens"], charge.usage["output_tokens"]


def test_the_public_client_works_with_a_key_in_its_headers(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()
    with served.client() as client:
        found = client.infer("textgen", text_inputs("a b c", 5), headers=who.headers)
        assert len(found.as_numpy("OUT")[0][0].split()) == 5
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.get_server_metadata().name == "triton"
        assert client.is_model_ready("textgen", headers=who.headers)
        assert client.get_model_metadata("textgen", headers=who.headers).name == "textgen"
        assert client.get_model_config("textgen", headers=who.headers).config.max_batch_size == 8
    (charge,) = who.until(1)
    assert usage(charge) == (3, 5)


def test_the_public_client_of_asyncio_works_as_well(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()

    async def work() -> Any:
        async with public_aio.InferenceServerClient(served.address) as client:
            calls = (
                client.infer("textgen", text_inputs("a b", count), headers=who.headers)
                for count in (1, 2, 3)
            )
            return await asyncio.gather(*calls)

    assert [len(found.as_numpy("OUT")[0][0].split()) for found in asyncio.run(work())] == [1, 2, 3]
    assert sorted(map(usage, who.until(3))) == [(2, 1), (2, 2), (2, 3)]


def test_what_is_charged_is_what_the_model_itself_counted(
    rig: Rig, served: GrpcServed, triton: TritonServer
) -> None:
    who = rig.licensee()
    with served.client() as client:
        waiting = [
            client.async_infer(
                "textgen",
                text_inputs("w " * (1 + each % 7), 1 + each % 5),
                callback=lambda **_told: None,
                headers=who.headers,
            )
            for each in range(40)
        ]
        charges = who.until(40)
    assert len(waiting) == 40
    lines = {line["request_id"]: line for line in account(triton, "textgen")}
    for charge in charges:
        line = lines[charge.reservation]
        assert usage(charge) == (line["input_tokens"], line["output_tokens"])


def test_the_trailers_carry_usage_and_a_receipt_over_the_very_bytes(
    rig: Rig, served: GrpcServed
) -> None:
    import hashlib

    who = rig.licensee()
    data = request("textgen").SerializeToString()
    with served.raw("ModelInfer") as infer:
        body, call = infer.with_call(data, metadata=metadata(who.headers), timeout=CALL_SECONDS)
    told = dict(call.trailing_metadata())
    store: Any = rig.tollbook.store
    trusted = TrustedKeys(license_secrets(rig.database, store).public_keys())
    found = receipt.verify(told[RECEIPT], trusted, told[REQUEST_ID])
    assert found.request_hash == hashlib.sha256(data).hexdigest()
    assert found.response_hash == hashlib.sha256(body).hexdigest()
    (charge,) = who.until(1)
    assert json.loads(told[USAGE]) == charge.usage == found.usage
    assert (charge.request_hash, charge.response_hash) == (
        found.request_hash,
        found.response_hash,
    )


def test_the_answer_is_the_servers_but_for_nothing(
    rig: Rig, served: GrpcServed, triton: TritonServer
) -> None:
    who = rig.licensee()
    asked = request("textgen", id="mine")
    with public.InferenceServerClient(triton.grpc_address) as client:
        direct = client._client_stub.ModelInfer(asked)
    with served.raw("ModelInfer") as infer:
        body = infer(asked.SerializeToString(), metadata=metadata(who.headers), timeout=30)
    through = pb.ModelInferResponse.FromString(body)
    at = [each.name for each in direct.outputs].index("REQUEST_ID")
    # The model saw our id in place of the client's, and says so in this output.
    assert through.raw_output_contents[at][4:].startswith(b"inf_")
    through.raw_output_contents[at] = direct.raw_output_contents[at]
    assert through == direct


@pytest.mark.parametrize("named", [["OUT"], ["OUTPUT_TOKENS", "OUT"], ["OUT", "REQUEST_ID"]])
def test_a_subset_of_outputs_is_answered_as_asked_and_metered_in_full(
    rig: Rig, served: GrpcServed, triton: TritonServer, named: list[str]
) -> None:
    who = rig.licensee()
    wanted = [public.InferRequestedOutput(name) for name in named]
    asked = ("textgen", text_inputs("a b", 4))
    with public.InferenceServerClient(triton.grpc_address) as client:
        direct = client.infer(*asked, outputs=wanted).get_response()
    with served.client() as client:
        found = client.infer(*asked, outputs=wanted, headers=who.headers)
    response = found.get_response()
    assert list(response.outputs) == list(direct.outputs)
    assert {each.name for each in response.outputs} == set(named)
    assert len(response.raw_output_contents) == len(named)
    assert len(found.as_numpy("OUT")[0][0].split()) == 4  # contents stay beside their outputs
    assert usage(who.until(1)[0]) == (2, 4)


@pytest.mark.parametrize("id", ["", "again", "inf_forged"])
def test_the_clients_id_or_its_absence_is_restored(
    rig: Rig, served: GrpcServed, triton: TritonServer, id: str
) -> None:
    who = rig.licensee()
    with served.client() as client:
        for _ in range(2):  # the same id twice is two inferences
            found = client.infer("textgen", text_inputs("a"), request_id=id, headers=who.headers)
            assert found.get_response().id == id
    charges = who.until(2)
    seen = {line["request_id"] for line in account(triton, "textgen")}
    assert {charge.reservation for charge in charges} <= seen
    assert id not in seen - {""} or id == ""


def test_a_batched_request_is_charged_for_all_of_its_rows(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()
    inputs = [
        tensor("TEXT", "BYTES", [[b"a b"], [b"c d e"]]),
        tensor("MAX_TOKENS", "INT32", [[3], [4]]),
    ]
    with served.client() as client:
        client.infer("textgen", inputs, headers=who.headers)
    assert usage(who.until(1)[0]) == (5, 7)


def test_contents_by_type_are_metered_as_packed_ones_are(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()
    asked = pb.ModelInferRequest(model_name="textgen")
    text = asked.inputs.add(name="TEXT", datatype="BYTES", shape=[1, 1])
    text.contents.bytes_contents.append(b"one two")
    limit = asked.inputs.add(name="MAX_TOKENS", datatype="INT32", shape=[1, 1])
    limit.contents.int_contents.append(6)
    with served.raw("ModelInfer") as infer:
        infer(asked.SerializeToString(), metadata=metadata(who.headers), timeout=CALL_SECONDS)
    assert usage(who.until(1)[0]) == (2, 6)


def test_an_ensemble_is_counted_once(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()
    with served.client() as client:
        found = client.infer("pipeline", text_inputs("a b c", 5), headers=who.headers)
    (charge,) = who.until(1)
    assert usage(charge) == (
        int(found.as_numpy("INPUT_TOKENS").sum()),
        int(found.as_numpy("OUTPUT_TOKENS").sum()),
    )
    assert who.names() == ["reservation_held", "reservation_settled"]


def test_a_cached_answer_is_charged_as_one_though_it_repeats_the_first_ones_usage(
    rig: Rig, served: GrpcServed
) -> None:
    who, text = rig.licensee(), f"cached {time.monotonic_ns()}"
    wanted = [public.InferRequestedOutput("OUT")]
    with served.client() as client:
        for _ in range(2):
            client.infer("textgen_cached", text_inputs(text), outputs=wanted, headers=who.headers)
    first, second = who.until(2)
    assert first.usage == {"input_tokens": 2, "output_tokens": 16}
    assert second.usage == {"cached_input_tokens": 2, "output_tokens": 16}


def test_an_image_and_pages_are_counted_by_their_shapes(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()
    images = tensor("IMAGE", "UINT8", np.zeros((3, 4, 4, 3), np.uint8))
    with served.client() as client:
        client.infer("image", [images], headers=who.headers)
        client.infer("document", [tensor("PAGES", "BYTES", [b"one", b"two"])], headers=who.headers)
    assert [charge.usage for charge in who.until(2)] == [{"images": 3}, {"pages": 2}]


def test_an_error_inside_a_batch_is_that_requests_alone_and_free(
    rig: Rig, served: GrpcServed, triton: TritonServer
) -> None:
    tries = (failed_beside_others(rig.licensee(), served, triton) for _ in range(TRIES))
    assert any(tries), "the one that fails never shared a batch with one that does not"


def failed_beside_others(who: Licensee, served: GrpcServed, triton: TritonServer) -> bool:
    """Ask four at once, of which one fails, and say whether that shared another one's batch."""

    async def work() -> list[Any]:
        async with public_aio.InferenceServerClient(served.address) as client:
            calls = (
                client.infer("textgen", text_inputs(text), headers=who.headers)
                for text in ("a", "b", "boom", "c")
            )
            return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(work())
    assert [isinstance(each, BaseException) for each in answers] == [False, False, True, False]
    assert isinstance(answers[2], InferenceServerException)
    assert answers[2].status() == "StatusCode.INTERNAL"
    assert answers[2].message() == "boom: the text is refused"
    charged = {charge.reservation for charge in who.until(3)}
    wait(lambda: len(who.releases()) == 1)
    assert who.rig.tollbook.balance(who.customer).held == 0
    return bool(charged & batch_of(triton, "textgen", who.releases()[0].reservation))


def slow_request(milliseconds: int) -> bytes:
    asked = request("slow")
    add_number(asked, "DELAY_MS", milliseconds)
    return bytes(asked.SerializeToString())


@pytest.mark.parametrize("how", ["deadline", "cancel"])
def test_a_client_that_leaves_a_unary_call_pays_for_it_once(
    rig: Rig, served: GrpcServed, how: str
) -> None:
    who = rig.licensee()
    with served.raw("ModelInfer") as infer:
        deadline = 2.0 if how == "deadline" else CALL_SECONDS
        before_it = len(served.clients["shared"].sent)
        call: Any = infer.future(
            slow_request(3_500), metadata=metadata(who.headers), timeout=deadline
        )
        if how == "cancel":
            wait(lambda: len(served.clients["shared"].sent) > before_it)
            time.sleep(0.5)
            call.cancel()
        with pytest.raises((grpc.RpcError, grpc.FutureCancelledError)):
            call.result()
    assert who.until(1)[0].usage == {"requests": 1}
    served.idle()
    assert who.names() == ["reservation_held", "reservation_settled"]
