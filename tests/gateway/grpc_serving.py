"""A gateway's gRPC front before a real Triton, and the public client that is pointed at it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import tritonclient.grpc as public
from tritonclient.grpc import service_pb2 as pb

from adapters.triton.grpc_client import SERVICE, TritonGrpc
from adapters.triton.server import TritonServer
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.grpc_front import GrpcFront
from entrypoints.gateway.tracing import Traces
from tests.gateway.rig import Rig, configured

CALL_SECONDS = 30


class GrpcServed:
    """A front that listens."""

    def __init__(
        self,
        rig: Rig,
        gateway: Gateway,
        front: GrpcFront,
        port: int,
        clients: "dict[str, Tapped]",
    ) -> None:
        """Know where it listens."""
        self.clients = clients
        self.rig = rig
        self.gateway = gateway
        self.front = front
        self.address = f"127.0.0.1:{port}"

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Open the public client: only its address is another one."""
        with public_client(self.address) as client:
            yield client

    @contextmanager
    def raw(self, method: str, *, stream: bool = False) -> Iterator[Any]:
        """Open a call of any method, with bytes in and out."""
        with grpc.insecure_channel(self.address) as channel:
            path = f"/{SERVICE}/{method}"
            yield channel.stream_stream(path) if stream else channel.unary_unary(path)

    def idle(self) -> None:
        """Wait until no inference is under way."""
        wait(lambda: not self.gateway.running)


@contextmanager
def public_client(address: str) -> Iterator[Any]:
    """Open the public client, whose stream ends with a test that fails.

    By itself it waits for every answer when it is closed, when a timeout has ended the test, and
    once more when it is collected: for ever, where an answer does not come.
    """
    with public.InferenceServerClient(address) as client:
        try:
            yield client
        except BaseException:
            client.stop_stream(cancel_requests=True)
            raise


class Tapped(TritonGrpc):
    """A connection that keeps what is sent over it."""

    def __init__(self, address: str, message_bytes: int) -> None:
        """Connect, and keep nothing yet."""
        super().__init__(address, message_bytes)
        self.sent: list[tuple[Any, Any]] = []
        """Requests, and the metadata beside them."""

    async def infer(self, request: bytes, seconds: float, metadata: Any = ()) -> bytes:
        """Keep a request, and send it."""
        self.sent.append((pb.ModelInferRequest.FromString(request), metadata))
        return await super().infer(request, seconds, metadata)


@contextmanager
def grpc_serving(
    rig: Rig, home: Path, config: GatewayConfig, traces: Traces | None = None, **limits: float
) -> Iterator[GrpcServed]:
    """Serve a configuration."""
    with rig.gateway(home, config, traces) as gateway:

        async def begin() -> tuple[dict[str, Tapped], GrpcFront, int]:
            clients = {pool.name: Tapped(pool.grpc, config.message_bytes) for pool in config.pool}
            front = GrpcFront(gateway, clients, config, **limits)
            return clients, front, await front.start("127.0.0.1", 0)

        clients, front, port = rig.call(begin())
        try:
            yield GrpcServed(rig, gateway, front, port, clients)
        finally:
            rig.call(front.stop(5))
            for client in clients.values():
                rig.call(client.close())


def before(triton: TritonServer, **more: Any) -> GatewayConfig:
    """Return the configuration of a gateway in front of a server."""
    return configured(triton.grpc_address, triton.http_address, **more)


def request(model: str, text: str = "a b c", **more: Any) -> Any:
    """Make a request as bytes would carry it, for what the public client cannot say."""
    made = pb.ModelInferRequest(model_name=model, **more)
    add_text(made, text, batched=model != "textgen_stream")
    return made


def add_text(made: Any, text: str, *, batched: bool = True) -> None:
    """Add the text to a request."""
    made.inputs.add(name="TEXT", datatype="BYTES", shape=[1, 1] if batched else [1])
    made.raw_input_contents.append(len(text.encode()).to_bytes(4, "little") + text.encode())


def add_number(made: Any, name: str, value: int, *, batched: bool = True) -> None:
    """Add a number to a request."""
    made.inputs.add(name=name, datatype="INT32", shape=[1, 1] if batched else [1])
    made.raw_input_contents.append(value.to_bytes(4, "little", signed=True))


def metadata(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return headers as gRPC's own client takes them."""
    return tuple(headers.items())


def wait(is_true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that happens by itself."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.01)
