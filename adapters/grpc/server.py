"""A gRPC server for one event loop: it listens, and begins a call for each request that is one.

A call begins with its headers. Its messages are read by whoever handles it, when they want them, so
that nobody fills this process's memory whose key opens nothing.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import ngh2

from adapters.grpc.asked import HEADERS_MAX
from adapters.grpc.call import Call, Handler
from adapters.grpc.connection import Connection
from adapters.grpc.untaken import Untaken
from adapters.places import Places

GREETING_SECONDS = 20.0
"""How long a connection may take to say that it speaks HTTP/2."""
CALLS_MAX = 40_000
"""So many calls may be open in the process; then further ones are told to come later."""
_STREAMS_MAX = 20_000
"""So many of them on one connection; its client waits with further ones by itself."""
_STREAM_WINDOW, _CONNECTION_WINDOW = 65_535, 4 * 2**20
"""Bytes that a client may send before anybody wants them."""
_HEADERS_BREAKING = 65_536
"""A connection with larger headers than these is ended; larger ones than it may have, refused."""
_BACKLOG = 4_096
LINGER_SECONDS = 1.0
"""So long a step of a stop waits for clients that do not behave; there are three."""
_SETTINGS: dict[int, int] = {
    ngh2.Setting.MAX_CONCURRENT_STREAMS: _STREAMS_MAX,
    ngh2.Setting.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
    ngh2.Setting.MAX_HEADER_LIST_SIZE: HEADERS_MAX,
}
_CONFIG = ngh2.Configuration(
    auto_window_update=False, max_inbound_header_list_size=_HEADERS_BREAKING
)


class Server:
    """Answers calls by their paths."""

    def __init__(
        self, handlers: Mapping[str, Handler], message_bytes: int, places: Places | None = None
    ) -> None:
        """Serve when `start` is called; messages may have so many bytes."""
        self.places = places or Places()
        self.handlers = handlers
        self.message_bytes = message_bytes
        self.calls: set[Call] = set()
        self.connections: set[_ServerConnection] = set()
        self.untaken = Untaken()
        self.held = 0
        """Bytes of messages that nobody has read yet."""
        self.is_stopping = False
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int, *, is_shared: bool = False) -> int:
        """Listen, and return the port; raises OSError or OverflowError where that cannot be."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(
            lambda: _ServerConnection(self),
            host,
            port,
            backlog=_BACKLOG,
            reuse_port=is_shared or None,
        )
        return int(self._listening.sockets[0].getsockname()[1])

    @property
    def is_full(self) -> bool:
        """Whether further calls are told to come later."""
        return len(self.calls) >= CALLS_MAX

    async def stop(self, seconds: float) -> None:
        """Begin no more calls; let those that run end for so long, then end them."""
        self.is_stopping = True
        if self._listening is not None:
            self._listening.close()
        for connection in tuple(self.connections):
            connection.take_leave()
        until = asyncio.get_running_loop().time() + seconds
        await self._have_ended(until)
        for call in tuple(self.calls):
            call.cancel()
        await self._have_ended(asyncio.get_running_loop().time() + LINGER_SECONDS)
        for connection in tuple(self.connections):
            connection.close()
        if gone := [connection.gone for connection in self.connections]:
            await asyncio.wait(gone, timeout=LINGER_SECONDS)
            for connection in tuple(self.connections):
                connection.abandon()
            await asyncio.wait(gone, timeout=LINGER_SECONDS)

    async def _have_ended(self, until: float) -> None:
        """Wait until every call has ended and its client has what was said, or for so long."""
        loop = asyncio.get_running_loop()
        while (left := until - loop.time()) > 0:
            tasks = [call.task for call in self.calls if call.task is not None]
            if tasks:
                await asyncio.wait(tasks, timeout=left)
            elif any(connection.streams for connection in self.connections):
                await asyncio.sleep(min(left, 0.01))
            else:
                return


class _ServerConnection(Connection):
    """One client's connection."""

    def __init__(self, server: Server) -> None:
        super().__init__(ngh2.Role.SERVER, _CONFIG, _SETTINGS, _CONNECTION_WINDOW)
        self._server = server
        self._greeting: asyncio.TimerHandle | None = None
        self.peer = ""
        self._has_place = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Wait for a greeting, not for ever."""
        self._has_place = self._server.places.take()
        if not self._has_place:
            transport.abort()  # who is greeted first tries again at once; so it waits a while
            return
        super().connection_made(transport)
        self.peer = _peer(transport.get_extra_info("peername"))
        self._server.connections.add(self)
        loop = asyncio.get_running_loop()
        self._greeting = loop.call_later(GREETING_SECONDS, transport.abort)
        if self._server.is_stopping:
            self.close()

    def greeted(self) -> None:
        """Let it stay."""
        if self._greeting is not None:
            self._greeting.cancel()
            self._greeting = None

    def requested(self, stream: int) -> None:
        """Begin a call, or say why not."""
        if self._server.is_stopping:
            self.h2.reset_stream(stream, ngh2.ErrorCode.REFUSED_STREAM)
        else:
            self.streams[stream] = Call(self, self._server, stream)

    def take_leave(self) -> None:
        """Take no more calls; without any it is over."""
        if not self.streams:
            self.close()
        elif self.is_open:
            with suppress(ngh2.NGH2Error):
                self.h2.send_goaway()
            self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        self.greeted()
        self._server.connections.discard(self)
        if self._has_place:
            self._server.places.give_back()
        super().connection_lost(error)
        self.gone.set_result(None)


def _peer(address: Any) -> str:
    """Return a peer's name as gRPC writes it."""
    if not isinstance(address, tuple):
        return "unix:"
    host, port = str(address[0]), address[1]
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
