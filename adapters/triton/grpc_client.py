"""One Triton's gRPC service as a gateway uses it: bytes in and bytes out, over one connection.

What goes wrong has three names: the server answered with an error, no answer came, or we stopped.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb

from adapters.grpc.answers import Several
from adapters.grpc.calling import LostError, StatusError, StoppedError
from adapters.grpc.channel import Channel, Metadata

SERVICE = "inference.GRPCInferenceService"
LOOK_SECONDS = 10.0
"""How long a question about the server or a model may take."""
READY_SECONDS = 2.0

_INFER = f"/{SERVICE}/ModelInfer"
# One request and then the end of requests: to the server it is a stream like any other.
_STREAM = f"/{SERVICE}/ModelStreamInfer"

# What gRPC's own libraries say of a server behind them: a proxy on one passes it on as a status.
_NEVER_SENT = (
    "failed to connect to all addresses",
    "connections to all backends failing",
    "dns resolution failed",
    "empty address list",
)
_BROKEN = (
    *("socket closed", "recvmsg", "sendmsg", "connection reset", "broken pipe", "end of tcp"),
    *("goaway", "keepalive", "transport closed", "stream removed", "stream closed", "endpoint"),
    *("rst_stream", "channel closed", "shutting down", "eof"),
)
_REMOVED = ("stream removed", "received rst_stream")
_TOO_LARGE = "larger than max"
_FRESH_SECONDS, _CONFIGS_MAX = 60.0, 1_000


ServerError = StatusError
"""The server answered with an error; nothing else comes."""
ServerLost = LostError
"""No answer came; its reason may name addresses, and is not for clients."""
ServerStopped = StoppedError
"""We stopped the stream."""


class TritonStream:
    """One inference whose answer comes in messages."""

    def __init__(self, call: Several) -> None:
        """Follow a call that has begun."""
        self._call = call
        self._loop = asyncio.get_running_loop()

    def __del__(self) -> None:
        """Have the server stop for whoever has left without a word."""
        if not self._call.is_left:
            with suppress(RuntimeError):  # the loop is closed, and with it the connection
                self._loop.call_soon_threadsafe(self._call.stop)

    async def read(self) -> bytes | None:
        """Return the next message, or None when the server has said everything."""
        try:
            return await self._call.read()
        except ServerError as error:
            raise _meaning(error) from None

    def stop(self) -> None:
        """Tell the server that nobody waits any more; whoever reads gets ServerStopped."""
        self._call.stop()


class TritonGrpc:
    """A connection to one server; made while the loop runs."""

    def __init__(self, address: str, message_bytes: int) -> None:
        """Connect when first needed, and again whenever the server comes back."""
        self._channel = Channel(address, message_bytes)
        self._configs: dict[tuple[str, str], tuple[float, Any]] = {}

    @property
    def reachable(self) -> bool:
        """Whether nothing says that the server is away; where it was, it is looked for again."""
        return self._channel.reachable

    async def infer(self, request: bytes, seconds: float, metadata: Metadata = ()) -> bytes:
        """Run one inference; raises ServerError or ServerLost."""
        try:
            return await self._channel.single(_INFER, request, seconds, metadata)
        except ServerError as error:
            raise _meaning(error) from None

    def stream(self, request: bytes, seconds: float, metadata: Metadata = ()) -> TritonStream:
        """Begin one inference whose answer comes in messages."""
        return TritonStream(self._channel.several(_STREAM, request, seconds, metadata))

    async def look(self, method: str, request: bytes, seconds: float = LOOK_SECONDS) -> bytes:
        """Ask anything that runs no inference; raises ServerError or ServerLost."""
        try:
            return await self._channel.single(f"/{SERVICE}/{method}", request, seconds)
        except ServerError as error:
            raise _meaning(error) from None

    async def metadata(self, model: str) -> Any:
        """Return what the server says of a model: its inputs, outputs and their types."""
        request = pb.ModelMetadataRequest(name=model).SerializeToString()
        return pb.ModelMetadataResponse.FromString(await self.look("ModelMetadata", request))

    async def config(self, model: str, version: str = "") -> Any:
        """Return a model's configuration, a minute old at most; raises ServerError, ServerLost."""
        until, known = self._configs.get((model, version), (0.0, None))
        if time.monotonic() < until:
            return known
        request = pb.ModelConfigRequest(name=model, version=version).SerializeToString()
        answer = await self.look("ModelConfig", request)
        found = pb.ModelConfigResponse.FromString(answer).config
        if len(self._configs) >= _CONFIGS_MAX:
            self._configs.clear()
        self._configs[model, version] = (time.monotonic() + _FRESH_SECONDS, found)
        return found

    async def is_ready(self) -> bool:
        """Ask the server whether it is ready."""
        try:
            answer = await self.look("ServerReady", b"", READY_SECONDS)
        except (ServerError, ServerLost):
            return False
        return bool(pb.ServerReadyResponse.FromString(answer).ready)

    async def close(self) -> None:
        """Disconnect."""
        await self._channel.close()


def _meaning(error: ServerError) -> ServerError | ServerLost:
    """Tell what the server says from what somebody between here and there says in its place."""
    code, details = error.code, error.details
    said = details.lower()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServerLost(code, f"it took too long: {details}", sent=True)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in said:
        return ServerLost(code, details, sent=True)
    if code is grpc.StatusCode.UNAVAILABLE and said.startswith(_NEVER_SENT):
        return ServerLost(code, details, sent=False)
    broke = code is grpc.StatusCode.UNAVAILABLE and any(words in said for words in _BROKEN)
    if broke or said.startswith(_REMOVED):
        return ServerLost(grpc.StatusCode.UNAVAILABLE, details, sent=True)
    return error
