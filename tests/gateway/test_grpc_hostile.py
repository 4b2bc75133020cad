"""What the gRPC front refuses, and what it withstands, before any server has work."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tollbook.times import format_instant
from tritonclient.grpc import service_pb2 as pb

from adapters.triton.grpc_client import SERVICE
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
from tests.gateway.rig import Licensee, Rig
from tests.support.triton import shared_triton
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

UNKNOWN_KEY = "tb_license_aaaqeayeaudaocajbifqydiob4ibceqt_79eddcb8"
MESSAGE_BYTES = 100_000
KEY = "tollbook-license-key"

MANAGEMENT = [
    *("ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"),
    *("CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"),
    *("TraceSetting", "LogSettings"),
]


@pytest.fixture(scope="module")
def served(
    rig: Rig, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GrpcServed]:
    """Serve all models, once for this file, with a small bound on messages."""
    home = tmp_path_factory.mktemp("home")
    config = before(shared_triton(pytestconfig), message_bytes=MESSAGE_BYTES)
    with grpc_serving(rig, home, config) as serving:
        yield serving


def sent(served: GrpcServed, headers: dict[str, str], asked: Any) -> Any:
    """Send one unary inference."""
    data = asked if isinstance(asked, bytes) else asked.SerializeToString()
    with served.raw("ModelInfer") as infer:
        return infer(data, metadata=metadata(headers), timeout=CALL_SECONDS)


def refused(served: GrpcServed, headers: dict[str, str], asked: Any) -> tuple[Any, dict[str, Any]]:
    """Return the status and the problem document of a refusal."""
    with pytest.raises(grpc.RpcError) as raised:
        sent(served, headers, asked)
    told = dict(raised.value.trailing_metadata() or ())
    return raised.value.code(), json.loads(told.get("tollbook-problem", "{}"))


@pytest.mark.parametrize("method", MANAGEMENT)
def test_each_management_method_is_refused_whoever_asks(
    rig: Rig, served: GrpcServed, method: str
) -> None:
    headers = rig.licensee().headers
    for given in (headers, {}):
        with served.raw(method) as call, pytest.raises(grpc.RpcError) as raised:
            call(b"", metadata=metadata(given), timeout=CALL_SECONDS)
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "does not offer" in raised.value.details()


def test_every_method_of_the_protocol_is_offered_or_refused(served: GrpcServed) -> None:
    service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    handlers = served.front._handlers()
    assert {path.rpartition("/")[2] for path in handlers} == {
        method.name for method in service.methods
    }


@pytest.mark.parametrize(
    ("headers", "code", "status"),
    [
        ({}, "unauthorized", grpc.StatusCode.UNAUTHENTICATED),
        ({"authorization": "Basic abc"}, "unauthorized", grpc.StatusCode.UNAUTHENTICATED),
        ({KEY: UNKNOWN_KEY}, "license_key_invalid", grpc.StatusCode.UNAUTHENTICATED),
        ({KEY: "x" * 3000}, "invalid", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_without_a_key_that_opens_a_licence_nothing_is_even_read(
    served: GrpcServed, headers: dict[str, str], code: str, status: Any
) -> None:
    for method in ("ModelInfer", "ModelReady", "ModelMetadata", "ModelConfig"):
        # No message is sent at all: the answer comes nevertheless.
        with grpc.insecure_channel(served.address) as channel:
            call = channel.stream_unary(f"/inference.GRPCInferenceService/{method}")
            with pytest.raises(grpc.RpcError) as raised:
                call(never(), metadata=metadata(headers), timeout=CALL_SECONDS)
        assert raised.value.code() is status
        problem = dict(raised.value.trailing_metadata())["tollbook-problem"]
        assert json.loads(problem)["code"] == code
    with served.raw("ModelStreamInfer", stream=True) as stream:
        with pytest.raises(grpc.RpcError) as raised:
            list(stream(never(), metadata=metadata(headers), timeout=CALL_SECONDS))
        assert raised.value.code() is status


def never() -> Iterator[bytes]:
    """Send nothing for long."""
    time.sleep(3)
    yield from ()


def test_a_key_may_be_a_bearer_token_as_well(rig: Rig, served: GrpcServed) -> None:
    who = rig.licensee()
    sent(served, {"authorization": f"Bearer {who.key}"}, request("textgen"))
    who.until(1)


def test_two_keys_in_one_request_are_refused(rig: Rig, served: GrpcServed) -> None:
    one, other = rig.licensee(), rig.licensee()
    both = (*metadata(one.headers), *metadata(other.headers))
    data = request("textgen").SerializeToString()
    with served.raw("ModelInfer") as infer, pytest.raises(grpc.RpcError) as raised:
        infer(data, metadata=both, timeout=CALL_SECONDS)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def suspended(rig: Rig) -> Licensee:
    who = rig.licensee()
    body = {"id": f"stop-{who.license}", "license": who.license, "reason": "not paid"}
    rig.tollbook.run("suspend_license", body).result()
    return who


def expired(rig: Rig) -> Licensee:
    end = rig.tollbook.now() + 3_000_000
    who = rig.licensee(expires_at=format_instant(end), overrides={"grace_seconds": 0})
    wait(lambda: rig.tollbook.now() > end)
    return who


def other_models(rig: Rig) -> Licensee:
    return rig.licensee(overrides={"models": ["image"]})


def poor(rig: Rig) -> Licensee:
    return rig.licensee("0.000000000001")


@pytest.mark.parametrize(
    ("make", "status", "code"),
    [
        (suspended, grpc.StatusCode.PERMISSION_DENIED, "license_suspended"),
        (expired, grpc.StatusCode.PERMISSION_DENIED, "license_expired"),
        (other_models, grpc.StatusCode.PERMISSION_DENIED, "license_model_denied"),
        (poor, grpc.StatusCode.RESOURCE_EXHAUSTED, "insufficient_balance"),
    ],
)
def test_a_licence_that_does_not_admit_is_refused_before_the_server_has_work(
    rig: Rig, served: GrpcServed, triton: TritonServer, make: Any, status: Any, code: str
) -> None:
    who = make(rig)
    count = len(served.clients["shared"].sent)
    assert refused(served, who.headers, request("textgen"))[0] is status
    assert refused(served, who.headers, request("textgen"))[1]["code"] == code
    assert len(served.clients["shared"].sent) == count
    assert rig.tollbook.balance(who.customer).held == 0


def test_a_licence_without_the_model_learns_nothing_about_it(rig: Rig, served: GrpcServed) -> None:
    who = other_models(rig)
    asked = pb.ModelMetadataRequest(name="textgen").SerializeToString()
    with served.raw("ModelMetadata") as call, pytest.raises(grpc.RpcError) as raised:
        call(asked, metadata=metadata(who.headers), timeout=CALL_SECONDS)
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_licence_whose_pool_is_not_here_is_refused_and_its_hold_given_back(
    rig: Rig, served: GrpcServed
) -> None:
    who = rig.licensee(template="enterprise")  # its pool is called dedicated
    status, problem = refused(served, who.headers, request("textgen"))
    assert status is grpc.StatusCode.UNAVAILABLE
    assert problem["pool"] == "dedicated"
    wait(lambda: who.names() == ["reservation_held", "reservation_released"])


def test_a_model_that_is_not_offered_is_not_found(rig: Rig, served: GrpcServed) -> None:
    status, problem = refused(served, rig.licensee().headers, request("retrieve"))
    assert (status, problem["code"]) == (grpc.StatusCode.NOT_FOUND, "not_found")


def with_parameter(name: str) -> Any:
    made = request("textgen")
    made.parameters[name].bool_param = True
    return made


def with_shared_memory(where: str) -> Any:
    made = request("textgen")
    tensor = made.inputs[0] if where == "inputs" else made.outputs.add(name="OUT")
    tensor.parameters["shared_memory_region"].string_param = "mine"
    return made


def with_classified_usage() -> Any:
    made = request("textgen")
    made.outputs.add(name="OUTPUT_TOKENS").parameters["classification"].int64_param = 1
    return made


def with_two_texts() -> Any:
    made = request("textgen")
    made.inputs.add().CopyFrom(made.inputs[0])
    made.raw_input_contents.append(made.raw_input_contents[0])
    return made


def with_a_missing_content() -> Any:
    made = request("textgen")
    made.inputs.add(name="MAX_TOKENS", datatype="INT32", shape=[1, 1])
    return made


def with_half_a_text() -> Any:
    made = request("textgen")
    made.raw_input_contents[0] = made.raw_input_contents[0][:-1]
    return made


def with_too_many(where: str) -> Any:
    made = request("textgen")
    for number in range(1_100):
        if where == "parameters":
            made.parameters[f"p-{number}"].bool_param = True
        else:
            getattr(made, where).add(name=f"t-{number}", **_typed(where))
    if where == "inputs":
        made.raw_input_contents.extend([b""] * 1_100)
    return made


def _typed(where: str) -> dict[str, Any]:
    return {"datatype": "INT8", "shape": [0]} if where == "inputs" else {}


def with_tokens(count: int) -> Any:
    made = request("textgen")
    add_number(made, "MAX_TOKENS", count)
    return made


@pytest.mark.parametrize(
    "asked",
    [
        with_parameter("triton_final_response"),
        with_parameter("triton_made_up"),
        with_shared_memory("inputs"),
        with_shared_memory("outputs"),
        with_classified_usage(),
        with_two_texts(),
        with_a_missing_content(),
        with_half_a_text(),
        with_tokens(-1),
        with_too_many("inputs"),
        with_too_many("outputs"),
        with_too_many("parameters"),
        b"\xff\xff no message",
    ],
)
def test_a_request_that_would_blind_the_meter_is_invalid(
    rig: Rig, served: GrpcServed, asked: Any
) -> None:
    who = rig.licensee()
    assert refused(served, who.headers, asked)[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert who.names() == []


def test_a_burst_that_comes_while_the_gateway_is_busy_is_answered(served: GrpcServed) -> None:
    """Left alone, gRPC ends what waits beyond its first thousand without a word of ours."""
    with grpc.insecure_channel(served.address) as channel:
        live = channel.unary_unary(f"/{SERVICE}/ServerLive")
        assert live(b"", timeout=CALL_SECONDS)
        served.rig.call(busy(3.0))
        asked = [live.future(b"", timeout=CALL_SECONDS) for _ in range(4_000)]
        codes = Counter(call.code() for call in asked)
    assert codes == {grpc.StatusCode.OK: 4_000}


async def busy(seconds: float) -> None:
    asyncio.get_running_loop().call_later(0.01, time.sleep, seconds)
