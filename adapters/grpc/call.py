"""One call of a client: what its handler may read, write and say at its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import ngh2

from adapters.grpc import messages
from adapters.grpc.asked import Asked, asked_of
from adapters.grpc.messages import Headers, MessageError, Messages, Metadata

if TYPE_CHECKING:
    from adapters.grpc.connection import Connection
    from adapters.grpc.server import Server

logger = logging.getLogger("tollbook.gateway")

HELD_MAX = 1 << 30
"""So many bytes of messages may be here that are not whole, or that nobody has read."""
_WINDOW_MAX = 4 * 2**20
"""So much of a large message is on its way at a time."""

Handler = Callable[["Call"], Awaitable[bytes | None]]
"""Handles a call; what it returns is its answer's only message, None where it wrote its own."""


class EndedError(Exception):
    """The call is over: whatever is to be said has been said."""


class Call:
    """One call, from its headers to its status."""

    __slots__ = (
        "_connection",
        "_deadline",
        "_has_answered",
        "_is_over",
        "_left",
        "_messages",
        "_metadata",
        "_reader",
        "_server",
        "_stream",
        "_trailing",
        "_untaken",
        "has_asked",
        "task",
    )

    def __init__(self, connection: Any, server: "Server", stream: int) -> None:
        """Wait for its headers."""
        self._connection: Connection = connection
        self._server = server
        self._stream = stream
        self._messages: Messages | None = None
        self._metadata: Metadata = ()
        self._trailing: Headers = []
        self.has_asked = False
        """Whether the client has sent all that it will."""
        self._has_answered = self._is_over = False
        self._untaken = 0
        """Bytes that came and whose room was not given back."""
        self._reader: asyncio.Future[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._left: Callable[[], None] | None = None
        self.task: asyncio.Task[None] | None = None

    # What its handler uses.
    def invocation_metadata(self) -> Metadata:
        """Return what the client says beside its messages."""
        return self._metadata

    def peer(self) -> str:
        """Return where it comes from, like `ipv4:127.0.0.1:5000`."""
        return str(getattr(self._connection, "peer", ""))

    async def read(self) -> bytes | None:
        """Return the next message, or None after the last; raises EndedError for a broken one."""
        found = self._messages
        assert found is not None
        if self._is_over:
            raise EndedError
        try:
            while (missing := found.missing()) and not self.has_asked:
                self._make_room(missing)
                self._reader = asyncio.get_running_loop().create_future()
                try:
                    await self._reader
                finally:
                    self._reader = None
                if self._is_over:
                    raise EndedError
            if missing and not found.waiting:
                return None
            self._server.held -= found.waiting
            try:
                message = found.take()
            finally:
                self._server.held += found.waiting
        except MessageError as error:
            self._finish(error.status, str(error))
            raise EndedError from None
        self._took(self._untaken - found.waiting)
        return message

    async def write(self, message: bytes) -> None:
        """Send a message, and return when it has left; raises EndedError where nobody takes it."""
        self._send(message)
        self._connection.flush()
        await self._connection.left(self._stream)
        if self._is_over:
            raise EndedError

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Say something beside the status at the end."""
        self._trailing = messages.headers_of(metadata)

    async def abort(
        self, status: grpc.StatusCode, words: str, metadata: Iterable[tuple[str, str | bytes]] = ()
    ) -> NoReturn:
        """End the call with a status; always raises EndedError."""
        self.set_trailing_metadata(metadata)
        self._finish(status, words)
        raise EndedError

    def goes_on(self, left: Callable[[], None]) -> None:
        """Have its handler run to its end from now on; it is told by `left` if nobody waits."""
        self._left = left

    def cancel(self) -> None:
        """End the call, whatever its handler does."""
        if self._left is not None:
            self._finish(grpc.StatusCode.CANCELLED, "the call was cancelled")
            self._left()
        elif self.task is not None:
            self.task.cancel()

    # What its connection tells it.
    def headers(self, headers: tuple[tuple[bytes, bytes], ...], *, is_end: bool) -> None:
        """Begin with the first headers; others are the client's trailers, of which it has none."""
        self.has_asked = is_end
        if self._messages is not None:
            self._wake()
            return
        asked = asked_of(headers)
        self._messages = Messages(self._server.message_bytes, asked.encoding)
        handler = self._server.handlers.get(asked.path)
        if not asked.is_grpc:
            self._end(messages.NOT_GRPC)
        elif self._server.is_full:
            self._finish(grpc.StatusCode.UNAVAILABLE, "too many calls are under way: try later")
        elif asked.is_large:
            self._finish(grpc.StatusCode.RESOURCE_EXHAUSTED, "the metadata is too large")
        elif handler is None:
            self._finish(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")
        elif not messages.is_known(asked.encoding):
            words = f"messages come as {messages.ENCODINGS}, not as {asked.encoding[:40]}"
            self._finish(grpc.StatusCode.UNIMPLEMENTED, words)
        elif asked.problem is not None:
            self._finish(grpc.StatusCode.INTERNAL, asked.problem)
        else:
            self._begin(asked, handler)

    def _begin(self, asked: Asked, handler: Handler) -> None:
        self._metadata = asked.metadata
        loop = asyncio.get_running_loop()
        if asked.seconds is not None:
            if not asked.seconds:
                self._expire()
                return
            self._deadline = loop.call_later(asked.seconds, self._expire)
        self._server.calls.add(self)
        self.task = loop.create_task(self._run(handler))
        self.task.add_done_callback(lambda _: self._server.calls.discard(self))  # also unbegun

    def data(self, piece: bytes, *, is_end: bool) -> None:
        """Keep a piece of a message until it is read."""
        self.has_asked = is_end
        self._untaken += len(piece)
        if self._is_over or self._messages is None:
            self._took(self._untaken)
            return
        self._messages.feed(piece)
        self._server.held += len(piece)
        if self._server.held > HELD_MAX:
            self._finish(grpc.StatusCode.UNAVAILABLE, "too many large requests: try later")
        self._wake()

    def _wake(self) -> None:
        """Let whoever reads look, if there is something to see."""
        if self._reader is None or self._reader.done():
            return
        assert self._messages is not None
        try:
            missing = self._messages.missing()
        except MessageError:
            missing = 0
        if missing and not self.has_asked and not self._is_over:
            self._took(self._untaken)
        else:
            self._reader.set_result(None)

    def closed(self, _error: int | None) -> None:
        """Take note that the client is gone, or has everything."""
        was_over = self._is_over
        self._over()
        if not was_over:
            self.cancel()  # whoever has said the end by himself may do what is left to do
        self._took(self._untaken)
        self._server.untaken.drop(self._connection, self._stream)

    # How it goes on.

    async def _run(self, handler: Handler) -> None:
        try:
            answer = await handler(self)
            if answer is not None:
                self._send(answer)
            self._finish(grpc.StatusCode.OK, "")
        except EndedError:
            self._finish(grpc.StatusCode.UNKNOWN, "the call ended without a status")
        except asyncio.CancelledError:
            self._finish(grpc.StatusCode.CANCELLED, "the call was cancelled")
        except Exception:
            logger.exception("a call failed")
            self._finish(grpc.StatusCode.UNKNOWN, "the call failed")

    def _expire(self) -> None:
        self._finish(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        self.cancel()

    def _send(self, message: bytes) -> None:
        if self._is_over:
            raise EndedError
        if not self._has_answered:
            self._has_answered = True
            self._say(self._connection.h2.send_response, messages.ANSWERED)
        self._say(self._connection.h2.send_data, messages.framed(message))

    def _finish(self, status: grpc.StatusCode, words: str) -> None:
        self._end([*messages.status(status, words), *self._trailing])

    def _end(self, said: Sequence[tuple[bytes, bytes]]) -> None:
        if self._is_over:
            return
        if self._has_answered:
            self._say(self._connection.h2.send_trailers, said)
        else:
            beside = () if said is messages.NOT_GRPC else messages.ANSWERED
            self._say(self._connection.h2.send_response, [*beside, *said], end_stream=True)
        self._over()
        self._took(self._untaken)
        self._connection.flush_unless_due()
        if self._stream in self._connection.streams:
            asyncio.get_running_loop().call_soon(self._hang_up)

    def _hang_up(self) -> None:
        """Have a client that still sends stop; wait for one that does not take the end."""
        connection = self._connection
        if self._stream not in connection.streams or not connection.is_open:
            return
        if not connection.is_through(self._stream, has_body=self._has_answered):
            self._server.untaken.keep(connection, self._stream)
        elif not self.has_asked:
            self._say(connection.h2.reset_stream, ngh2.ErrorCode.NO_ERROR)
            connection.flush_soon()

    def _say(self, say: Callable[..., Any], *what: Any, **more: Any) -> None:
        """Hand something over to be sent; where the client has left, that is told next."""
        with suppress(ngh2.NGH2Error):
            say(self._stream, *what, **more)

    def _over(self) -> None:
        if not self._is_over and self._messages is not None:
            self._server.held -= self._messages.waiting
        self._is_over = True
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _make_room(self, missing: int) -> None:
        """Let the client send what the next message lacks."""
        self._took(self._untaken)
        connection = self._connection
        if not connection.is_open:
            return  # its end is told next
        if missing > connection.h2.stream_local_window_size(self._stream):
            window = min(missing, _WINDOW_MAX)
            connection.h2.set_local_window_size(window, stream_id=self._stream)
            connection.flush_soon()

    def _took(self, count: int) -> None:
        if count > 0:
            self._untaken -= count
            self._connection.took(self._stream, count)
