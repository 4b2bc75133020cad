"""Kept connections to one server over HTTP: a request goes out whole, and its answer comes whole.

There is no more here than an inference needs, and it costs half of what a client for everything
does; an answer that comes in pieces is read by aiohttp (`http_client.py`).
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import httptools
from multidict import CIMultiDict

KEPT_SECONDS = 30.0
"""So long a connection is kept that nobody uses: its server may end it under the next request."""
CONNECT_SECONDS = 5.0
HEAD_BYTES_MAX = 65_536
_CONTINUES = range(100, 200)


class HttpAnswer(NamedTuple):
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    """Names in any case find their values."""
    body: bytes

    @property
    def media_type(self) -> str:
        """The content type, as the server wrote it."""
        return self.headers.get("Content-Type", "application/json")


class BrokenError(Exception):
    """The request went out, and no whole answer came."""


class NotConnectedError(Exception):
    """There is no connection: nothing went out."""


class _Connection(asyncio.Protocol):
    """One connection, with one request under way at most; the loop calls it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[HttpAnswer] | None = None
        self._parser: Any = None
        self._headers: list[tuple[str, str]] = []
        self._pieces: list[bytes] = []
        self._found: CIMultiDict[str] | None = None
        """The headers, once they are whole."""
        self._size = self._head_size = 0
        self._ends_with_it = False
        """Whether the answer lasts until the connection ends."""
        self.since = 0.0
        """Since when nobody uses it."""

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, head: bytes, body: bytes) -> HttpAnswer:
        """Send a request and return its answer; raises as `Connections.ask`.

        Whoever leaves before the answer ends the connection: so the server learns of it.
        """
        if self._transport is None or self._transport.is_closing():
            raise NotConnectedError("the server ended the connection at once")
        self._parser = httptools.HttpResponseParser(self)
        self._size = self._head_size = 0
        self._ends_with_it = False
        self._answered = asyncio.get_running_loop().create_future()
        try:
            self._transport.writelines((head, body))
            return await self._answered
        except BaseException:
            self.close()
            raise
        finally:
            # What may be large is not kept with a connection that nobody uses.
            self._answered = self._parser = self._found = None
            self._headers, self._pieces = [], []

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on; whatever nobody asked for, or is no HTTP, ends the connection."""
        if self._answered is None or self._answered.done():
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._broke(f"it is no HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that it ended, which ends an answer without a length."""
        if self._answered is not None and self._ends_with_it and exc is None:
            self.on_message_complete()
        self._broke(f"the connection ended: {exc}" if exc else "the connection ended")

    def on_message_begin(self) -> None:
        """Begin an answer: there is only one."""
        if self._answered is None or self._answered.done():
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._head_size += len(name) + len(value)
        if self._head_size > HEAD_BYTES_MAX:
            self._broke("its head is too large")
            return
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Look at how long the answer is."""
        headers = self._found = CIMultiDict(self._headers)
        length = headers.get("Content-Length")
        if length is not None and int(length) > self._most:
            self._broke(f"it is larger than {self._most} bytes")
        self._ends_with_it = length is None and "Transfer-Encoding" not in headers

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._size += len(body)
        if self._size > self._most:
            self._broke(f"it is larger than {self._most} bytes")
        else:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Give the answer to whoever waits for it."""
        status = self._parser.get_status_code()
        if status in _CONTINUES:
            self._headers = []
        elif self._answered is not None and not self._answered.done():
            body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            headers = self._found
            if headers is None or len(headers) != len(self._headers):
                headers = CIMultiDict(self._headers)  # some came behind the body
            self._answered.set_result(HttpAnswer(status, headers, body))
            if not self._parser.should_keep_alive():
                self.close()

    def _broke(self, reason: str) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(BrokenError(reason))
        self.close()


class Connections:
    """The connections to one server; used on one event loop."""

    def __init__(self, address: str, most: int) -> None:
        """Connect when first needed; an answer has so many bytes at most."""
        self._address = address
        self._host, _, self._port = address.rpartition(":")
        self._most = most
        self._free: list[_Connection] = []

    async def ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> HttpAnswer:
        """Send a request; raises NotConnectedError or BrokenError."""
        head = self._head(method, path, body, headers)
        connection = self._kept() or await self._connected()
        answer = await connection.ask(head, body)
        if connection.is_open:
            connection.since = time.monotonic()
            self._free.append(connection)
        return answer

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._free:
            self._free.pop().close()

    def _kept(self) -> _Connection | None:
        """Return the one that was used last; those that nobody needs any more are closed."""
        while self._free and time.monotonic() - self._free[0].since > KEPT_SECONDS:
            self._free.pop(0).close()
        while self._free:
            found = self._free.pop()
            if found.is_open:
                return found
        return None

    async def _connected(self) -> _Connection:
        loop, host = asyncio.get_running_loop(), self._host.strip("[]")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, made = await loop.create_connection(
                    lambda: _Connection(self._most), host, int(self._port)
                )
        except (OSError, ValueError) as error:
            raise NotConnectedError(str(error) or type(error).__name__) from None
        return made

    def _head(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self._address}",
            # Triton compresses for whoever lets it, and the answer has to be read here.
            "Accept-Encoding: identity",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        text = "\r\n".join(lines)
        ends = len(lines) - 1
        if text.count("\r") != ends or text.count("\n") != ends:
            raise NotConnectedError("a header has more than one line")
        return (text + "\r\n\r\n").encode("utf-8", "surrogateescape")
