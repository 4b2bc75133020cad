"""Messages and headers as gRPC puts them on HTTP/2.

The format is the one of gRPC's own document, "gRPC over HTTP2" (PROTOCOL-HTTP2): each message has
five bytes before it, whether it is compressed and how long it is.
"""

import base64
import binascii
import zlib
from collections.abc import Iterable
from itertools import chain
from struct import Struct
from urllib.parse import quote_from_bytes, unquote_to_bytes

import grpc

Metadata = tuple[tuple[str, str | bytes], ...]
"""Names in lower case and their values: text, or bytes where the name ends in `-bin`."""

Headers = list[tuple[bytes, bytes]]

TYPE = (b"content-type", b"application/grpc")
ENCODINGS = "identity, deflate, gzip"
ANSWERED = ((b":status", b"200"), TYPE, (b"grpc-accept-encoding", ENCODINGS.encode()))
NOT_GRPC = ((b":status", b"415"),)
REMEMBERED_MAX = 256
"""So many calls' headers are remembered, of some KiB each: most clients say the same each time."""
_PREFIX = Struct(">BI")
_WINDOW_BITS = {"gzip": 31, "deflate": 15}
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_PIECE = 16_384
"""Smaller pieces of a body are put together: each would cost more than it holds."""
_BLANK = "%20"
_SAFE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_OURS = ("grpc-", ":")
_WELL = [(b"grpc-status", b"0")]
_STATUSES = {status.value[0]: status for status in grpc.StatusCode}


class MessageError(Exception):
    """A message that is not taken, with the status that says so."""

    def __init__(self, status: grpc.StatusCode, words: str) -> None:
        """Say what is wrong."""
        super().__init__(words)
        self.status = status


class Messages:
    """Finds the messages in the pieces of a body."""

    __slots__ = ("_begin", "_bytes", "_encoding", "_most", "_pieces")

    def __init__(self, most: int, encoding: str = "identity") -> None:
        """Take messages of so many bytes at most, in one of the ENCODINGS."""
        self._most = most
        self._encoding = encoding
        self._pieces: list[bytes] = []
        self._begin = 0
        """Where in the first piece the next message begins."""
        self._bytes = 0

    @property
    def waiting(self) -> int:
        """How many bytes of messages are here that nobody took."""
        return self._bytes

    def feed(self, piece: bytes) -> None:
        """Add the next piece of a body."""
        if self._pieces and len(self._pieces[-1]) + len(piece) <= _PIECE:
            self._pieces[-1] += piece
        else:
            self._pieces.append(piece)
        self._bytes += len(piece)

    def missing(self) -> int:
        """Return how many bytes the next message still lacks; raises MessageError."""
        if self._bytes < _PREFIX.size:
            return _PREFIX.size - self._bytes
        if len(self._pieces[0]) - self._begin < _PREFIX.size:
            self._join()
        size = int(_PREFIX.unpack_from(self._pieces[0], self._begin)[1])
        if size > self._most:
            raise self._too_large(size)
        return max(0, _PREFIX.size + size - self._bytes)

    def take(self) -> bytes:
        """Return the next message; raises MessageError, also where something of it is missing."""
        message = self.next()
        if message is None:
            raise MessageError(grpc.StatusCode.INTERNAL, "the last message is cut off")
        return message

    def next(self) -> bytes | None:
        """Return the next message, None where something of it is missing; raises MessageError."""
        if self.missing():
            return None
        flag, size = _PREFIX.unpack_from(self._pieces[0], self._begin)
        if len(self._pieces[0]) - self._begin < _PREFIX.size + size:
            self._join()
        first, begin = self._pieces[0], self._begin + _PREFIX.size
        message = first[begin : begin + size]
        self._bytes -= _PREFIX.size + size
        self._begin = begin + size
        if self._begin == len(first):
            del self._pieces[0]
            self._begin = 0
        return message if flag == 0 else self._decompressed(flag, message)

    def _join(self) -> None:
        """Make one piece of all, without what was taken."""
        self._pieces[0] = self._pieces[0][self._begin :]
        self._pieces = [b"".join(self._pieces)]
        self._begin = 0

    def _decompressed(self, flag: int, message: bytes) -> bytes:
        bits = _WINDOW_BITS.get(self._encoding)
        if flag != 1 or bits is None:
            words = f"a message is marked as compressed, in the encoding {self._encoding[:40]}"
            raise MessageError(grpc.StatusCode.INTERNAL, words)
        if not message:
            return b""  # nothing needs no wrapping, and some clients give it none
        unpacking = zlib.decompressobj(bits)
        try:
            found = unpacking.decompress(message, self._most + 1)
        except zlib.error:
            raise MessageError(
                grpc.StatusCode.INTERNAL, f"a message is not {self._encoding}"
            ) from None
        if len(found) > self._most:
            raise self._too_large(len(found))
        if not unpacking.eof or unpacking.unused_data:
            words = "a compressed message is cut off, or there is more behind it"
            raise MessageError(grpc.StatusCode.INTERNAL, words)
        return found

    def _too_large(self, size: int) -> MessageError:
        words = f"Received message larger than max ({size} vs. {self._most})"
        return MessageError(grpc.StatusCode.RESOURCE_EXHAUSTED, words)


