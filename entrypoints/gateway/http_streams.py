"""Answers of the server that come as server-sent events, and the ways in which they may end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tollbook.errors import Unknown

from adapters.triton.http_client import AnswerLost, HttpClient, HttpStream, NotReached
from adapters.triton.http_connections import HttpAnswer
from entrypoints.gateway import http_calls as calls
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.http_bodies import ClientGoneError
from entrypoints.gateway.http_calls import Call
from entrypoints.gateway.http_unary import told_by
from entrypoints.gateway.running import Running

END = b"\n\n"
_DATA = b"data:"
_VERB = "generate_stream"


async def events(upstream: HttpStream, limit: int) -> AsyncIterator[bytes]:
    """Yield the data of each event, as it comes; raises AnswerLost for one without an end."""
    rest, seen = bytearray(), 0
    while piece := await upstream.piece():
        rest += piece
        begin = 0
        # What came before is not looked through again: an event may come in a thousand pieces.
        end = rest.find(END, max(seen - 1, 0))
        while end >= 0:
            yield bytes(rest[begin:end]).removeprefix(_DATA).strip()
            begin = end + len(END)
            end = rest.find(END, begin)
        del rest[:begin]
        seen = len(rest)
        if seen > limit:
            raise AnswerLost(f"an event of the server is larger than {limit} bytes")
    if rest.strip():
        raise AnswerLost("the server's last event has no end")


class Sending:
    """One inference on its way to a server that answers with events."""

    def __init__(self, gateway: Gateway, call: Call, running: Running, body: bytes) -> None:
        """Prepare to send a body."""
        self.gateway = gateway
        self.call = call
        self.running = running
        self.body = body
        self._clock = asyncio.timeout(running.admitted.meter.seconds)
        self._is_cut = False
        self._has_begun = False

    def cut(self) -> None:
        """Stop as soon as something has come that can be charged: nobody wants the rest."""
        self._is_cut = True
        self.stop_if_cut()

    def stop_if_cut(self) -> None:
        """Stop a stream that is to be cut, once its server has produced something.

        Before that it works all the same, and whoever left would have it work for nothing.
        """
        is_due = self._is_cut and self._has_begun and self.running.has_produced
        if is_due and not self._clock.expired():
            self._clock.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def answered(self, client: HttpClient) -> AsyncIterator[HttpStream]:
        """Send it; an answer that does not come to its end ends the inference as far as known."""
        call, running = self.call, self.running
        path = calls.model_path(call.model, call.version, _VERB)
        headers = call.upstream(**{"Content-Type": calls.JSON})
        self.gateway.begin(running)
        try:
            async with self._clock:
                self._has_begun = True
                async with client.stream(path, self.body, headers) as upstream:
                    yield upstream
                self._has_begun = False
        except NotReached as error:
            self.gateway.give_up(running, f"its server never saw it: {error}")
            raise
        except AnswerLost as error:
            self._lost(str(error))
        except TimeoutError:
            if self._is_cut:
                self.gateway.cut(running)
                raise ClientGoneError from None
            self._lost(f"it took longer than {running.admitted.meter.seconds} s")
        finally:
            self._has_begun = False

    async def refused(self, upstream: HttpStream, limit: int) -> HttpAnswer:
        """Read what the server answered instead of a stream, and give the hold back."""
        body = bytearray()
        while len(body) < limit and (piece := await upstream.piece()):
            body += piece
        answer = HttpAnswer(upstream.status, {"Content-Type": upstream.media_type}, bytes(body))
        self.gateway.failed(self.running, calls.reason(answer))
        return answer

    def _lost(self, reason: str) -> None:
        self.gateway.lost(self.running, reason)
        raise told_by(Unknown(reason), self.running) from None
