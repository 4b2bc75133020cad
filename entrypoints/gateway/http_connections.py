"""Connections of clients over HTTP: so many at once, and each tells when it is lost.

What a client has asked for goes on when it is gone: a stop waits for that as for everything else.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import cache
from typing import cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server
from tollbook.errors import Unavailable

from adapters.places import Places
from entrypoints.gateway import http_calls as calls
from entrypoints.gateway.http_bodies import Patience

PIECE_BYTES = 65_536
"""So much of an answer is written at once."""

_quiet = logging.getLogger("tollbook.gateway.protocol")
_quiet.setLevel(logging.CRITICAL)
"""What is no HTTP is answered, and fills no log."""
_LINE_BYTES = 16_384


class Connection(RequestHandler):
    """One connection; the loop calls it."""

    __slots__ = ("_has_place", "_stuck", "_tell")

    _has_place: bool
    _stuck: asyncio.TimerHandle | None
    _tell: Callable[[], None] | None

    @staticmethod
    def of(request: web.BaseRequest) -> "Connection":
        """Return the connection that a request came on."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many."""
        self._tell = self._stuck = None
        super().connection_made(transport)
        self._has_place = self._connections.places.take()
        if self._connections.is_stopping:
            self.force_close()
        elif not self._has_place:
            cast("asyncio.Transport", transport).write(_refusal())
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell whoever wants to know."""
        connections, task = self._connections, self._task_handler
        self._expect_no_more()
        super().connection_lost(exc)
        connections.lost(task)
        if self._has_place:
            self._has_place = False
            connections.places.give_back()
        if self._tell is not None:
            self._tell()

    def pause_writing(self) -> None:
        """Leave what waits with the socket, and not for ever: small answers may be many."""
        super().pause_writing()
        self._expect()

    def resume_writing(self) -> None:
        """Go on writing."""
        self._expect_no_more()
        super().resume_writing()

    def _expect(self) -> None:
        waiting, seconds = self._unread(), self._connections.patience.write
        self._stuck = self._loop.call_later(seconds, self._look_at, waiting)

    def _expect_no_more(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _look_at(self, waited: int) -> None:
        """Leave a client that took nothing of what waits since this was last looked at."""
        if self._unread() < waited:
            self._expect()
        elif self.transport is not None:
            self.transport.abort()

    def _unread(self) -> int:
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    @property
    def _connections(self) -> "Connections":
        assert isinstance(self._manager, Connections)
        return self._manager

    def last(self) -> "asyncio.Task[None] | None":
        """Take no request any more; return what answers the one that is under way.

        With that the connection ends, so that its client does not ask here any more, in vain.
        """
        self._force_close = True
        task = self._task_handler
        if task is None or task.done():
            self.force_close()
            return None
        task.add_done_callback(lambda _: self.force_close())
        return task

    def when_lost(self, tell: Callable[[], None] | None) -> None:
        """Have this called when the client is gone; at once, where it is gone already."""
        self._tell = tell
        if tell is not None and self.transport is None:
            tell()


async def sent(
    request: web.BaseRequest, answer: web.Response, body: bytes, seconds: float
) -> web.StreamResponse:
    """Send a large answer piece by piece; a client that takes none for so long is left.

    A small one is returned to be sent: the connection takes it at once.
    """
    if len(body) <= PIECE_BYTES:
        return answer
    answer.headers["Content-Length"] = str(len(body))
    stream = web.StreamResponse(status=answer.status, headers=answer.headers)
    try:
        await stream.prepare(request)
        for begin in range(0, len(body), PIECE_BYTES):
            async with asyncio.timeout(seconds):
                await stream.write(body[begin : begin + PIECE_BYTES])
    except (OSError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
    return stream


@cache
def _refusal() -> bytes:
    """Return what a client reads for whom there is no place, whatever it asks."""
    told = calls.refusal(Unavailable("too many connections: try later", code="overloaded"))
    assert isinstance(told.body, bytes)
    given = {**told.headers, "Content-Length": str(len(told.body)), "Connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {told.status} {told.reason}\r\n{lines}\r\n".encode() + told.body


class Connections(Server):
    """Makes the connections."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], object],
        patience: Patience,
        places: Places,
    ) -> None:
        """Give each request to a handler."""
        self.places, self.patience = places, patience
        self.is_stopping = False
        """Whether nobody may begin any more, such as who connected just before the stop."""
        self._left: set[asyncio.Task[None]] = set()
        """What goes on for clients that are gone."""
        super().__init__(
            handler,  # type: ignore[arg-type]
            access_log=None,
            logger=_quiet,
            # What comes is hashed as it came, and unpacked with a bound of our own.
            auto_decompress=False,
            keepalive_timeout=patience.idle,
            lingering_time=5.0,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
        )

    def pre_shutdown(self) -> None:
        """Have each connection end with the request that is under way, and no other begin."""
        self.is_stopping = True
        super().pre_shutdown()

    async def have_ended(self, seconds: float) -> bool:
        """Let the requests under way end for so long, and say whether all have."""
        found = [each.last() for each in self.connections if isinstance(each, Connection)]
        if not (tasks := [*self._left, *(each for each in found if each is not None)]):
            return True
        _, left = await asyncio.wait(tasks, timeout=seconds)
        return not left

    def lost(self, task: "asyncio.Task[None] | None") -> None:
        """Keep what goes on though its client is gone, until it has ended."""
        if task is not None and not task.done():
            self._left.add(task)
            task.add_done_callback(self._left.discard)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as it was
        """End what still runs, whether its client is there, gone, or goes meanwhile."""
        for task in tuple(self._left):
            task.cancel()
        await super().shutdown(timeout)
        left = tuple(self._left)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=timeout)

    def __call__(self) -> Connection:
        """Return what handles a new connection."""
        return Connection(self, loop=self._loop, **self._kwargs)
