"""A client of HTTP/2 that does what no gRPC client does."""

import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import ngh2

from adapters.grpc.messages import framed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SECONDS = 8.0
DATA, HEADERS, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
OK = 0

Pairs = list[tuple[bytes, bytes]]


def asked(path: str = "/test/echo", **more: str | bytes | None) -> Pairs:
    """Return a call's headers; `content_type="x"` puts another one there, None takes it away."""
    headers: dict[str, str | bytes | None] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "test",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    for name, value in more.items():
        key = name.replace("_", "-")
        headers[f":{key[7:]}" if key.startswith("pseudo-") else key] = value
    return [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in headers.items()
        if value is not None
    ]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame, whatever is wrong with it."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def block(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return headers as literals that are added to no table."""
    return b"".join(
        b"\x00" + _length(len(name)) + name + _length(len(value)) + value for name, value in headers
    )


def _length(size: int) -> bytes:
    if size < 127:
        return bytes([size])
    found, size = [127], size - 127
    while size >= 128:
        found.append(size % 128 + 128)
        size //= 128
    return bytes([*found, size])


@dataclass
class Answer:
    """What came on one stream."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    is_ended: bool = False
    reset: int | None = None
    is_closed: bool = False

    @property
    def status(self) -> int | None:
        """Return the call's status, wherever it stands."""
        found = {**self.headers, **self.trailers}.get(b"grpc-status")
        return None if found is None else int(found)


class Client:
    """One connection."""

    def __init__(self, port: int, settings: dict[int, int] | None = None, **more: Any) -> None:
        """Connect and greet."""
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = ngh2.Connection(ngh2.Role.CLIENT, ngh2.Configuration(**more))
        self.answers: dict[int, Answer] = {}
        self.goaway: int | None = None
        self.is_gone = False
        self.pings = 0
        self.h2.initiate_connection({ngh2.Setting.ENABLE_PUSH: 0, **(settings or {})})
        self.flush()

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave without a word."""
        self.socket.close()

    def flush(self) -> None:
        """Send what waits."""
        with suppress(ngh2.NGH2Error):
            self.raw(self.h2.data_to_send())

    def raw(self, data: bytes) -> None:
        """Send bytes, as far as somebody takes them."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.is_gone = True

    def ask(self, headers: Pairs, body: bytes | None = None, *, end: bool = True) -> int:
        """Begin a call, with the pieces of a body as they are."""
        stream = self.h2.send_request(headers, end_stream=body is None and end)
        self.answers[stream] = Answer()
        if body is not None:
            self.h2.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def send(self, stream: int, body: bytes, *, end: bool = False) -> None:
        """Go on with a body."""
        self.h2.send_data(stream, body, end_stream=end)
        self.flush()

    def reset(self, stream: int, code: int = ngh2.ErrorCode.CANCEL) -> None:
        """Leave a call."""
        self.h2.reset_stream(stream, code)
        self.flush()

    def until(self, is_true: Callable[[], bool], seconds: float = SECONDS) -> None:
        """Take what comes until something is true, or the connection has ended."""
        end = time.monotonic() + seconds
        while not is_true() and not self.is_gone:
            left = end - time.monotonic()
            assert left > 0, (self.answers, self.goaway)
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(1 << 20)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if not data:
                self.is_gone = True
                return
            with suppress(ngh2.NGH2Error):
                self.h2.receive_data(data)
            self._note()
            self.flush()

    def _note(self) -> None:
        for event in self.h2.events():
            if isinstance(event, ngh2.GoAwayReceived):
                self.goaway = event.error_code
            elif isinstance(event, ngh2.PingAcknowledged):
                self.pings += 1
            found = self.answers.get(getattr(event, "stream_id", 0), Answer())
            match event:
                case ngh2.ResponseReceived():
                    found.headers, found.is_ended = dict(event.headers), event.end_stream
                case ngh2.DataReceived():
                    found.body += event.data
                    found.is_ended = event.end_stream
                case ngh2.TrailersReceived():
                    found.trailers, found.is_ended = dict(event.headers), True
                case ngh2.StreamReset():
                    found.reset = event.error_code
                case ngh2.StreamClosed():
                    found.is_closed = True

    def answer(self, stream: int, seconds: float = SECONDS) -> Answer:
        """Return what came on a stream when it is over."""
        found = self.answers[stream]
        self.until(lambda: found.is_ended or found.is_closed, seconds)
        return found

    def call(self, headers: Pairs | None = None, message: bytes = b"hello") -> Answer:
        """Return the answer to a call of one message."""
        return self.answer(self.ask(asked() if headers is None else headers, framed(message)))

    def rest(self, seconds: float = SECONDS) -> None:
        """Wait until the server ends the connection."""
        self.until(lambda: False, seconds)
        assert self.is_gone

    def settle(self) -> None:
        """Wait until the server has looked at all that was sent."""
        before = self.pings
        self.h2.ping()
        self.flush()
        self.until(lambda: self.pings > before)
        assert not self.is_gone
