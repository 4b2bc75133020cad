"""A gateway that fails with an inference over gRPC ends it all the same: once, wherever it was."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from adapters.grpc.messages import framed
from entrypoints.gateway import grpc_messages, sequences
from tests.gateway.fake_grpc_server import FakeGrpc, saying
from tests.gateway.grpc_serving import (
    CALL_SECONDS,
    GrpcServed,
    grpc_serving,
    metadata,
    request,
    wait,
)
from tests.gateway.rig import Licensee, Rig, configured

HELD, RELEASED, PARKED = "reservation_held", "reservation_released", "usage_parked"
FAILED = "the gateway failed: its log says why"


def fail(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("nobody foresaw it")


@pytest.fixture
def server(rig: Rig) -> Iterator[FakeGrpc]:
    """Answer by one message."""
    made = FakeGrpc(saying(framed(pb.ModelInferResponse(model_name="textgen").SerializeToString())))
    rig.call(made.start())
    yield made
    rig.call(made.stop())


def told(served: GrpcServed, who: Licensee, method: str) -> str:
    """Ask once, and return what a client is told that went wrong."""
    asked = request("textgen").SerializeToString()
    more = {"metadata": metadata(who.headers), "timeout": CALL_SECONDS}
    if method == "ModelInfer":
        with served.raw(method) as infer, pytest.raises(grpc.RpcError) as error:
            infer(asked, **more)
        return str(error.value.details())
    with served.raw(method, stream=True) as stream:
        (message,) = stream(iter([asked]), **more)
        return str(pb.ModelStreamInferResponse.FromString(message).error_message)


def ended(served: GrpcServed, who: Licensee, how: str) -> list[str]:
    """Return what happened to the customer, once an inference has ended in one way, and once."""
    wait(lambda: len(who.names()) > 1)
    assert served.gateway.running == {}
    assert dict(served.gateway.ended) == {how: 1}
    return who.names()


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
@pytest.mark.parametrize("place", [(sequences, "own_in_grpc"), (grpc_messages, "rewritten")])
def test_what_fails_before_its_server_has_it_is_given_back(
    rig: Rig,
    tmp_path: Path,
    server: FakeGrpc,
    method: str,
    place: tuple[Any, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    who = rig.licensee()
    monkeypatch.setattr(*place, fail)
    with grpc_serving(rig, tmp_path, configured(grpc=server.address)) as served:
        assert told(served, who, method) == FAILED
        assert ended(served, who, "released") == [HELD, RELEASED]
    (given_back,) = who.releases()
    assert str(given_back.reason).startswith("the gateway could not send it"), (
        "a server might have seen it"
    )


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
def test_what_fails_with_its_answer_is_parked(
    rig: Rig, tmp_path: Path, server: FakeGrpc, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = rig.licensee()
    monkeypatch.setattr(grpc_messages, "answer", fail)
    monkeypatch.setattr(grpc_messages, "stream_answer", fail)
    with grpc_serving(rig, tmp_path, configured(grpc=server.address)) as served:
        assert told(served, who, method) == FAILED
        assert ended(served, who, "parked") == [HELD, PARKED]
