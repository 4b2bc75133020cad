"""Sequences are the customer's own, whatever number others give theirs."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import grpc
import pytest

from entrypoints.gateway.sequences import own
from tests.gateway.grpc_serving import GrpcServed, grpc_serving, metadata, request
from tests.gateway.http_serving import HttpServed, document, http_serving
from tests.gateway.rig import Licensee, Rig, configured
from tests.support.triton import a_triton

CONFIG = """
backend: "python"
max_batch_size: 8
input [ { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "OUT" data_type: TYPE_STRING dims: [ 1 ] } ]
sequence_batching { max_sequence_idle_microseconds: 60000000 }
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
MODEL = '''
"""Whatever was said in a sequence so far."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.said = {}

    def execute(self, requests):
        answers = []
        for request in requests:
            text = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().item()
            told = self.said.setdefault(request.correlation_id(), [])
            told.append(text.decode())
            out = np.array([[" | ".join(told).encode()]], dtype=object)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", out)]))
        return answers
'''
METER = {"name": "remember", "price_model": "slow", "usage": {"requests": {"constant": 1}}}


class Fronts(NamedTuple):
    """A gateway for each protocol, before one server."""

    http: HttpServed
    grpc: GrpcServed


@pytest.fixture(scope="module")
def fronts(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronts]:
    """Serve a model that remembers what it was told."""
    folder = tmp_path_factory.mktemp("sequences")
    code = folder / "models" / "remember" / "1"
    code.mkdir(parents=True)
    (code / "model.py").write_text(MODEL)
    (code.parent / "config.pbtxt").write_text(CONFIG)
    with a_triton(folder / "triton", repository=folder / "models") as triton:
        config = configured(triton.grpc_address, triton.http_address, meters=[METER])
        with (
            http_serving(rig, folder / "http", config) as over_http,
            grpc_serving(rig, folder / "grpc", config) as over_grpc,
        ):
            yield Fronts(over_http, over_grpc)


def infer(fronts: Fronts, who: Licensee, text: str, **given: Any) -> str:
    body = document(text, parameters=given)
    return fronts.http.post(who, "remember/infer", body).body.decode()


def infer_grpc(fronts: Fronts, who: Licensee, text: str, **given: Any) -> str:
    made = request("remember", text)
    for name, value in given.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(made.parameters[name], kind, value)
    try:
        with fronts.grpc.raw("ModelInfer") as call:
            told = call(made.SerializeToString(), metadata=metadata(who.headers), timeout=30)
    except grpc.RpcError as error:
        return str(error)
    return bytes(told).decode(errors="replace")


@pytest.mark.parametrize("way", [infer, infer_grpc])
@pytest.mark.parametrize("sequence", [7, "seven"])
def test_a_sequence_of_another_customer_cannot_be_joined_or_ended(
    rig: Rig, fronts: Fronts, way: Callable[..., str], sequence: Any
) -> None:
    first, second = rig.licensee(), rig.licensee()
    assert "secret" in way(fronts, first, "secret", sequence_id=sequence, sequence_start=True)
    assert "secret" not in way(fronts, second, "and?", sequence_id=sequence)
    assert "secret" not in way(fronts, second, "and?", sequence_id=own(first.customer, sequence))
    way(fronts, second, "mine", sequence_id=sequence, sequence_start=True, sequence_end=True)
    assert "secret | more" in way(fronts, first, "more", sequence_id=sequence, sequence_end=True)


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
@pytest.mark.parametrize("given", [{}, {"sequence_id": 7, "sequence_start": True}])
def test_generate_is_refused_where_it_would_kill_the_server(
    rig: Rig, fronts: Fronts, verb: str, given: dict[str, Any]
) -> None:
    who = rig.licensee()
    answer = fronts.http.post(who, f"remember/{verb}", {"TEXT": "a", **given})
    assert (answer.status, answer.json["field"]) == (422, "model")
    assert "still" in infer(fronts, who, "still", sequence_id=9, sequence_start=True)


@pytest.mark.parametrize("given", [0, "", None, True, [7]])
def test_what_names_no_sequence_stays_as_it_is(given: Any) -> None:
    assert own("ada", given) is given


def test_a_number_and_a_text_name_two_sequences_and_each_fits_its_field() -> None:
    numbers = {own("ada", each) for each in range(1, 2_000)}
    assert len(numbers) == 1_999
    assert all(0 < each < 2**63 for each in numbers)
    assert own("ada", "7") != f"{own('ada', 7):x}"
    assert len(own("ada", "x" * 1_000)) == 32
