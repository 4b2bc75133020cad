"""Inferences over HTTP with the public client: charged exactly, and seen as if direct."""

import asyncio
import hashlib
import json
from typing import Any

import numpy as np
import pytest
import tritonclient.http as public
import tritonclient.http.aio as public_aio
from tollbook import receipt
from tollbook.tokens import TrustedKeys
from tritonclient.utils import InferenceServerException

from adapters.triton.server import TritonServer
from domain.events import ReservationSettled
from entrypoints.gateway.core import RECEIPT, REMAINING, REQUEST_ID, USAGE
from tests.gateway.http_serving import (
    HttpServed,
    ask,
    document,
    tensor,
    texts,
    wait,
)
from tests.gateway.http_serving import served as served  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.http_serving import trusted as trusted  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import Rig
from tests.support.triton import account


def usage(charge: ReservationSettled) -> tuple[int, int]:
    return charge.usage["input_tokens"], charge.usage["output_tokens"]


def test_the_public_client_works_with_a_key_in_its_headers(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    with served.client() as client:
        found = client.infer("textgen", texts("a b c", 5), headers=who.headers)
        assert len(found.as_numpy("OUT")[0][0].split()) == 5
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.get_server_metadata()["name"] == "triton"
        assert client.is_model_ready("textgen", headers=who.headers)
        assert client.get_model_metadata("textgen", headers=who.headers)["name"] == "textgen"
        assert client.get_model_config("textgen", headers=who.headers)["max_batch_size"] == 8
    (charge,) = who.until(1)
    assert usage(charge) == (3, 5)


def test_the_public_client_of_asyncio_works_as_well(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()

    async def work() -> list[Any]:
        async with public_aio.InferenceServerClient(served.address) as client:
            calls = (
                client.infer("textgen", texts("a b", count), headers=who.headers)
                for count in (1, 2, 3)
            )
            return list(await asyncio.gather(*calls))

    found = asyncio.run(work())
    assert [len(each.as_numpy("OUT")[0][0].split()) for each in found] == [1, 2, 3]
    assert sorted(map(usage, who.until(3))) == [(2, 1), (2, 2), (2, 3)]


def test_many_at_once_over_the_public_client_are_charged_as_the_model_counted(
    rig: Rig, triton: TritonServer, served: HttpServed
) -> None:
    who = rig.licensee()
    with served.client(concurrency=8) as client:
        waiting = [
            client.async_infer("textgen", texts("w " * words, count), headers=who.headers)
            for words in range(1, 9)
            for count in (1, 7)
        ]
        for each in waiting:
            each.get_result()
    charges = {each.reservation: usage(each) for each in who.until(16)}
    counted = {
        line["request_id"]: (line["input_tokens"], line["output_tokens"])
        for line in account(triton, "textgen")
        if line["request_id"] in charges
    }
    assert charges == counted


ALIKE: dict[str, tuple[str, dict[str, Any]]] = {
    "one output in JSON": ("textgen", document(id="mine", outputs=[{"name": "OUT"}])),
    "one output in binary": (
        "textgen",
        document(id="mine", outputs=[{"name": "OUT", "parameters": {"binary_data": True}}]),
    ),
    "a wanted output in binary, another one not asked for": (
        "textgen",
        document(
            "w x y z",
            outputs=[
                {"name": "OUTPUT_TOKENS", "parameters": {"binary_data": True}},
                {"name": "OUT"},
            ],
        ),
    ),
    "the first, in an order of its own": (
        "textgen",
        document(outputs=[{"name": "OUTPUT_TOKENS"}, {"name": "OUT"}, {"name": "INPUT_TOKENS"}]),
    ),
    "everything in binary": (
        "textgen",
        document(
            outputs=[{"name": "OUT"}, {"name": "INPUT_TOKENS"}],
            parameters={"binary_data_output": True},
        ),
    ),
    "an output as classes": (
        "identity",
        {
            "inputs": [{"name": "IN", "shape": [3], "datatype": "FP32", "data": [1, 3, 2]}],
            "outputs": [{"name": "OUT", "parameters": {"classification": 2}}],
        },
    ),
    "parameters of the client": (
        "textgen",
        document(outputs=[{"name": "OUT"}], parameters={"mine": "x", "count": 3, "yes": True}),
    ),
    "an error of the model": ("textgen", document("boom", id="mine")),
    "an error of the request": ("identity", {"id": "mine", "inputs": []}),
    "an input that is not there": (
        "identity",
        {"inputs": [{"name": "NO", "shape": [1], "datatype": "FP32", "data": [1]}]},
    ),
}


@pytest.mark.parametrize("name", ALIKE)
def test_the_answer_is_the_servers_to_the_byte(
    rig: Rig, triton: TritonServer, served: HttpServed, name: str
) -> None:
    model, asked = ALIKE[name]
    direct = ask(triton.http_address, "POST", f"/v2/models/{model}/infer", asked)
    through = served.post(rig.licensee(), f"{model}/infer", asked)
    assert through.status == direct.status
    assert through.body == direct.body
    for header in ("content-type", "content-length", "inference-header-content-length"):
        assert through.headers.get(header) == direct.headers.get(header)


def test_numbers_that_are_none_and_numbers_at_the_edge_pass_unchanged(
    rig: Rig, triton: TritonServer, served: HttpServed
) -> None:
    text = (
        b'{ "inputs" : [ {"name":"IN","shape":[7],"datatype":"FP32",'
        b'"data":[NaN,Infinity,-Infinity,1e-45,3.4028234e38,0.1,16777217]} ] }'
    )
    direct = ask(triton.http_address, "POST", "/v2/models/identity/infer", text)
    assert b"NaN" in direct.body
    assert served.post(rig.licensee(), "identity/infer", text).body == direct.body
    far = text.replace(b"0.1", b"1e400")
    direct = ask(triton.http_address, "POST", "/v2/models/identity/infer", far)
    assert direct.status != 200
    told = served.post(rig.licensee(), "identity/infer", far)
    assert told.status == direct.status
    # Only the place is another one, as the id stands before it.
    assert told.body.split(b" at ")[0] == direct.body.split(b" at ")[0]


@pytest.mark.parametrize("binary", [False, True])
def test_a_subset_of_outputs_is_answered_as_asked_and_metered_in_full(
    rig: Rig, served: HttpServed, binary: bool
) -> None:
    who = rig.licensee()
    outputs = [public.InferRequestedOutput("OUT", binary_data=binary)]
    with served.client() as client:
        found = client.infer("textgen", texts("a b", 4), headers=who.headers, outputs=outputs)
    assert [each["name"] for each in found.get_response()["outputs"]] == ["OUT"]
    assert len(found.as_numpy("OUT")[0][0].split()) == 4
    assert usage(who.until(1)[0]) == (2, 4)


@pytest.mark.parametrize("id", [None, "", "mine", 'q"uo\\te', "grün"])
def test_the_clients_id_or_its_absence_is_restored(
    rig: Rig, triton: TritonServer, served: HttpServed, id: str | None
) -> None:
    who = rig.licensee()
    asked = document(outputs=[{"name": "OUT"}])
    if id is not None:
        asked["id"] = id
    through = served.post(who, "textgen/infer", asked)
    assert through.json.get("id") == (id or None)
    assert through.body == ask(triton.http_address, "POST", "/v2/models/textgen/infer", asked).body
    assert through.headers["tollbook-request-id"] == who.until(1)[0].reservation


def test_two_requests_with_one_id_are_two_inferences(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    for _ in range(2):
        assert served.post(who, "textgen/infer", document(id="same")).json["id"] == "same"
    assert len({each.reservation for each in who.until(2)}) == 2


def test_the_headers_carry_usage_and_a_receipt_over_the_very_bytes(
    rig: Rig, served: HttpServed, trusted: TrustedKeys
) -> None:
    who = rig.licensee()
    body = json.dumps(document("a b c", 5, outputs=[{"name": "OUT"}])).encode()
    answer = served.post(who, "textgen/infer", body)
    (charge,) = who.until(1)
    headers = answer.headers
    assert headers[REQUEST_ID] == charge.reservation
    assert json.loads(headers[USAGE]) == {"input_tokens": 3, "output_tokens": 5}
    assert isinstance(json.loads(headers[REMAINING]), list)
    told = receipt.verify(headers[RECEIPT], trusted, headers[REQUEST_ID])
    assert told.request_hash == hashlib.sha256(body).hexdigest()
    assert told.response_hash == hashlib.sha256(answer.body).hexdigest()
    assert charge.response_hash == told.response_hash


def test_a_batched_request_is_charged_for_all_of_its_rows(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    inputs = [
        tensor("TEXT", "BYTES", [[b"a b"], [b"c d e"]]),
        tensor("MAX_TOKENS", "INT32", [[2], [7]]),
    ]
    with served.client() as client:
        client.infer("textgen", inputs, headers=who.headers)
    assert usage(who.until(1)[0]) == (5, 9)


def test_an_ensemble_is_counted_once(rig: Rig, triton: TritonServer, served: HttpServed) -> None:
    who = rig.licensee()
    with served.client() as client:
        client.infer("pipeline", texts("a b", 4), headers=who.headers)
    (charge,) = who.until(1)
    (line,) = [
        each for each in account(triton, "textgen") if each["request_id"] == charge.reservation
    ]
    assert usage(charge) == (line["input_tokens"], line["output_tokens"])


def test_a_cached_answer_is_charged_as_one_though_it_repeats_the_first_ones_usage(
    rig: Rig, served: HttpServed
) -> None:
    who = rig.licensee()
    asked = document(f"only once {who.customer}", 3, outputs=[{"name": "OUT"}])
    first, second = (served.post(who, "textgen_cached/infer", asked).json for _ in range(2))
    assert first == second
    found = [each.usage for each in who.until(2)]
    assert found[0] == {"input_tokens": 3, "output_tokens": 3}
    assert found[1] == {"cached_input_tokens": 3, "output_tokens": 3}


def test_an_image_and_pages_are_counted_by_their_shapes(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    image = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    with served.client() as client:
        client.infer("image", [tensor("IMAGE", "UINT8", image)], headers=who.headers)
        pages = [tensor("PAGES", "BYTES", [b"one", b"two", b"three"])]
        client.infer("document", pages, headers=who.headers)
    assert [each.usage for each in who.until(2)] == [{"images": 2}, {"pages": 3}]


def test_an_error_inside_a_batch_is_that_requests_alone_and_free(
    rig: Rig, served: HttpServed
) -> None:
    who = rig.licensee()
    with served.client(concurrency=6) as client:
        waiting = [
            client.async_infer("textgen", texts(text, 2), headers=who.headers)
            for text in ("a", "boom", "b", "c", "boom", "d")
        ]
        failures = 0
        for each in waiting:
            try:
                each.get_result()
            except InferenceServerException as error:
                failures += "boom" in str(error)
    assert failures == 2
    who.until(4)
    wait(lambda: who.names().count("reservation_released") == 2)
