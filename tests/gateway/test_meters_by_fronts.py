"""Meters by a parameter of the answer and by a formula, over both protocols, to the charge."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import service_pb2 as pb

from adapters.grpc.messages import framed
from entrypoints.gateway.config import GatewayConfig
from tests.gateway.fake_grpc_server import FakeGrpc, saying
from tests.gateway.fake_http_server import fake_server, whole
from tests.gateway.grpc_serving import CALL_SECONDS, grpc_serving, metadata, request
from tests.gateway.http_serving import document, http_serving
from tests.gateway.rig import Licensee, Rig, configured

HELD, CHARGED = "reservation_held", "reservation_settled"
BY_PARAMETER = {
    "usage": {"output_tokens": {"response_parameter": "count"}},
    "estimate": {"output_tokens": {"constant": 9}},
}
BY_FORMULA = {
    "price_model": "computed",
    "usage": {
        "output_tokens": {"output": "OUTPUT_TOKENS"},
        "compute_units": {"formula": {"constant": "0.5", "output_tokens": "0.25"}},
    },
    "estimate": {"output_tokens": {"constant": 9}},
}
CASES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "parameter": (BY_PARAMETER, {"output_tokens": 7}),
    # A half, and a quarter for each of five tokens, in millionths.
    "formula": (BY_FORMULA, {"compute_units": 1_750_000, "output_tokens": 5}),
}
"""Meters, and what they make of an answer that says seven by its parameter and five by itself."""


def metered(meter: dict[str, Any], **address: str) -> GatewayConfig:
    return configured(**address, meters=[{"name": "textgen", **meter}])


def charged(who: Licensee) -> dict[str, int]:
    (charge,) = who.until(1)
    assert who.names() == [HELD, CHARGED]
    return dict(charge.usage)


@pytest.mark.parametrize("case", CASES)
def test_a_meter_counts_an_answer_over_http(rig: Rig, tmp_path: Path, case: str) -> None:
    meter, usage = CASES[case]
    who = rig.licensee()
    five = {"name": "OUTPUT_TOKENS", "datatype": "INT64", "shape": [1, 1], "data": [5]}
    said = json.dumps({"outputs": [five], "parameters": {"count": 7}}).encode()
    with (
        fake_server(whole(said)) as server,
        http_serving(rig, tmp_path, metered(meter, http=server.address)) as served,
    ):
        assert served.post(who, "textgen/infer", document()).status == 200
        assert charged(who) == usage


@pytest.mark.parametrize("case", CASES)
def test_a_meter_counts_an_answer_over_grpc(rig: Rig, tmp_path: Path, case: str) -> None:
    meter, usage = CASES[case]
    who = rig.licensee()
    with (
        answering(rig) as server,
        grpc_serving(rig, tmp_path, metered(meter, grpc=server.address)) as served,
        served.raw("ModelInfer") as infer,
    ):
        asked = request("textgen").SerializeToString()
        infer(asked, metadata=metadata(who.headers), timeout=CALL_SECONDS)
        assert charged(who) == usage


@contextmanager
def answering(rig: Rig) -> Iterator[FakeGrpc]:
    said = pb.ModelInferResponse(model_name="textgen")
    said.parameters["count"].int64_param = 7
    said.outputs.add(name="OUTPUT_TOKENS", datatype="INT64", shape=[1, 1])
    said.raw_output_contents.append((5).to_bytes(8, "little"))
    server = FakeGrpc(saying(framed(said.SerializeToString())))
    rig.call(server.start())
    try:
        yield server
    finally:
        rig.call(server.stop())
