"""Requests that only some models do not survive, and texts that others would suffer from.

Those models are made here: one is told the number of its sequence, one takes a number of no axis.
"""

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from adapters.triton.server import TritonServer
from tests.gateway.grpc_serving import GrpcServed, grpc_serving, metadata
from tests.gateway.http_serving import HttpServed, ask, before, http_serving
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import Rig, configured
from tests.support.triton import a_triton, wait_until

NUMBER = 'input [ { name: "IN" data_type: TYPE_FP32 dims: [ 1 ]%s } ]'
CONFIG = """
backend: "python"
max_batch_size: 8
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
CONFIGS = {
    "numbered": CONFIG
    + NUMBER % ""
    + """
sequence_batching {
  direct {}
  control_input [
    { name: "CORR" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] }
  ]
}
""",
    "scalar": CONFIG + NUMBER % " reshape { shape: [ ] }",
}
MODEL = '''
"""A number, given back."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            given = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            out = pb_utils.Tensor("OUT", given.reshape((-1, 1)))
            answers.append(pb_utils.InferenceResponse([out]))
        return answers
'''
METERS = [
    {"name": name, "price_model": "slow", "usage": {"requests": {"constant": 1}}}
    for name in CONFIGS
]
ONE = {"name": "IN", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}
CUT = b"\xff\xff\xff\xffab"
"""A text of which two bytes are there, and almost all are missing."""
TWO = 2 * b"\x01\x00\x00\x00a"
"""Two texts where there is to be one."""


class Stage(NamedTuple):
    """A Triton of these models, and a gateway in each protocol."""

    triton: TritonServer
    grpc: GrpcServed
    http: HttpServed


@pytest.fixture(scope="module")
def stage(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Serve them."""
    folder = tmp_path_factory.mktemp("deadly")
    for name, text in CONFIGS.items():
        code = folder / "models" / name / "1"
        code.mkdir(parents=True)
        (code / "model.py").write_text(MODEL)
        (code.parent / "config.pbtxt").write_text(text)
    with ExitStack() as stack:
        it = stack.enter_context(a_triton(folder / "triton", repository=folder / "models"))
        config = configured(it.grpc_address, it.http_address, meters=METERS)
        yield Stage(
            it,
            stack.enter_context(grpc_serving(rig, folder / "grpc", config)),
            stack.enter_context(http_serving(rig, folder / "http", config)),
        )


def test_a_text_names_no_sequence_of_a_model_that_is_told_numbers(rig: Rig, stage: Stage) -> None:
    who = rig.licensee()
    begun = {"sequence_start": True, "sequence_end": True}
    for sequence, status in (("a0", 422), (7, 200)):
        body = {"inputs": [ONE], "parameters": {"sequence_id": sequence, **begun}}
        answer = stage.http.post(who, "numbered/infer", body)
        assert answer.status == status, answer.body
    made = pb.ModelInferRequest(model_name="numbered")
    made.inputs.add(name="IN", datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(1.0)
    made.parameters["sequence_id"].string_param = "a0"
    with stage.grpc.raw("ModelInfer") as infer, pytest.raises(grpc.RpcError) as raised:
        infer(made.SerializeToString(), metadata=metadata(who.headers), timeout=30)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "parameters.sequence_id is 'a0'" in raised.value.details()
    assert stage.triton.is_ready()


@pytest.mark.parametrize("body", [{"IN": []}, {"IN": [[]]}, {"parameters": {"IN": []}}], ids=str)
def test_generate_takes_no_empty_list_where_an_element_has_to_be(
    rig: Rig, stage: Stage, body: Any
) -> None:
    answer = stage.http.post(rig.licensee(), "scalar/generate", body)
    assert (answer.status, answer.json["field"]) == (422, "IN")
    assert stage.http.post(rig.licensee(), "scalar/generate", {"IN": [1.0]}).status == 200


def test_a_triton_dies_of_one(stage: Stage) -> None:
    host = http.client.HTTPConnection(stage.triton.http_address, timeout=10)
    with suppress(OSError, http.client.HTTPException):
        host.request("POST", "/v2/models/scalar/generate", json.dumps({"IN": []}))
        host.getresponse().read()
    host.close()
    wait_until(lambda: not stage.triton.is_ready())
    stage.triton.kill()
    stage.triton.start()


@pytest.fixture(scope="module")
def own_models(
    rig: Rig, triton: TritonServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GrpcServed, HttpServed]]:
    """Serve the models of the other tests."""
    homes: list[Path] = [tmp_path_factory.mktemp("home") for _ in range(2)]
    with ExitStack() as stack:
        yield (
            stack.enter_context(grpc_serving(rig, homes[0], before(triton))),
            stack.enter_context(http_serving(rig, homes[1], before(triton))),
        )


@pytest.mark.parametrize("packed", [CUT, TWO, b""])
def test_texts_that_are_cut_or_too_many_are_refused_though_no_meter_reads_them(
    rig: Rig, own_models: tuple[GrpcServed, HttpServed], packed: bytes
) -> None:
    who = rig.licensee()
    made = pb.ModelInferRequest(model_name="slow")
    made.inputs.add(name="TEXT", datatype="BYTES", shape=[1, 1])
    made.raw_input_contents.append(packed)
    with own_models[0].raw("ModelInfer") as infer, pytest.raises(grpc.RpcError) as raised:
        infer(made.SerializeToString(), metadata=metadata(who.headers), timeout=30)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert json.loads(dict(raised.value.trailing_metadata())["tollbook-problem"])["field"]
    given: dict[str, Any] = {"name": "TEXT", "shape": [1, 1], "datatype": "BYTES"}
    given |= {"parameters": {"binary_data_size": len(packed)}}
    head = json.dumps({"inputs": [given]}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    answer = own_models[1].post(who, "slow/infer", head + packed, **length)
    assert answer.status == 422
    assert who.names() == []


def test_a_shape_that_json_cannot_fill_is_refused_and_generate_takes_an_empty_list_where_one_may_be(
    rig: Rig, triton: TritonServer, own_models: tuple[GrpcServed, HttpServed]
) -> None:
    """A server makes room for as many elements as are told, before it looks for them."""
    who, front = rig.licensee(), own_models[1]
    given = {**ONE, "shape": [2**39]}
    answer = front.post(who, "identity/infer", {"inputs": [given]})
    assert (answer.status, answer.json["field"]) == (422, "IN.shape")
    direct = ask(triton.http_address, "POST", "/v2/models/document/generate", {"PAGES": []})
    assert front.post(who, "document/generate", {"PAGES": []}).body == direct.body
