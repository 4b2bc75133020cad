"""What the public clients' own examples look at beside answers: it is as Triton itself tells it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from adapters.triton.grpc_client import SERVICE
from adapters.triton.server import TritonServer
from tests.gateway.grpc_serving import GrpcServed, grpc_serving, metadata
from tests.gateway.http_serving import HttpServed, before, http_serving
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import Rig

LIBRARIES = pytest.mark.parametrize("library", [grpc_client, http_client])
Served = tuple[GrpcServed, HttpServed]


@pytest.fixture(scope="module")
def served(
    rig: Rig, triton: TritonServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Serve all models, whose statistics are told."""
    config = before(triton, statistics=True)
    homes = [tmp_path_factory.mktemp("home") for _ in range(2)]
    with ExitStack() as stack:
        yield (
            stack.enter_context(grpc_serving(rig, homes[0], config)),
            stack.enter_context(http_serving(rig, homes[1], config)),
        )


def places(library: Any, served: Served, triton: TritonServer) -> tuple[str, str]:
    """Return where the gateway answers a library, and where Triton does."""
    if library is grpc_client:
        return served[0].address, triton.grpc_address
    return served[1].address, triton.http_address


def counted(found: Any) -> tuple[str, int]:
    """Return of which model statistics are, and how many inferences they count."""
    if isinstance(found, dict):
        (of,) = found["model_stats"]
        return of["name"], of["inference_count"]
    (told,) = found.model_stats
    return told.name, told.inference_count


@LIBRARIES
@pytest.mark.parametrize("version", ["", "1"])
def test_where_its_operator_says_so_the_statistics_of_a_model_are_tritons(
    rig: Rig, served: Served, triton: TritonServer, library: Any, version: str
) -> None:
    found = []
    for address in places(library, served, triton):
        with library.InferenceServerClient(address) as client:
            told = client.get_inference_statistics(
                "document", version, headers=rig.licensee().headers
            )
        found.append(counted(told))
    assert found[0] == found[1]
    assert found[0][0] == "document"


@LIBRARIES
def test_statistics_of_a_model_that_a_licence_does_not_allow_and_of_all_models_are_refused(
    rig: Rig, served: Served, triton: TritonServer, library: Any
) -> None:
    who = rig.licensee(overrides={"models": ["textgen"]})
    address, _ = places(library, served, triton)
    with library.InferenceServerClient(address) as client:
        assert counted(client.get_inference_statistics("textgen", headers=who.headers))
        for model, headers in (("document", who.headers), ("", who.headers), ("textgen", {})):
            with pytest.raises(InferenceServerException):
                client.get_inference_statistics(model, headers=headers)


@LIBRARIES
def test_an_unknown_model_is_told_in_tritons_words(
    rig: Rig, served: Served, triton: TritonServer, library: Any
) -> None:
    tensor = library.InferInput("IN", [1], "FP32")
    tensor.set_data_from_numpy(np.zeros(1, np.float32))
    said = []
    for address in places(library, served, triton):
        with (
            library.InferenceServerClient(address) as client,
            pytest.raises(InferenceServerException) as raised,
        ):
            client.infer("nobodys", [tensor], headers=rig.licensee().headers)
        said.append(raised.value.message())
    assert said[1].startswith("Request for unknown model: 'nobodys' is not found")
    assert said[0] == said[1]


@LIBRARIES
def test_whether_a_model_is_ready_is_answered_also_for_an_unknown_one(
    rig: Rig, served: Served, triton: TritonServer, library: Any
) -> None:
    for address in places(library, served, triton):
        with library.InferenceServerClient(address) as client:
            headers = rig.licensee().headers
            assert client.is_model_ready("textgen", headers=headers) is True
            assert client.is_model_ready("nobodys", headers=headers) is False


def test_contents_in_two_places_are_refused_in_tritons_words(
    rig: Rig, served: Served, triton: TritonServer
) -> None:
    made = pb.ModelInferRequest(model_name="textgen")
    made.inputs.add(name="TEXT", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(
        b"a"
    )
    made.inputs.add(name="MAX_TOKENS", datatype="INT32", shape=[1, 1])
    made.raw_input_contents.append(bytes(4))
    said = []
    for address in places(grpc_client, served, triton):
        with grpc.insecure_channel(address) as channel:
            infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            with pytest.raises(grpc.RpcError) as raised:
                infer(made.SerializeToString(), metadata=metadata(rig.licensee().headers))
        said.append((raised.value.code(), raised.value.details()))
    assert said[0] == said[1]
    assert "must not be specified when using raw_input_contents for 'TEXT'" in said[0][1]


REFUSED = {
    *("model_repository", "model_repository(unload_dependents)", "trace", "logging"),
    *("system_shared_memory", "cuda_shared_memory"),
}


def extensions(library: Any, address: str) -> list[str]:
    """Return the extensions that a server says it has."""
    with library.InferenceServerClient(address) as client:
        told = client.get_server_metadata()
    return list(told["extensions"] if isinstance(told, dict) else told.extensions)


@LIBRARIES
def test_the_extensions_told_are_tritons_but_for_those_that_the_gateway_refuses(
    served: Served, triton: TritonServer, library: Any
) -> None:
    found, theirs = (extensions(library, each) for each in places(library, served, triton))
    assert set(theirs) - set(found) == REFUSED
    assert found == [each for each in theirs if each not in REFUSED]
    assert "binary_tensor_data" in found


@LIBRARIES
def test_statistics_are_no_extension_where_the_operator_does_not_tell_them(
    rig: Rig, triton: TritonServer, tmp_path: Path, library: Any
) -> None:
    serving = grpc_serving if library is grpc_client else http_serving
    with serving(rig, tmp_path, before(triton)) as quiet:
        assert "statistics" not in extensions(library, quiet.address)
