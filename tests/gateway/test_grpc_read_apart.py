"""Over gRPC: what Triton would read otherwise than the gateway, and what takes long to read."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from adapters.triton.grpc_client import SERVICE
from entrypoints.gateway import grpc_messages as messages
from tests.gateway.grpc_serving import (
    CALL_SECONDS,
    GrpcServed,
    add_number,
    before,
    grpc_serving,
    metadata,
    request,
)
from tests.gateway.held_up import HeldUp
from tests.gateway.rig import Rig
from tests.support.triton import shared_triton

EMPTY_INPUT = b"\x2a\x00"
"""Two bytes of which a reader makes a whole tensor."""


@pytest.fixture(scope="module")
def served(
    rig: Rig, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GrpcServed]:
    """Serve all models, once for this file, with the bound on messages that is the default."""
    config = before(shared_triton(pytestconfig))
    with grpc_serving(rig, tmp_path_factory.mktemp("home"), config) as serving:
        yield serving


def numbered(name: str) -> Any:
    made = request("textgen")
    add_number(made, name, 300)
    return made


def with_output(name: str) -> Any:
    made = request("textgen")
    made.outputs.add(name=name)
    return made


def with_parameter(name: str) -> Any:
    made = request("textgen")
    made.parameters[name].int64_param = 300
    return made


@pytest.mark.parametrize(
    "asked",
    [
        numbered("MAX_TOKENS\0"),
        numbered("MAX_TOKENS\0x"),
        with_output("OUT\0"),
        with_parameter("max_tokens\0"),
    ],
)
def test_a_name_that_triton_would_cut_at_a_zero_is_refused_and_runs_nowhere(
    rig: Rig, served: GrpcServed, asked: Any
) -> None:
    """Triton makes 300 tokens of `MAX_TOKENS` and a zero, where a hold for 16 was asked for."""
    who = rig.licensee(amount="0.00004")
    count = len(served.clients["shared"].sent)
    assert status_of(served, who.headers, asked.SerializeToString()) == "INVALID_ARGUMENT"
    assert (who.names(), len(served.clients["shared"].sent)) == ([], count)


def counted_numbers() -> bytes:
    made = request("textgen")
    made.inputs.add(name="MAX_TOKENS", datatype="UINT8", shape=[1, 60_000_000])
    made.raw_input_contents.append(b"\1" * 60_000_000)
    return bytes(made.SerializeToString())


def listed_numbers(count: int) -> bytes:
    made = pb.ModelInferRequest(model_name="textgen")
    text = made.inputs.add(name="TEXT", datatype="BYTES", shape=[1, 1])
    text.contents.bytes_contents.append(b"a b c")
    listed = made.inputs.add(name="MAX_TOKENS", datatype="INT32", shape=[1, count])
    listed.contents.int_contents.extend([1] * count)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(
    "make",
    [
        lambda: request("textgen").SerializeToString() + EMPTY_INPUT * 30_000_000,
        lambda: request("textgen").SerializeToString() + b"\x3a\x00" * 30_000_000,
        lambda: b"\x2a\x80\x80\x80\x0f" + b"\x2a\x00" * 15_728_640,
        counted_numbers,
        lambda: listed_numbers(6_000_000),
        lambda: listed_numbers(30_000_000),
    ],
    ids=["inputs", "contents", "contents of an input", "numbers", "listed", "all listed"],
)
def test_the_largest_message_holds_up_nobody_else_for_long(
    rig: Rig, served: GrpcServed, make: Any
) -> None:
    who = rig.licensee()
    data = make()
    with HeldUp(rig) as held_up:
        assert status_of(served, who.headers, data) == "INVALID_ARGUMENT"
    assert held_up.seconds < 1.5
    assert who.names() == []


def test_a_large_image_passes_however_its_client_packs_it() -> None:
    packed = pb.ModelInferRequest(model_name="image")
    packed.inputs.add(name="IMAGE", datatype="UINT8", shape=[1, 60_000_000])
    packed.raw_input_contents.append(bytes(60_000_000))
    assert messages.parsed(packed.SerializeToString()) == packed
    listed = pb.ModelInferRequest(model_name="image")
    image = listed.inputs.add(name="IMAGE", datatype="FP32", shape=[1, 3, 512, 512])
    image.contents.fp32_contents.extend([0.5] * (3 * 512 * 512))
    assert messages.parsed(listed.SerializeToString()) == listed


def status_of(served: GrpcServed, headers: dict[str, str], data: bytes) -> str:
    """Return the status of an inference."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(served.address, options=options) as channel:
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        call = infer.future(data, metadata=metadata(headers), timeout=2 * CALL_SECONDS)
        return str(call.code().name)
