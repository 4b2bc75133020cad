"""Requests that a Triton dies of, or never answers, get no further than the gateway.

A Triton of the test's own is asked the same directly, and does die: once it does not any more, the
rule can go.
"""

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from adapters.triton.grpc_client import SERVICE
from adapters.triton.server import TritonServer
from tests.gateway.grpc_serving import GrpcServed, grpc_serving, metadata
from tests.gateway.http_serving import HttpServed, ask, before, http_serving
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import Rig
from tests.support.triton import a_triton, wait_until

Served = tuple[GrpcServed, HttpServed]


class Request(NamedTuple):
    """A request with one input."""

    model: str
    name: str
    datatype: str
    shape: list[int]
    data: list[Any]
    classes: str | None = None
    """The output that is asked for as classes."""
    field: str = ""
    """What is refused of it."""

    @property
    def document(self) -> dict[str, Any]:
        """The request over HTTP."""
        given: dict[str, Any] = {"name": self.name, "datatype": self.datatype}
        given |= {"shape": self.shape, "data": self.data}
        wanted = {"name": self.classes, "parameters": {"classification": 1}}
        return {"inputs": [given], **({"outputs": [wanted]} if self.classes else {})}

    @property
    def message(self) -> Any:
        """The request over gRPC."""
        made = pb.ModelInferRequest(model_name=self.model)
        given = made.inputs.add(name=self.name, datatype=self.datatype, shape=self.shape)
        if self.datatype == "BYTES":
            given.contents.bytes_contents.extend(each.encode() for each in self.data)
        else:
            given.contents.fp32_contents.extend(self.data)
        if self.datatype == "UINT8":
            given.ClearField("contents")
            made.raw_input_contents.append(bytes(self.data))
        if self.classes:
            made.outputs.add(name=self.classes).parameters["classification"].int64_param = 1
        return made


OUT = "outputs.OUT.parameters.classification"
TEXT = Request("textgen", "TEXT", "BYTES", [1, 1], ["a"], "OUT", OUT)
EMPTY = Request("identity", "IN", "FP32", [0], [], "OUT", "inputs.IN.shape")
NO_BATCH = Request("image", "IMAGE", "UINT8", [0, 0, 0, 3], [], None, "inputs.IMAGE.shape")
OVERFLOWN = NO_BATCH._replace(shape=[1, 2**31, 2**31, 4], field="IMAGE.shape")
"""As many bytes as 64 bits do not hold: they are taken for none."""
LABEL = "outputs.LABEL.parameters.classification"
DEADLY = {
    "classes of a text": TEXT,
    "classes of an ensemble's text": TEXT._replace(model="pipeline"),
    "classes of a label": Request("image", "IMAGE", "UINT8", [1, 1, 1, 1], [3], "LABEL", LABEL),
    "classes of nothing": EMPTY,
    "a batch of none": NO_BATCH,
    "more than there can be": OVERFLOWN,
    "an ensemble's batch of none": TEXT._replace(
        model="pipeline", shape=[0, 0], data=[], classes=None, field="inputs.TEXT.shape"
    ),
}
IMAGE = "a batch of one image without points"
HARMLESS = {
    "nothing": EMPTY._replace(classes=None),
    "classes of numbers": EMPTY._replace(shape=[3], data=[1.0, 3.0, 2.0]),
    IMAGE: NO_BATCH._replace(shape=[1, 0, 0, 3]),
}


