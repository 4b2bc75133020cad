"""A gRPC server that is no Triton: it answers as a test says, and keeps what it is sent.

For what a real one never does on request: refuse, break off, leave a status out, say nothing.
"""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import ngh2
import pytest

from adapters.grpc.messages import framed
from adapters.triton.grpc_client import ServerLost, TritonGrpc

MESSAGE_BYTES = 1_000_000
WELL = (b"grpc-status", b"0")
HEAD = [(b":status", b"200"), (b"content-type", b"application/grpc")]
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


class Peer(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, server: "FakeGrpc") -> None:
        """Wait for it."""
        self._server = server
        config = ngh2.Configuration(auto_window_update=True)
        self.h2 = ngh2.Connection(ngh2.Role.SERVER, config)
        self.bodies: dict[int, bytes] = {}
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Say hello, unless the server is one that says nothing."""
        self.transport = transport
        self._server.peers.append(self)
        if not self._server.is_silent:
            self.h2.initiate_connection(self._server.settings)
            self.flush()

    def data_received(self, data: bytes) -> None:
        """Keep it, and answer requests that are whole."""
        if self._server.is_silent:
            return
        try:
            self.h2.receive_data(data)
        except ngh2.ConnectionStateError:
            return  # it has left
        for event in self.h2.events():
            match event:
                case ngh2.RequestReceived():
                    self._server.headers.append(dict(event.headers))
                    self.bodies[event.stream_id] = b""
                    if self._server.is_hasty:
                        self._server.answer(self, event.stream_id)
                case ngh2.DataReceived():
                    self.bodies[event.stream_id] += event.data
                    if event.end_stream:
                        self._server.answer(self, event.stream_id)
                case ngh2.StreamReset():
                    self._server.resets.append(event.error_code)
                case ngh2.PingReceived():
                    self._server.pings += 1
                case ngh2.ConnectionClosed():
                    self.flush()
                    self.transport.close()
                    return
        self.flush()

    def flush(self) -> None:
        """Send what waits."""
        self.transport.write(self.h2.data_to_send())

    def say(self, stream: int, *pieces: bytes, end: tuple[bytes, bytes] | None = WELL) -> None:
        """Answer with pieces as they are, and then with a status."""
        self.h2.send_response(stream, HEAD)
        for piece in pieces:
            self.h2.send_data(stream, piece)
        if end is not None:
            self.h2.send_trailers(stream, [end])

    def refuse(self, stream: int, *headers: tuple[bytes, bytes]) -> None:
        """Answer by nothing but headers."""
        self.h2.send_response(stream, headers, end_stream=True)


Answer = Callable[[Peer, int], None]


class FakeGrpc:
    """It listens on a free port."""

    def __init__(self, answer: Answer) -> None:
        """Answer requests by this."""
        self.answer = answer
        self.settings: dict[int, int] = {}
        self.is_silent = False
        self.is_hasty = False
        """Whether it answers before a request is whole."""
        self.peers: list[Peer] = []
        self.headers: list[dict[bytes, bytes]] = []
        """Of every request."""
        self.resets: list[int] = []
        """The codes by which the client broke streams off."""
        self.pings = 0
        self.port = 0
        self._listening: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: Peer(self), "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and break every connection."""
        assert self._listening is not None
        self._listening.close()
        for peer in self.peers:
            peer.transport.abort()
        await asyncio.sleep(0.01)


def echo(peer: Peer, stream: int) -> None:
    """Answer with the request."""
    peer.say(stream, peer.bodies[stream])


def silence(_peer: Peer, _stream: int) -> None:
    """Take a request, and say nothing."""


def ending(*headers: tuple[bytes, bytes]) -> Answer:
    """Answer by nothing but headers."""
    return lambda peer, stream: peer.refuse(stream, *headers)


def saying(*pieces: bytes, end: tuple[bytes, bytes] | None = WELL) -> Answer:
    """Answer with pieces as they are, and then with a status."""
    return lambda peer, stream: peer.say(stream, *pieces, end=end)


def compressed(message: bytes, encoding: str) -> Answer:
    """Answer with one message, compressed."""
    packed = PACKED[encoding](message)

    def answer(peer: Peer, stream: int) -> None:
        peer.h2.send_response(stream, [*HEAD, (b"grpc-encoding", encoding.encode())])
        peer.h2.send_data(stream, b"\x01" + framed(packed)[1:])
        peer.h2.send_trailers(stream, [WELL])

    return answer


Work = Callable[[FakeGrpc, TritonGrpc], Awaitable[None]]


@asynccontextmanager
async def _served(answer: Answer) -> AsyncIterator[FakeGrpc]:
    server = FakeGrpc(answer)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def run(answer: Answer, work: Work) -> None:
    """Do some work before a server that answers so, within a while."""

    async def working() -> None:
        async with asyncio.timeout(20), _served(answer) as server:
            client = TritonGrpc(server.address, MESSAGE_BYTES)
            try:
                await work(server, client)
            finally:
                await client.close()

    asyncio.run(working(), debug=True)


async def until(is_true: Callable[[], bool]) -> None:
    """Wait for something that happens by itself."""
    while not is_true():  # noqa: ASYNC110 - what a test waits for tells nobody
        await asyncio.sleep(0.01)


async def lost(client: TritonGrpc, seconds: float = 10, **more: str) -> ServerLost:
    """Return how an inference is lost."""
    with pytest.raises(ServerLost) as raised:
        await client.infer(b"asked", seconds, tuple(more.items()))
    return raised.value
