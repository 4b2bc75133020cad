"""The protocol: HTTP/1.1 on one connection, with the limits that uvicorn's own does not have.

A head must be complete within a time and a size, a connection without a request is closed after a
while, and there are only so many connections. What cannot be understood is answered as a problem.
"""

import asyncio
from typing import Any, ClassVar, cast

import httptools
from starlette.responses import Response
from tollbook.errors import TollbookError
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from entrypoints.http.problems import BadRequest, TimedOut, TooLarge, problem_response
from entrypoints.settings import ServeSettings

HEADERS_MAX = 100
"""The most header fields that a request may have."""

PIPELINED_MAX = 32
"""How many requests may be sent ahead of their answers."""

LINGER_SECONDS = 2.0
"""How long what is still being sent is read and thrown away, so that the answer is not lost."""


class HeadTooLarge(TooLarge):
    """The head of a request is longer than what is read."""

    http_status = 431


class LimitedProtocol(HttpToolsProtocol):
    """One connection; `protocol_for` makes the class that knows the limits."""

    settings: ClassVar[ServeSettings]
    connections_max: ClassVar[int]

    def __init__(self, *args: Any, **more: Any) -> None:
        """Begin without a request."""
        super().__init__(*args, **more)
        self._head_open = False
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._idle = True
        self._refusal: TollbookError | None = None
        self._is_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or close it at once when there are too many."""
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", Lingering(transport, self))
        if len(self.connections) > self.connections_max:
            self._is_over = True
            transport.close()
            return
        self._wait(self.settings.idle_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._is_over = True
        self._stop_waiting()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Let the answer to what was sent whole still go out."""
        if self._head_open:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read what has come, and see that the head of a request does not take for ever."""
        if self._is_over:
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing else is spoken here: the request is answered, and the connection closed.
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            rule = "an HTTP/1.1 request"
            self._refuse(self._refusal or BadRequest(f"this is not {rule}", rule=rule))
            return
        self._look_after(len(data))

    def _look_after(self, received: int) -> None:
        """Start or stop the clock of a head that is still incomplete."""
        if self._head_open:
            self._head_bytes += received
            if self._head_bytes > self.settings.header_bytes:
                self._refuse(self._too_long())
            elif self._timer is None or self._idle:
                self._wait(self.settings.header_seconds, idle=False)
        elif len(self.pipeline) > PIPELINED_MAX:
            self._is_over = True
            self.transport.close()
        elif self._is_answering():
            self._stop_waiting()
        elif self._timer is None and self.timeout_keep_alive_task is None:
            self._wait(self.settings.idle_seconds)  # empty lines between requests

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._head_open = True
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field, if it is not one too many."""
        super().on_header(name, value)
        if len(self.headers) > HEADERS_MAX:
            self._refusal = self._too_long()
            raise self._refusal

    def on_headers_complete(self) -> None:
        """Take a whole head, if it is not too long."""
        self._head_open = False
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.settings.header_bytes:
            self._refusal = self._too_long()
            raise self._refusal
        super().on_headers_complete()

    def is_mid_body(self) -> bool:
        """Say whether the body of the request that is being answered is still to come."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.more_body and not cycle.disconnected

    def discard(self) -> None:
        """Throw away whatever still comes."""
        self._is_over = True
        self._stop_waiting()
        self.flow.resume_reading()

    def _is_answering(self) -> bool:
        """Say whether a request waits for the end of its answer."""
        cycle: RequestResponseCycle | None = self.cycle  # there is none before the first request
        return cycle is not None and not (cycle.response_complete or cycle.disconnected)

    def _too_long(self) -> HeadTooLarge:
        rule = f"at most {self.settings.header_bytes} bytes in {HEADERS_MAX} fields"
        return HeadTooLarge(f"the head of a request must be {rule}", field="headers", rule=rule)

    def _wait(self, seconds: float, *, idle: bool = True) -> None:
        self._stop_waiting()
        self._idle = idle
        self._timer = self.loop.call_later(seconds, self._waited)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _waited(self) -> None:
        """Close a connection whose head did not come; one that is busy with another is not late."""
        self._timer = None
        if self._is_over:
            return
        if self._is_answering():
            self._wait(self.settings.header_seconds, idle=False)
        elif self._head_open:
            seconds = self.settings.header_seconds
            self._refuse(TimedOut(f"the head of the request did not come within {seconds} s"))
        else:
            self._is_over = True
            self.transport.close()

    def _refuse(self, error: TollbookError) -> None:
        """Answer what no handler will see, and close; what was asked before is still answered."""
        self._is_over = True
        self._stop_waiting()
        if self._is_answering():
            if not self.is_mid_body() or self.pipeline or self.cycle.response_started:
                self.cycle.keep_alive = False
                return
            # Its body makes no sense, so the handler hears that the sender has gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(self._bytes_of(problem_response(error)))
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _bytes_of(self, response: Response) -> bytes:
        lines = [*self.server_state.default_headers, *response.raw_headers]
        lines.append((b"connection", b"close"))
        head = b"".join(name + b": " + value + b"\r\n" for name, value in lines)
        return STATUS_LINE[response.status_code] + head + b"\r\n" + bytes(response.body)


class Lingering:
    """A transport that writes once for head and body, and closes gently.

    A system call less for each answer is a handover of the interpreter less. A sender who is still
    sending when the connection is closed can read the answer first.
    """

    def __init__(self, transport: asyncio.Transport, protocol: LimitedProtocol) -> None:
        """Stand before a transport."""
        self._transport = transport
        self._protocol = protocol
        self._closing = False
        self._pieces: list[bytes] = []
        self.get_extra_info = transport.get_extra_info

    def write(self, data: bytes) -> None:
        """Send bytes, together with all that is written before the loop goes on."""
        if not self._pieces:
            self._protocol.loop.call_soon(self.flush)
        self._pieces.append(data)

    def flush(self) -> None:
        """Send what was written."""
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            if not self._transport.is_closing():
                self._transport.write(data)

    def write_eof(self) -> None:
        """Send what was written, and then nothing more."""
        self.flush()
        if not self._transport.is_closing():
            self._transport.write_eof()

    def is_closing(self) -> bool:
        """Say whether nothing more will be sent."""
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        """Close, at once or as soon as the sender has had a moment to read."""
        self.flush()
        transport = self._transport
        if self._closing or transport.is_closing() or not self._protocol.is_mid_body():
            transport.close()
            return
        self._closing = True
        self._protocol.discard()
        transport.write_eof()
        self._protocol.loop.call_later(LINGER_SECONDS, transport.close)


def protocol_for(limits: ServeSettings, connections: int) -> type[LimitedProtocol]:
    """Return the protocol with these limits, and at most so many connections."""

    class Limited(LimitedProtocol):
        settings = limits
        connections_max = connections

    return Limited