def framed(message: bytes) -> bytes:
    """Return a message as it travels, uncompressed."""
    return _PREFIX.pack(0, len(message)) + message


def seconds(text: str) -> float:
    """Read a grpc-timeout; raises ValueError."""
    unit = _SECONDS.get(text[-1:])
    digits = text[:-1]
    if unit is None or not (digits.isascii() and digits.isdecimal()) or len(digits) > 8:
        raise ValueError("a timeout is up to eight digits and one of H, M, S, m, u, n")
    return int(digits) * unit


def timeout(given: float) -> str:
    """Write seconds as a grpc-timeout, in milliseconds or, where that is too many, in seconds."""
    milliseconds = max(1, round(given * 1000))
    return f"{milliseconds}m" if milliseconds < 10**8 else f"{min(round(given), 10**8 - 1)}S"


def quoted(words: str) -> bytes:
    """Write a grpc-message; no header may begin or end in a blank (RFC 9113, section 8.2.1)."""
    inner = words.strip(" ")
    before = len(words) - len(words.lstrip(" "))
    blanks = (before, len(words) - len(inner) - before)
    text = quote_from_bytes(inner.encode("utf-8", "replace"), safe=_SAFE)
    return (_BLANK * blanks[0] + text + _BLANK * blanks[1]).encode("ascii")


def unquoted(value: bytes) -> str:
    """Read a grpc-message; what is not UTF-8 is replaced, never refused."""
    return unquote_to_bytes(value).decode("utf-8", "replace")


def status(code: grpc.StatusCode, words: str) -> Headers:
    """Return the headers that end a call."""
    if code is grpc.StatusCode.OK:
        return _WELL
    return [(b"grpc-status", str(code.value[0]).encode()), (b"grpc-message", quoted(words))]


def is_grpc(headers: dict[bytes, bytes]) -> bool:
    """Say whether a request is a call at all."""
    kind = headers.get(b"content-type", b"").lower()
    is_ours = kind.startswith(TYPE[1]) and kind[len(TYPE[1]) :][:1] in (b"", b"+", b";")
    return is_ours and headers.get(b":method") == b"POST"


def is_known(encoding: str) -> bool:
    """Say whether messages may come in an encoding."""
    return encoding == "identity" or encoding in _WINDOW_BITS


def status_of(value: bytes | None) -> grpc.StatusCode:
    """Read a grpc-status; one that is missing or unknown is UNKNOWN."""
    if value is None or not value.isdigit() or len(value) > 9:
        return grpc.StatusCode.UNKNOWN
    return _STATUSES.get(int(value), grpc.StatusCode.UNKNOWN)


def size_of(headers: tuple[tuple[bytes, bytes], ...]) -> int:
    """Return how many bytes headers have as HTTP/2 counts them (RFC 9113, section 6.5.2)."""
    return 32 * len(headers) + sum(map(len, chain.from_iterable(headers)))


def metadata_of(headers: tuple[tuple[bytes, bytes], ...]) -> Metadata:
    """Return what of some headers is the application's; raises ValueError for broken base64."""
    found: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        text = name.decode("ascii")
        if text.startswith(_OURS) or text in ("te", "content-type"):
            continue
        if not text.endswith("-bin"):
            found.append((text, value.decode("latin-1")))
            continue
        for each in value.split(b","):
            found.append((text, _binary(each.strip())))
    return tuple(found)


def _binary(value: bytes) -> bytes:
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise ValueError("metadata that ends in -bin is base64") from None


def headers_of(metadata: Iterable[tuple[str, str | bytes]]) -> Headers:
    """Return metadata as headers."""
    found = []
    for name, value in metadata:
        written = base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value
        coded = written.encode("latin-1", "replace") if isinstance(written, str) else written
        found.append((name.encode("ascii"), coded))
    return found
