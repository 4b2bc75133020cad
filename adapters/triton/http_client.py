"""A pool's server over HTTP: answers of bounded size that come whole, and others in pieces."""

import io
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Self

import aiohttp
from tollbook.errors import Unavailable, Unknown
from yarl import URL

from adapters.limits import Limits
from adapters.triton.http_connections import (
    CONNECT_SECONDS,
    KEPT_SECONDS,
    BrokenError,
    Connections,
    HttpAnswer,
    NotConnectedError,
)

DOWN_SECONDS = 1.0
"""So long after a failed connection a pool counts as down, unless a later one is made."""

_LARGE_BYTES = 1_000_000
"""The client writes larger bodies piece by piece, so that the loop goes on meanwhile."""


class NotReached(Unavailable):
    """The server could not be connected to: it never saw the request."""


class AnswerLost(Unknown):
    """The request went out, and no whole answer came back: nobody knows what was done."""


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
        self._kept = Connections(address, message_bytes)
        self._limits = Limits()
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
            with nullcontext() if seconds is None else self._limits.within(seconds):
                answer = await self._kept.ask(method, path, body, headers or {})
        except TimeoutError:
            raise AnswerLost(f"the server did not answer within {seconds} s") from None
        except NotConnectedError as error:
            self._down_until = time.monotonic() + DOWN_SECONDS
            raise NotReached(f"the server does not answer: {_said(error)}") from None
        except BrokenError as error:
            raise AnswerLost(f"no whole answer of the server came: {_said(error)}") from None
        self._down_until = 0.0
        return answer

    @asynccontextmanager
    async def stream(
        self, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[HttpStream]:
        """Send a request whose answer comes in pieces; leaving the block early cuts it off."""
        async with self._asked("POST", path, body, headers) as response:
            yield HttpStream(response)

    async def close(self) -> None:
        """Close all connections."""
        self._kept.close()
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

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
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