@pytest.fixture(scope="module")
def served(
    rig: Rig, triton: TritonServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Serve all models in both protocols."""
    homes = [tmp_path_factory.mktemp("home") for _ in range(2)]
    with ExitStack() as stack:
        yield (
            stack.enter_context(grpc_serving(rig, homes[0], before(triton))),
            stack.enter_context(http_serving(rig, homes[1], before(triton))),
        )


@pytest.mark.parametrize("name", DEADLY)
def test_over_http_they_are_refused_and_nothing_is_held(
    rig: Rig, served: Served, triton: TritonServer, name: str
) -> None:
    who, it = rig.licensee(), DEADLY[name]
    answer = served[1].post(who, f"{it.model}/infer", it.document)
    assert (answer.status, answer.json["field"]) == (422, it.field)
    assert who.names() == []
    assert triton.is_ready()


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
@pytest.mark.parametrize("name", DEADLY)
def test_over_grpc_they_are_refused_and_nothing_is_held(
    rig: Rig, served: Served, triton: TritonServer, name: str, method: str
) -> None:
    who, it = rig.licensee(), DEADLY[name]
    data, shown = it.message.SerializeToString(), metadata(who.headers)
    if method == "ModelInfer":
        with served[0].raw(method) as infer, pytest.raises(grpc.RpcError) as raised:
            infer(data, metadata=shown, timeout=30)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        problem = json.loads(dict(raised.value.trailing_metadata())["tollbook-problem"])
        assert problem["field"] == it.field
    else:
        with served[0].raw(method, stream=True) as stream:
            (told,) = stream(iter([data]), metadata=shown, timeout=30)
        assert it.field in pb.ModelStreamInferResponse.FromString(told).error_message
    assert who.names() == []
    assert triton.is_ready()


def test_a_version_that_is_no_number_is_refused_before_anybody_is_asked(
    rig: Rig, served: Served
) -> None:
    made = EMPTY.message
    made.model_version = "1x"
    with served[0].raw("ModelInfer") as infer, pytest.raises(grpc.RpcError) as raised:
        infer(made.SerializeToString(), metadata=metadata(rig.licensee().headers), timeout=30)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "model_version is '1x'" in raised.value.details()


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_looks_like_them_is_answered_as_by_triton(
    rig: Rig, served: Served, triton: TritonServer, name: str
) -> None:
    who, it = rig.licensee(), HARMLESS[name]
    path = f"/v2/models/{it.model}/infer"
    direct = ask(triton.http_address, "POST", path, it.document)
    assert direct.status == 200
    assert served[1].post(who, f"{it.model}/infer", it.document).body == direct.body
    with served[0].raw("ModelInfer") as infer:
        data = it.message.SerializeToString()
        answer = infer(data, metadata=metadata(who.headers), timeout=30)
    assert pb.ModelInferResponse.FromString(answer).model_name == it.model


def test_a_stream_that_asks_for_classes_of_its_texts_is_refused(
    rig: Rig, served: Served, triton: TritonServer
) -> None:
    who = rig.licensee()
    it = TEXT._replace(model="textgen_stream", shape=[1])
    with served[0].raw("ModelStreamInfer", stream=True) as stream:
        data = it.message.SerializeToString()
        (told,) = stream(iter([data]), metadata=metadata(who.headers), timeout=30)
    assert OUT in pb.ModelStreamInferResponse.FromString(told).error_message
    assert triton.is_ready()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Run a Triton that may die."""
    with a_triton(tmp_path_factory.mktemp("own"), models=("identity", "image", "textgen")) as it:
        yield it


def told(server: TritonServer, protocol: str, it: Request) -> None:
    """Ask a server itself; whatever comes of it."""
    if protocol == "http":
        host = http.client.HTTPConnection(server.http_address, timeout=5)
        with suppress(OSError, http.client.HTTPException):
            host.request("POST", f"/v2/models/{it.model}/infer", json.dumps(it.document))
            host.getresponse().read()
        host.close()
        return
    with grpc.insecure_channel(server.grpc_address) as channel, suppress(grpc.RpcError):
        channel.unary_unary(f"/{SERVICE}/ModelInfer")(it.message.SerializeToString(), timeout=5)


@pytest.mark.parametrize(
    ("protocol", "it"), [("http", TEXT), ("grpc", TEXT), ("http", EMPTY)], ids=str
)
def test_a_triton_dies_of_classes_of_texts_and_of_nothing(
    own: TritonServer, protocol: str, it: Request
) -> None:
    told(own, protocol, it)
    wait_until(lambda: not own.is_ready())
    own.kill()
    own.start()
    assert own.is_ready()


def test_a_tritons_model_dies_of_more_bytes_than_can_be_counted(own: TritonServer) -> None:
    told(own, "grpc", OVERFLOWN)
    with grpc.insecure_channel(own.grpc_address) as channel:
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        with pytest.raises(grpc.RpcError, match="is not healthy"):
            infer(HARMLESS[IMAGE].message.SerializeToString(), timeout=30)
    own.kill()
    own.start()


def test_a_triton_never_answers_a_batch_of_none_without_points(own: TritonServer) -> None:
    with grpc.insecure_channel(own.grpc_address) as channel:
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        with pytest.raises(grpc.RpcError) as raised:
            infer(NO_BATCH.message.SerializeToString(), timeout=3)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert own.is_ready()
