"""One Triton's gRPC service as a gateway uses it: bytes in and bytes out, over one connection.

What goes wrong has three names: the server answered with an error, no answer came, or we stopped.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb

SERVICE = "inference.GRPCInferenceService"
LOOK_SECONDS = 10.0
"""How long a question about the server or a model may take."""
READY_SECONDS = 2.0
_CONNECT_MS = 900
"""Less than the least time of an inference: what never reached a server is told as that."""

Metadata = Sequence[tuple[str, str]]

# Of a call that ends so, no byte ever reached the server.
_NEVER_SENT = (
    "failed to connect to all addresses",
    "connections to all backends failing",
    "dns resolution failed",
    "empty address list",
)
# What this side says of a connection that broke under a call.
_BROKEN = (
    *("socket closed", "recvmsg", "sendmsg", "connection reset", "broken pipe", "end of tcp"),
    *("goaway", "keepalive", "transport closed", "stream removed", "stream closed", "endpoint"),
    *("rst_stream", "channel closed", "shutting down", "eof"),
)
_TOO_LARGE = "larger than max"


class ServerError(Exception):
    """The server answered with an error; nothing else comes."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        """Say what the server said."""
        super().__init__(details)
        self.code = code
        self.details = details


class ServerLost(Exception):
    """No answer came. Where the request was `sent`, nobody knows what became of it."""

    def __init__(self, code: grpc.StatusCode, reason: str, *, sent: bool) -> None:
        """Say why; the reason may name addresses, and is not for clients."""
        super().__init__(reason)
        self.code = code
        self.sent = sent


class ServerStopped(Exception):
    """We stopped the stream."""


class TritonStream:
    """One inference whose answer comes in messages."""

    def __init__(self, owner: "TritonGrpc", call: Any) -> None:
        """Follow a call that has begun."""
        self._owner = owner
        self._call = call
        self._stopped = False

    async def read(self) -> bytes | None:
        """Return the next message, or None when the server has said everything."""
        try:
            data = await self._call.read()
        except asyncio.CancelledError:
            if self._stopped:
                raise ServerStopped from None
            raise
        except grpc.aio.AioRpcError as error:
            raise self._owner.meaning(error) from None
        return None if data is grpc.aio.EOF else bytes(data)

    def stop(self) -> None:
        """Tell the server that nobody waits any more; whoever reads gets ServerStopped."""
        self._stopped = True
        self._call.cancel()


class TritonGrpc:
    """A connection to one server; made while the loop runs."""

    def __init__(self, address: str, message_bytes: int) -> None:
        """Connect when first needed, and again whenever the server comes back."""
        options = [
            ("grpc.max_receive_message_length", message_bytes),
            ("grpc.max_send_message_length", -1),
            # A request that is sent twice may run twice.
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            # By its name a pause; gRPC takes it as the time that a connection has to come about.
            ("grpc.min_reconnect_backoff_ms", _CONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._infer = self._channel.unary_unary(f"/{SERVICE}/ModelInfer")
        # One request and then the end of requests: to the server it is a stream like any other.
        self._stream = self._channel.unary_stream(f"/{SERVICE}/ModelStreamInfer")

    @property
    def reachable(self) -> bool:
        """Whether nothing says that the server is away; where it was, it is looked for again."""
        state = self._channel.get_state(try_to_connect=True)
        return bool(state is not grpc.ChannelConnectivity.TRANSIENT_FAILURE)

    async def infer(self, request: bytes, seconds: float, metadata: Metadata = ()) -> bytes:
        """Run one inference; raises ServerError or ServerLost."""
        try:
            return bytes(await self._infer(request, timeout=seconds, metadata=tuple(metadata)))
        except grpc.aio.AioRpcError as error:
            raise self.meaning(error) from None

    def stream(self, request: bytes, seconds: float, metadata: Metadata = ()) -> TritonStream:
        """Begin one inference whose answer comes in messages."""
        return TritonStream(self, self._stream(request, timeout=seconds, metadata=tuple(metadata)))

    async def look(self, method: str, request: bytes, seconds: float = LOOK_SECONDS) -> bytes:
        """Ask anything that runs no inference; raises ServerError or ServerLost."""
        call = self._channel.unary_unary(f"/{SERVICE}/{method}")
        try:
            return bytes(await call(request, timeout=seconds))
        except grpc.aio.AioRpcError as error:
            raise self.meaning(error) from None

    async def metadata(self, model: str) -> Any:
        """Return what the server says of a model: its inputs, outputs and their types."""
        request = pb.ModelMetadataRequest(name=model).SerializeToString()
        return pb.ModelMetadataResponse.FromString(await self.look("ModelMetadata", request))

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

    def meaning(self, error: Any) -> ServerError | ServerLost:
        """Tell an error that the server sent from what this side says in its place."""
        code, details = error.code(), str(error.details() or "")
        said = details.lower()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServerLost(code, f"it took too long: {details}", sent=True)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in said:
            return ServerLost(code, "the answer is larger than is carried here", sent=True)
        if code is grpc.StatusCode.UNAVAILABLE and said.startswith(_NEVER_SENT):
            return ServerLost(code, details, sent=False)
        if code is grpc.StatusCode.UNAVAILABLE and self._broke(said):
            return ServerLost(code, details, sent=True)
        if said.startswith(("stream removed", "received rst_stream")):
            return ServerLost(grpc.StatusCode.UNAVAILABLE, details, sent=True)
        return ServerError(code, details)

    def _broke(self, said: str) -> bool:
        """Say whether a connection broke, rather than that a server was too busy; in doubt yes."""
        ready = self._channel.get_state() is grpc.ChannelConnectivity.READY
        return not ready or any(words in said for words in _BROKEN)
