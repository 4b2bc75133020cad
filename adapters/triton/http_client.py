"""A pool's server over HTTP: one session of kept connections, and answers of bounded size."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, Self

import aiohttp
from tollbook.errors import Unavailable, Unknown
from yarl import URL

DOWN_SECONDS = 1.0
"""So long after a failed connection a pool counts as down, unless a later one is made."""

_CONNECT_SECONDS = 5.0
_LARGE_BYTES = 1_000_000
"""The client writes larger bodies piece by piece, so that the loop goes on meanwhile."""


class NotReached(Unavailable):
    """The server could not be connected to: it never saw the request."""


class AnswerLost(Unknown):
    """The request went out, and no whole answer came back: nobody knows what was done."""


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


class HttpStream:
    """An answer that comes in pieces."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        """Read from a response whose head has come."""
        self._response = response
        self.status = response.status
        self.media_type = response.headers.get("Content-Type", "")

    async def piece(self) -> bytes:
        """Return the next piece; empty at the end. Raises AnswerLost when it breaks off."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise AnswerLost(f"the server's answer broke off: {_said(error)}") from None


class HttpClient:
    """Sends requests to one pool; used on one event loop."""

    def __init__(self, address: str, message_bytes: int) -> None:
        """Know where the pool is; connections are made when they are needed."""
        self.address = address
        self._root = f"http://{address}"
        self._bytes = message_bytes
        self._session: aiohttp.ClientSession | None = None
        self._down_until = 0.0

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self.close()

    @property
    def is_down(self) -> bool:
        """Whether the last try to connect failed a moment ago."""
        return time.monotonic() < self._down_until

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> HttpAnswer:
        """Send a request and return the whole answer; raises NotReached or AnswerLost."""
        try:
            async with (
                asyncio.timeout(seconds),
                self._asked(method, path, body, headers) as response,
            ):
                return HttpAnswer(response.status, response.headers, await self._read(response))
        except TimeoutError:
            raise AnswerLost(f"the server did not answer within {seconds} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise AnswerLost(f"the server's answer broke off: {_said(error)}") from None

    @asynccontextmanager
    async def stream(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[HttpStream]:
        """Send a request whose answer comes in pieces; leaving the block early cuts it off."""
        async with self._asked("POST", path, body, headers) as response:
            yield HttpStream(response)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await self._sent(method, path, body, headers)
        try:
            yield response
            done = response.content.at_eof()
        except BaseException:
            response.close()
            raise
        if done:
            response.release()
        else:
            # Nobody wants the rest, and the server learns it by the connection's end.
            response.close()

    async def _sent(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None
    ) -> aiohttp.ClientResponse:
        data = io.BytesIO(body) if len(body) > _LARGE_BYTES else body or None
        url = URL(self._root + path, encoded=True)
        try:
            response = await self._open().request(
                method, url, data=data, headers=headers, allow_redirects=False
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._down_until = time.monotonic() + DOWN_SECONDS
            raise NotReached(f"the server does not answer: {_said(error)}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise AnswerLost(f"the connection to the server broke: {_said(error)}") from None
        self._down_until = 0.0
        return response

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        length = response.content_length
        if length is not None and length > self._bytes:
            raise AnswerLost(f"the server's answer is larger than {self._bytes} bytes")
        if length is not None:
            return await response.read()
        pieces, size = [], 0
        while piece := await response.content.readany():
            pieces.append(piece)
            size += len(piece)
            if size > self._bytes:
                raise AnswerLost(f"the server's answer is larger than {self._bytes} bytes")
        return b"".join(pieces)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Triton compresses for whoever lets it, and the answer has to be read here.
                headers={"Accept-Encoding": "identity"},
                skip_auto_headers=("User-Agent", "Accept"),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def _said(error: BaseException) -> str:
    return str(error).split("\n")[0] or type(error).__name__
