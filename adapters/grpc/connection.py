"""One HTTP/2 connection on the event loop: bytes in, what happened to each stream out.

HTTP/2 itself is libnghttp2's, by ngh2: frames, header compression, flow control, and what a hostile
peer may not do. Here are the socket, the turns of the loop, and life signs.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Protocol

import ngh2

from adapters.grpc.frames import PREFACE_BYTES, Frames

KEEPALIVE_SECONDS = 120.0
"""A connection on which nothing came for so long is asked whether its peer lives."""
ANSWER_SECONDS = 20.0
"""How long the answer to that may take."""
STUCK_SECONDS = 60.0
"""A peer that takes nothing for so long of what waits in the socket is left."""
_AT_A_TIME = 16_384
"""So much is looked at before anybody is told of it: a few bytes may stand for large headers."""


class Stream(Protocol):
    """What is told of one stream; one end of a call."""

    def headers(self, headers: tuple[tuple[bytes, bytes], ...], *, is_end: bool) -> None:
        """Take headers, or trailers, which always end it."""

    def data(self, piece: bytes, *, is_end: bool) -> None:
        """Take a piece of its body; its room is given back by `Connection.took`."""

    def closed(self, error: int | None) -> None:
        """Take note that it is over: by a code of HTTP/2, or None where the connection broke."""


class Connection(asyncio.Protocol):
    """One connection; a subclass begins streams, or takes those that its peer begins."""

    def __init__(
        self, role: ngh2.Role, config: ngh2.Configuration, settings: dict[int, int], window: int
    ) -> None:
        """Prepare; the whole connection may have `window` bytes that nobody has taken."""
        self.h2 = ngh2.Connection(role, config)
        self.streams: dict[int, Stream] = {}
        self._frames = Frames(PREFACE_BYTES if role is ngh2.Role.SERVER else 0)
        self._came = b""  # the frames that came last
        self.is_open = False
        self._settings, self._window = settings, window
        self._transport: Any = None
        self._loop: Any = None
        self._is_paused = False
        self._will_flush = False
        self._waiting: dict[int, asyncio.Future[None]] = {}
        """Who waits for what a stream has to send to leave."""
        self._widened: set[int] = set()
        """The streams that may send more since they were last asked; 0 is all."""
        self._heard = 0.0
        self._stuck: asyncio.TimerHandle | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Say hello."""
        self._transport, self._loop = transport, asyncio.get_running_loop()
        self.is_open = True
        self.h2.initiate_connection(self._settings)
        self.h2.set_local_window_size(self._window)
        self.flush()
        self._heard = self._loop.time()
        self._alarm = self._loop.call_later(KEEPALIVE_SECONDS, self._look, False)

    def data_received(self, data: bytes) -> None:
        """Take what came, and tell each stream of it."""
        self._heard = self._loop.time()
        data = self._came = self._frames.whole(data)
        self._will_flush = True  # below, whatever those who are told add
        try:
            if len(data) <= _AT_A_TIME:
                self.h2.receive_data(data)
            else:
                for start in range(0, len(data), _AT_A_TIME):
                    self.h2.receive_data(data[start : start + _AT_A_TIME])
                    self._tell()
        except ngh2.NGH2Error:
            if self.is_open:
                self.abandon()  # what came is so wrong that nothing can be said any more
            return
        self._tell()
        self.flush()
        if self._widened:
            self._wake()

    def _tell(self) -> None:
        for event in self.h2.events():
            told = self._TOLD.get(type(event))
            if told is not None:
                try:
                    told(self, event)
                except ngh2.NGH2Error:
                    continue  # it may have ended in what came after

    def _data_came(self, event: ngh2.DataReceived) -> None:
        if (stream := self.streams.get(event.stream_id)) is None:
            self.took(event.stream_id, len(event.data))
        else:
            stream.data(event.data, is_end=event.end_stream)

    def _request_came(self, event: ngh2.RequestReceived) -> None:
        self.requested(event.stream_id)
        self._headers_came(event)

    def _headers_came(self, event: ngh2.RequestReceived | ngh2.ResponseReceived) -> None:
        if (stream := self.streams.get(event.stream_id)) is not None:
            stream.headers(event.headers, is_end=event.end_stream)

    def _trailers_came(self, event: ngh2.TrailersReceived) -> None:
        if (stream := self.streams.get(event.stream_id)) is not None:
            stream.headers(event.headers, is_end=True)

    def _stream_closed(self, event: ngh2.StreamClosed) -> None:
        self._let_go(event.stream_id)
        if (stream := self.streams.pop(event.stream_id, None)) is not None:
            if event.error_code == ngh2.ErrorCode.PROTOCOL_ERROR:
                self.disliked(event.stream_id, stream)
            stream.closed(event.error_code)

    def _window_widened(self, event: ngh2.WindowUpdated) -> None:
        self._widened.add(event.stream_id)

    def _settings_came(self, _event: ngh2.SettingsReceived) -> None:
        self._widened.add(0)  # among them may be a larger window for every stream
        self.greeted()

    def _connection_closed(self, _event: ngh2.ConnectionClosed) -> None:
        self.is_open = False
        self._transport.close()  # what it had to say is written

    _TOLD: ClassVar[dict[type[ngh2.Event], Callable[[Any, Any], None]]] = {
        ngh2.DataReceived: _data_came,
        ngh2.RequestReceived: _request_came,
        ngh2.ResponseReceived: _headers_came,
        ngh2.TrailersReceived: _trailers_came,
        ngh2.StreamClosed: _stream_closed,
        ngh2.WindowUpdated: _window_widened,
        ngh2.SettingsReceived: _settings_came,
        ngh2.GoAwayReceived: lambda connection, event: connection.going(event),
        ngh2.ConnectionClosed: _connection_closed,
    }
    """What each event does: looked up, because there are ten of them for every inference."""

    def greeted(self) -> None:
        """Take note that the peer speaks HTTP/2; told again whenever its settings change."""

    def disliked(self, stream: int, told: Stream) -> None:
        """Look at what ended a stream as against the protocol, before that is told."""

    def requested(self, stream: int) -> None:
        """Take a stream that the peer begins."""

    def going(self, event: ngh2.GoAwayReceived) -> None:
        """Take note that the peer takes no more streams after the last it names."""

    def took(self, stream: int, count: int) -> None:
        """Let the peer send as many bytes more on a stream, and on the connection."""
        if count and self.is_open:
            try:
                self.h2.acknowledge_received_data(count, stream)
            except ngh2.ConnectionStateError:
                return  # its end came in the same bytes, and is told next
            self.flush_soon()

    def flush_soon(self) -> None:
        """Send what waits once in this turn of the loop, however much is added."""
        if not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self.flush)

    def flush_unless_due(self) -> None:
        """Send what waits, unless this turn of the loop is about to."""
        if not self._will_flush:
            self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the peer and the socket take it."""
        self._will_flush = False
        if self._is_paused or self._transport is None or self._transport.is_closing():
            return
        try:
            data = self.h2.data_to_send()
        except ngh2.NGH2Error:
            self.abandon()
            return
        if data:
            self._transport.write(data)
        self._tell()  # what was sent may have ended streams, and what came the connection

    def pause_writing(self) -> None:
        """Leave what waits to be sent in its streams, and not for ever."""
        self._is_paused = True
        self._expect(self._transport.get_write_buffer_size())

    def _expect(self, waiting: int) -> None:
        self._stuck = self._loop.call_later(STUCK_SECONDS, self._look_at, waiting)

    def _look_at(self, waited: int) -> None:
        """Leave a peer that took nothing of what waits since this was last looked at."""
        if (waiting := self._transport.get_write_buffer_size()) < waited:
            self._expect(waiting)
        else:
            self.abandon()

    def resume_writing(self) -> None:
        """Go on sending."""
        self._is_paused = False
        if self._stuck is not None:
            self._stuck.cancel()
        self.flush()
        self._widened.add(0)
        self._wake()

    def is_sent(self, stream: int) -> bool:
        """Say whether all that a stream had to send has left this process."""
        return not self._is_paused and (not self.is_open or not self.h2.queued_body_size(stream))

    def is_through(self, stream: int, *, has_body: bool) -> bool:
        """Say whether a stream's end has left, too: behind a body it needs a window as well."""
        if not has_body or not self.is_sent(stream):
            return self.is_sent(stream)
        return min(self.h2.remote_window_size, self.h2.stream_remote_window_size(stream)) > 0

    def leave(self, stream: int) -> None:
        """Wait no longer for a peer to take what a stream has to send."""
        if self._is_paused:
            self.abandon()  # it takes nothing at all, not even that word
            return
        with suppress(ngh2.NGH2Error):
            self.h2.reset_stream(stream, ngh2.ErrorCode.CANCEL)
        self.flush_soon()

    async def left(self, stream: int) -> None:
        """Wait until all that a stream had to send has left, or nobody takes it any more."""
        while not self.is_sent(stream) and stream in self.streams:
            self._waiting[stream] = self._loop.create_future()
            try:
                await self._waiting[stream]
            finally:
                self._waiting.pop(stream, None)

    def _wake(self) -> None:
        """Have those look again who wait for what may have left."""
        widened, self._widened = self._widened, set()
        for stream in tuple(self._waiting) if 0 in widened else widened:
            self._let_go(stream)

    def _let_go(self, stream: int) -> None:
        waiting = self._waiting.get(stream)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _look(self, asked: bool) -> None:
        """Ask a silent peer for a sign of life; leave one that gives none."""
        silent = self._loop.time() - self._heard
        if silent < ANSWER_SECONDS:
            self._alarm = self._loop.call_later(KEEPALIVE_SECONDS - silent, self._look, False)
        elif asked or not self.is_open:
            self.abandon()
        else:
            with suppress(ngh2.NGH2Error):
                self.h2.ping()
            self.flush()
            self._alarm = self._loop.call_later(ANSWER_SECONDS, self._look, True)

    def abandon(self) -> None:
        """End the connection without another word."""
        self.is_open = False
        self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell every stream that it is over."""
        self.is_open = False
        for timer in (self._alarm, self._stuck):
            if timer is not None:
                timer.cancel()
        streams, self.streams = tuple(self.streams.values()), {}
        for waited in tuple(self._waiting):
            self._let_go(waited)
        for stream in streams:
            stream.closed(None)

    def close(self) -> None:
        """End the connection, with a word to its peer."""
        if self.is_open:
            self.is_open = False
            with suppress(ngh2.NGH2Error):
                self.h2.terminate_connection()
            self.flush()
        if self._transport is not None:
            self._transport.close()
