"""A channel: calls to one server, over one connection that comes when it is needed.

A connection that ended is made again for the next call. Where none comes about, calls end at once,
unsent, while the channel goes on looking for the server by itself.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import grpc
import ngh2

from adapters.grpc import header_blocks
from adapters.grpc.answers import Several, Single
from adapters.grpc.calling import Call, Headers, LostError
from adapters.grpc.connection import Connection, Stream
from adapters.grpc.messages import ENCODINGS, TYPE, headers_of, timeout
from adapters.limits import Limits

CONNECT_SECONDS = 0.9
"""How long a server may take until it has said that it speaks HTTP/2."""
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.1, 1.0
"""From one attempt to the next, at first and at most."""
STREAM_WINDOW = 262_144
"""Bytes of an answer that may be here before anybody wants them."""
_WINDOW = 2**30
_LEAVE_SECONDS = 1.0
_SETTINGS: dict[int, int] = {
    ngh2.Setting.ENABLE_PUSH: 0,
    ngh2.Setting.HEADER_TABLE_SIZE: 0,  # so that header_blocks reads what libnghttp2 does not take
    ngh2.Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
}
_CONFIG = ngh2.Configuration(auto_window_update=False)

Metadata = Sequence[tuple[str, str]]


class Channel:
    """Calls to one server; made and used while its loop runs."""

    def __init__(self, address: str, message_bytes: int) -> None:
        """Connect when first needed; an answer's messages may have so many bytes."""
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._authority = address.encode("latin-1", "replace")
        self._most = message_bytes
        self._limits = Limits()
        self._connection: _ClientConnection | None = None
        """The one that takes calls."""
        self._connections: set[_ClientConnection] = set()
        """All, those included that only end what they have begun."""
        self._attempts: asyncio.Task[None] | None = None
        self._failure: str | None = None
        """Why there is no connection, where the last attempt found none."""
        self._waiting: list[tuple[Call, str, Headers]] = []
        self._is_closed = False

    @property
    def reachable(self) -> bool:
        """Whether nothing says that the server is away; where it was, it is looked for again."""
        if self._connection is None:
            self._connect()
        return self._failure is None

    async def single(
        self, path: str, request: bytes, seconds: float, metadata: Metadata = ()
    ) -> bytes:
        """Call for one message; raises StatusError or LostError."""
        call = Single(request, self._most, self._limits.lasting(seconds))
        self._begin(call, path, seconds, metadata)
        try:
            return await call.answer
        except asyncio.CancelledError:
            call.cancel()
            raise

    def several(
        self, path: str, request: bytes, seconds: float, metadata: Metadata = ()
    ) -> Several:
        """Begin a call for messages."""
        call = Several(request, self._most, self._limits.lasting(seconds))
        self._begin(call, path, seconds, metadata)
        return call

    async def close(self) -> None:
        """Disconnect; calls under way are lost."""
        self._is_closed = True
        self._failure = "the channel is closed"
        if self._attempts is not None:
            self._attempts.cancel()
        self._fail_waiting()
        for connection in tuple(self._connections):
            connection.close()
        if self._connections:
            gone = [each.gone for each in self._connections]
            await asyncio.wait(gone, timeout=_LEAVE_SECONDS)
        for connection in tuple(self._connections):
            connection.abandon()

    def _begin(self, call: Call, path: str, seconds: float, metadata: Metadata) -> None:
        beside: Headers = ()
        if metadata:
            if not all(value.isascii() and value.isprintable() for _, value in metadata):
                words = "metadata is printable ASCII"
                call.fail(LostError(grpc.StatusCode.INTERNAL, words, sent=False))
                return
            beside = tuple(headers_of((name, value.strip()) for name, value in metadata))
        connection = self._connection
        if connection is not None and connection.is_open:
            self._send(connection, call, _headers(self._authority, path, timeout(seconds)) + beside)
            return
        self.leave(connection)
        self._connect()
        if self._failure is None:
            self._waiting.append((call, path, beside))
        else:
            call.fail(self._unreached())

    def _send(self, connection: "_ClientConnection", call: Call, headers: Headers) -> None:
        try:
            call.begin(connection, headers)
        except ngh2.NGH2Error as error:
            connection.retire()
            call.fail(LostError(grpc.StatusCode.UNAVAILABLE, f"not sent: {error}", sent=False))

    def _unreached(self) -> LostError:
        return LostError(grpc.StatusCode.UNAVAILABLE, str(self._failure), sent=False)

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call, _, _ in waiting:
            call.fail(self._unreached())

    def _connect(self) -> None:
        if self._attempts is None and not self._is_closed:
            self._attempts = self._loop.create_task(self._try())

    async def _try(self) -> None:
        """Look for the server until it is there."""
        pause = PAUSE_SECONDS
        try:
            while True:
                begun = self._loop.time()
                try:
                    connection = await self._connected()
                except (OSError, ValueError) as error:
                    self._failure = f"{self._address}: {str(error) or type(error).__name__}"
                    self._fail_waiting()
                else:
                    self._use(connection)
                    return
                await asyncio.sleep(begun + pause - self._loop.time())
                pause = min(2 * pause, PAUSE_SECONDS_MAX)
        finally:
            self._attempts = None

    async def _connected(self) -> "_ClientConnection":
        host, port = _parts(self._address)
        connection = _ClientConnection(self)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._loop.create_connection(lambda: connection, host, port)
                await connection.greeting
        except TimeoutError:
            connection.abandon()
            raise TimeoutError("it has not answered in time") from None
        except BaseException:
            connection.abandon()
            raise
        if connection.takes_calls:
            return connection
        connection.abandon()
        raise ConnectionError("it takes no calls")

    def _use(self, connection: "_ClientConnection") -> None:
        self._connection, self._failure = connection, None
        waiting, self._waiting = self._waiting, []
        for call, path, beside in waiting:
            if not call.is_over:
                left = timeout(call.until - self._loop.time())
                self._send(connection, call, _headers(self._authority, path, left) + beside)

    # What a connection tells of itself.

    def came(self, connection: "_ClientConnection") -> None:
        """Know of a connection, which takes no calls yet."""
        self._connections.add(connection)

    def leave(self, connection: "_ClientConnection | None") -> None:
        """Begin no more calls on a connection."""
        if self._connection is connection:
            self._connection = None

    def went(self, connection: "_ClientConnection") -> None:
        """Forget a connection that is no more."""
        self.leave(connection)
        self._connections.discard(connection)


