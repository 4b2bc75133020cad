"""Bodies of requests: read with patience that ends, unpacked with a bound, counted together."""

import asyncio
import zlib
from typing import NamedTuple

from aiohttp import web
from aiohttp.web_protocol import PayloadAccessError
from tollbook.errors import Unavailable

from entrypoints.http.problems import BadRequest, TimedOut, TooLarge, UnsupportedMediaType

READ_AT_ONCE = 1 << 30
"""So many bytes of requests may be in memory at once; more are refused as `overloaded`."""

BYTES_A_SECOND = 65_536
"""A body that comes more slowly than this is not waited for."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


class ClientGoneError(Exception):
    """The client left: nobody waits for an answer any more."""


class Patience(NamedTuple):
    """How long clients are waited for, in seconds."""

    idle: float = 75.0
    """For a whole head on a connection, be it new, kept, or half-way through a head."""
    body: float = 20.0
    """For a body, beside the time that its bytes may take."""
    write: float = 60.0
    """For a client to take a piece of its answer."""


class Bodies:
    """Reads bodies; one for each front."""

    def __init__(self, limit: int, patience: Patience) -> None:
        """Let no body be larger than a limit."""
        self._limit = limit
        self._patience = patience
        self.held = 0
        """How many bytes of requests are in memory."""

    def hold(self, size: int) -> None:
        """Count bytes that are in memory from now on; raises Unavailable where it is full."""
        if self.held + size > READ_AT_ONCE:
            raise Unavailable("too many large requests at once: try later", code="overloaded")
        self.held += size

    def drop(self, size: int) -> None:
        """Count bytes that are in memory no more."""
        self.held -= size

    async def read(self, request: web.BaseRequest) -> bytes:
        """Return the body as it came, which the caller drops; raises TooLarge or TimedOut."""
        length = request.content_length
        if length is not None and length > self._limit:
            raise self._too_large()
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(_CONTINUE)
        pieces: list[bytes] = []
        try:
            await self._read(request, pieces)
        except TimeoutError:
            self.drop(_size(pieces))
            raise TimedOut("the body did not arrive in time") from None
        except (OSError, web.RequestPayloadError, PayloadAccessError):
            self.drop(_size(pieces))
            raise ClientGoneError from None
        except BaseException:
            self.drop(_size(pieces))
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _read(self, request: web.BaseRequest, pieces: list[bytes]) -> None:
        """Read pieces to the end; each that is in the list is counted."""
        content, size = request.content, 0
        until = asyncio.get_running_loop().time() + self._patience.body
        while not content.at_eof():
            if content.is_eof():
                piece = content.read_nowait()  # all of it is here, as it is nearly always
            else:
                async with asyncio.timeout_at(until + size / BYTES_A_SECOND):
                    piece = await content.readany()
            self.hold(len(piece))
            pieces.append(piece)
            size += len(piece)
            if size > self._limit:
                raise self._too_large()

    def inflated(self, data: bytes, encoding: str) -> bytes:
        """Return a body without its compression; raises TooLarge before it grows too large."""
        encoding = encoding.strip().lower()
        if encoding in ("", "identity"):
            return data
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise UnsupportedMediaType("a body is plain, or compressed by gzip or deflate")
        unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            found = unpacking.decompress(data, self._limit + 1)
        except zlib.error:
            raise BadRequest(f"the body is not compressed by {encoding}") from None
        if len(found) > self._limit:
            raise self._too_large()
        if not unpacking.eof or unpacking.unused_data:
            raise BadRequest(f"the body is not one whole compression by {encoding}")
        return found

    def _too_large(self) -> TooLarge:
        return TooLarge(f"a request has at most {self._limit} bytes", limit=self._limit)


def _size(pieces: list[bytes]) -> int:
    return sum(map(len, pieces))
