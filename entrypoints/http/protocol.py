"""The protocol: uvicorn's, with what it lacks: a limit and a deadline for the head of a request.

Whoever sends the head of a request byte by byte, or without end, is answered and cut off. A
connection on which nothing has come yet may stay open as long as an idle one.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from entrypoints.settings import ServeSettings

PROBLEM = b"application/problem+json"


class BoundedProtocol(HttpToolsProtocol):
    """One connection; `protocol_for` makes the class that knows the limits."""

    settings: ClassVar[ServeSettings]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what uvicorn gives."""
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._reading_head = True
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request; one connection too many is closed at once."""
        super().connection_made(transport)
        if len(self.connections) > self.settings.connections:
            self._refuse(503, "overloaded", "too many connections: try again later")
            return
        self._wait(self.settings.idle_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the head of a request may neither be too long nor take too long."""
        if self._reading_head and not self._head_bytes:
            self._wait(self.settings.header_seconds)
        self._head_bytes += len(data) if self._reading_head else 0
        super().data_received(data)
        most = self.settings.header_bytes
        if self._reading_head and self._head_bytes > most and not self.transport.is_closing():
            self._refuse(431, "invalid", f"the head of a request has at most {most} bytes")

    def on_headers_complete(self) -> None:
        """Stop the clock: what follows is the body, which has limits of its own."""
        self._reading_head = False
        self._head_bytes = 0
        self._wait(None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for the head of the next request."""
        self._reading_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP as every other problem is answered."""
        self._refuse(400, "invalid", msg)

    def _wait(self, seconds: float | None) -> None:
        """Wait so long for the head of a request, or stop waiting."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None
        if seconds is not None:
            self._deadline = self.loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        """Close a connection on which no whole head came in time."""
        if self.transport.is_closing():
            return
        if not self._head_bytes:
            self.transport.close()  # nothing was asked, so nothing is answered
            return
        seconds = self.settings.header_seconds
        self._refuse(408, "timeout", f"the head of the request did not arrive within {seconds} s")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer with a problem and close the connection."""
        title = HTTPStatus(status).phrase
        document = {"code": code, "title": title, "status": status, "detail": detail}
        body = json.dumps(document).encode()
        lines = (
            f"HTTP/1.1 {status} {title}".encode(),
            b"content-type: " + PROBLEM,
            b"content-length: " + str(len(body)).encode(),
            b"connection: close",
        )
        self._wait(None)
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        self.transport.close()


def protocol_for(limits: ServeSettings) -> type[BoundedProtocol]:
    """Return the protocol with these limits."""

    class Bounded(BoundedProtocol):
        settings = limits

    return Bounded