class _ClientConnection(Connection):
    def __init__(self, channel: Channel) -> None:
        super().__init__(ngh2.Role.CLIENT, _CONFIG, _SETTINGS, _WINDOW)
        loop = asyncio.get_running_loop()
        self._channel = channel
        self.greeting: asyncio.Future[None] = loop.create_future()
        """The server's word that it speaks HTTP/2; ConnectionError where it ends before."""
        self.gone: asyncio.Future[None] = loop.create_future()
        self.takes_calls = True

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._channel.came(self)
        # A gRPC server ends a connection that asks it for signs of life where no data flows.
        assert self._alarm is not None
        self._alarm.cancel()

    def greeted(self) -> None:
        if not self.greeting.done():
            self.greeting.set_result(None)

    def going(self, event: ngh2.GoAwayReceived) -> None:
        self.takes_calls = False
        self._channel.leave(self)
        for stream in [each for each in self.streams if each > event.last_stream_id]:
            self.streams.pop(stream).closed(ngh2.ErrorCode.REFUSED_STREAM)

    def disliked(self, stream: int, told: Stream) -> None:
        """Tell a call the status that it ended with, where only its form was wrong."""
        found = header_blocks.last_of(self._came, stream)
        if found is not None and b"grpc-status" in dict(found):
            told.headers(found, is_end=True)

    def retire(self) -> None:
        """Take no more calls, and end with the last of those under way."""
        self.takes_calls = False
        self._channel.leave(self)
        with suppress(ngh2.NGH2Error):
            self.h2.send_goaway()
            self.flush_soon()

    def abandon(self) -> None:
        """End at once, if it has begun."""
        if self._transport is not None:
            super().abandon()

    def connection_lost(self, error: Exception | None) -> None:
        self.takes_calls = False
        self._channel.went(self)
        super().connection_lost(error)
        if not self.greeting.done():
            words = "it ended the connection before it spoke HTTP/2"
            self.greeting.set_exception(ConnectionError(words))
            self.greeting.exception()  # whoever waited may have left
        self.gone.set_result(None)


@lru_cache(maxsize=256)
def _headers(authority: bytes, path: str, left: str) -> Headers:
    """Return what every call of one length begins with."""
    return (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", authority),
        (b"te", b"trailers"),
        (b"grpc-timeout", left.encode()),
        TYPE,
        (b"user-agent", b"grpc-python-tollbook"),
        (b"grpc-accept-encoding", ENCODINGS.encode()),
    )


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    number = int(port)
    if not host or not 0 < number < 65_536:
        raise ValueError("an address is HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), number
