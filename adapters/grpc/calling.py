"""One call to a server: its request, and what came of it: an answer, an error, or neither.

A call that no server can have heard of is told apart from one of which nobody knows.
"""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
import ngh2

from adapters.grpc.messages import MessageError, Messages, framed, status_of, unquoted
from adapters.limits import Queue

if TYPE_CHECKING:
    from adapters.grpc.connection import Connection

Headers = tuple[tuple[bytes, bytes], ...]

_TYPE = b"application/grpc"
_TOO_BUSY = frozenset({b"429", b"502", b"503", b"504"})
"""HTTP statuses of whoever stands before a server and does not reach it."""
_AT_THE_SAME_TIME = 0.05
"""So close to the deadline, a server that cancels has seen it pass too."""


class StatusError(Exception):
    """The server ended the call with a status that is an error."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        """Say what the server said."""
        super().__init__(details)
        self.code = code
        self.details = details


class LostError(Exception):
    """No answer came. Where the request was `sent`, nobody knows what became of it."""

    def __init__(self, code: grpc.StatusCode, reason: str, *, sent: bool) -> None:
        """Say why."""
        super().__init__(reason)
        self.code = code
        self.sent = sent


class StoppedError(Exception):
    """We stopped the call."""


def spoilt(error: MessageError) -> LostError:
    """Return what becomes of a call whose answer has a message that is not taken."""
    is_large = error.status is grpc.StatusCode.RESOURCE_EXHAUSTED
    words = "the answer is larger than is carried here" if is_large else str(error)
    return LostError(error.status, words, sent=True)


class Call(ABC):
    """One call, from its beginning to its end."""

    __slots__ = (
        "_connection",
        "_id",
        "_messages",
        "_most",
        "_queue",
        "_request",
        "is_over",
        "until",
    )

    def __init__(self, request: bytes, most: int, queue: Queue) -> None:
        """Begin its time; messages of its answer may have `most` bytes."""
        self._request = request
        self._most = most
        self._queue = queue
        self._connection: Connection | None = None
        self._id = 0
        self._messages: Messages | None = None
        """What of the answer is not taken, from its first headers on."""
        self.is_over = False
        self.until = queue.add(self)
        """When it ends in any case, by the loop's clock."""

    def begin(self, connection: "Connection", headers: Headers) -> None:
        """Send it; raises NGH2Error where the connection takes no more calls."""
        self._id = connection.h2.send_request(headers)
        self._connection = connection
        connection.streams[self._id] = self
        connection.h2.send_data(self._id, framed(self._request), end_stream=True)
        self._request = b""  # what may be large is not kept twice
        connection.flush_soon()

    def headers(self, headers: Headers, *, is_end: bool) -> None:
        """Look at how the answer begins, or ended."""
        if self.is_over:
            return
        found = dict(headers)
        if self._messages is None:
            http, kind = found.get(b":status", b""), found.get(b"content-type", _TYPE)
            if http != b"200" or not kind.startswith(_TYPE):
                is_busy = http in _TOO_BUSY
                code = grpc.StatusCode.UNAVAILABLE if is_busy else grpc.StatusCode.UNKNOWN
                shown = f"HTTP status {http!r}, content type {kind[:100]!r}"
                self.lose(code, f"this is no answer over gRPC: {shown}")
                return
            encoding = found.get(b"grpc-encoding", b"identity").decode("latin-1")
            self._messages = Messages(self._most, encoding)
        if is_end:
            self._ended(found.get(b"grpc-status"), found.get(b"grpc-message", b""))

    def _ended(self, status: bytes | None, message: bytes) -> None:
        self._over()
        if status is None:
            words = "the answer ended without a status"
            self._failed(LostError(grpc.StatusCode.UNKNOWN, words, sent=True))
        elif status == b"0":
            self._answered()
        else:
            self._failed(StatusError(status_of(status), unquoted(message)))
        assert self._connection is not None
        # A server may have answered without the whole request; it is told that no more comes.
        with suppress(ngh2.NGH2Error):
            if self._connection.h2.queued_body_size(self._id):
                self._break_off()

    def data(self, piece: bytes, *, is_end: bool) -> None:
        """Take a piece of the answer."""
        assert self._connection is not None
        if self.is_over or self._messages is None:
            self._connection.took(self._id, len(piece))
            return
        self._messages.feed(piece)
        self._came(len(piece))
        if is_end and not self.is_over:
            self._ended(None, b"")

    def closed(self, error: int | None) -> None:
        """Tell what is known of a call whose server says no more."""
        if self.is_over:
            return
        if error is None:
            words, sent = "the connection broke", self._has_left()
        elif error == ngh2.ErrorCode.REFUSED_STREAM:
            words, sent = "the server refused the call", self._messages is not None
        elif error == ngh2.ErrorCode.CANCEL and self._is_late():
            self.end()
            return
        else:
            words, sent = f"the server broke the call off, by the code {error} of HTTP/2", True
        self._over()
        self._failed(LostError(grpc.StatusCode.UNAVAILABLE, words, sent=sent))

    def end(self) -> None:
        """Wait no longer: its time is over."""
        words, sent = "it took too long", self._has_left()
        self.fail(LostError(grpc.StatusCode.DEADLINE_EXCEEDED, words, sent=sent))

    def lose(self, code: grpc.StatusCode, words: str) -> None:
        """End it without an answer, although the server may have worked on it."""
        self.fail(LostError(code, words, sent=True))

    def fail(self, error: Exception) -> None:
        """End it by an error, unless it is over."""
        if not self.is_over:
            self.cancel()
            self._failed(error)

    def cancel(self) -> None:
        """Have the server stop, unless it is over; nobody waits for it any more."""
        if not self.is_over:
            self._over()
            self._break_off()

    def _over(self) -> None:
        self.is_over = True
        self._queue.drop(self)

    def _break_off(self) -> None:
        connection = self._connection
        if connection is not None and connection.is_open:
            with suppress(ngh2.NGH2Error):
                connection.h2.reset_stream(self._id, ngh2.ErrorCode.CANCEL)
                connection.flush_soon()

    def _has_left(self) -> bool:
        """Say whether a byte of it may have left this process: in doubt yes."""
        if self._connection is None:
            return False
        try:
            self._connection.h2.stream_remote_window_size(self._id)
        except ngh2.StreamUnavailableError:
            return False  # it still waits for others to end, of which the server takes so many
        except ngh2.NGH2Error:
            return True
        return True

    def _is_late(self) -> bool:
        return asyncio.get_running_loop().time() > self.until - _AT_THE_SAME_TIME

    @abstractmethod
    def _came(self, count: int) -> None:
        """Take note of so many bytes more."""

    @abstractmethod
    def _answered(self) -> None:
        """Take note that the answer is whole, by its status."""

    @abstractmethod
    def _failed(self, error: Exception) -> None:
        """Tell whoever waits."""
