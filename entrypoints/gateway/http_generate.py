"""`generate` and `generate_stream` over HTTP.

A client that leaves a stream is noticed at once, also between two events. What unary answers say
of themselves in headers stands behind a stream's last event, in comments, which readers of events
skip.
"""

import asyncio

from aiohttp import web
from tollbook.errors import TollbookError, Unknown

from adapters.triton.http_client import HttpClient, HttpStream
from adapters.triton.http_connections import HttpAnswer
from entrypoints.gateway import http_calls as calls
from entrypoints.gateway import http_prompts as prompts
from entrypoints.gateway import http_unary as unary
from entrypoints.gateway.core import RECEIPT, USAGE, Headers
from entrypoints.gateway.http_bodies import ClientGoneError
from entrypoints.gateway.http_calls import Call, Parts
from entrypoints.gateway.http_connections import Connection
from entrypoints.gateway.http_models import Description, Descriptions
from entrypoints.gateway.http_prompts import Prompt, Told
from entrypoints.gateway.http_streams import END, Sending, events
from entrypoints.gateway.running import Running

_TOO_MANY = (
    "generate expects model to produce exactly 1 response, "
    "use generate stream for model that generates various number of responses"
)
"""What Triton says as well, though only after the model has produced them all."""


async def generate(parts: Parts, described: Descriptions, call: Call) -> web.StreamResponse:
    """Answer one `generate`; a model that gives many answers is stopped at its second."""
    asked, description = await _asked_for(parts, described, call)
    async with calls.admitted(parts, call, asked.request) as (running, client):
        body = prompts.forwarded(asked, running.id, running.admitted.priority)
        if description.decoupled:
            sending = Sending(parts.gateway, call, running, body)
            return await _Messages(parts, sending, asked, description).collected(client)
        headers = call.upstream(**{"Content-Type": calls.JSON})
        answer = await unary.answered(parts, running, client, call.path, body, headers)
        return _answer(parts, running, answer, asked, description)


def _answer(
    parts: Parts, running: Running, answer: HttpAnswer, asked: Prompt, description: Description
) -> web.Response:
    """Meter a whole answer, and return what the client gets of it."""
    if answer.status != 200:
        parts.gateway.failed(running, calls.reason(answer))
        return calls.failed(running, answer, asked.id)
    message = _read(running, answer.body, asked, description)
    if message is None:
        parts.gateway.finish(running)
        raise unary.told_by(Unknown("the server's answer cannot be read"), running)
    if message.error is not None:
        parts.gateway.failed(running, message.error)
        return calls.failed(running, answer, asked.id)
    return _whole(parts, running, message)


async def generate_stream(parts: Parts, described: Descriptions, call: Call) -> web.StreamResponse:
    """Answer one `generate_stream`."""
    asked, description = await _asked_for(parts, described, call)
    async with calls.admitted(parts, call, asked.request) as (running, client):
        body = prompts.forwarded(asked, running.id, running.admitted.priority)
        sending = Sending(parts.gateway, call, running, body)
        return await _Messages(parts, sending, asked, description).carried(client)


async def _asked_for(
    parts: Parts, described: Descriptions, call: Call
) -> tuple[Prompt, Description]:
    """Read a call and what is known of its model; raises what stands in the way."""
    await calls.read(parts, call)
    meter = parts.gateway.admission.meter(call.model)
    description = await described.of(call.model, call.version)
    description.check_axes(meter)
    description.check_sequences()
    asked = prompts.prompt(call.body, description, meter)
    description.check_empty(asked.request.inputs)
    return asked, description


def _read(running: Running, data: bytes, asked: Prompt, description: Description) -> Told | None:
    """Read and count one message; None for one that cannot be read, which is remembered."""
    try:
        message = prompts.told(data, description, asked)
    except (TollbookError, ValueError) as error:
        running.unmetered = f"the server's answer cannot be read: {error}"
        return None
    running.message(message.outputs, message.parameters)
    return message


def _whole(parts: Parts, running: Running, message: Told) -> web.Response:
    """Return an answer of one message."""
    body = message.text.encode("utf-8", "surrogateescape")
    running.left(body)
    return calls.whole(body, calls.JSON, parts.gateway.finish(running))


class _Messages:
    """An inference whose answer comes in messages."""

    def __init__(
        self, parts: Parts, sending: Sending, asked: Prompt, description: Description
    ) -> None:
        self._parts = parts
        self._gateway = parts.gateway
        self._sending = sending
        self._call = sending.call
        self._running = sending.running
        self._asked = asked
        self._description = description
        self._response: web.StreamResponse | None = None
        self._has_left = False
        self._error: str | None = None
        """What the server said was wrong, in one of its messages."""

    async def collected(self, client: HttpClient) -> web.Response:
        """Return the answer when it is one message."""
        running, messages = self._running, list[Told]()
        async with self._sending.answered(client) as upstream:
            if upstream.status != 200:
                return await self._refused(upstream)
            async for event in events(upstream, self._gateway.config.message_bytes):
                message = _read(running, event, self._asked, self._description)
                if message is None or message.error is not None or messages:
                    break
                messages.append(message)
            else:
                if messages:
                    return _whole(self._parts, running, messages[0])
                message = None
        if message is not None and message.error is not None:
            self._gateway.failed(running, message.error)
            return calls.said(400, {"error": message.error})
        if running.unmetered is not None:
            self._gateway.finish(running)
            raise unary.told_by(Unknown("the server's answer cannot be read"), running)
        self._gateway.cut(running)
        return calls.said(400, {"error": _TOO_MANY})

    async def carried(self, client: HttpClient) -> web.StreamResponse:
        """Pass the messages on as they come."""
        connection = Connection.of(self._call.request)
        connection.when_lost(self._gone)
        try:
            async with self._sending.answered(client) as upstream:
                if upstream.status != 200:
                    return await self._refused(upstream)
                await self._begin(upstream)
                async for event in events(upstream, self._gateway.config.message_bytes):
                    await self._pass_on(event)
        except ClientGoneError:
            raise
        except Exception as error:
            if self._response is None:
                raise
            # The stream is under way: its reader is told in the stream.
            self._gateway.broken_off(self._running, error)
            await self._write(calls.event_of(error), hashed=False)
            return self._response
        finally:
            connection.when_lost(None)
        return await self._ended()

    async def _begin(self, upstream: HttpStream) -> None:
        headers = {
            **self._gateway.first_headers(self._running),
            "Content-Type": upstream.media_type or calls.EVENTS,
            "Cache-Control": "no-cache",
        }
        self._response = web.StreamResponse(headers=headers)
        try:
            await self._response.prepare(self._call.request)
        except OSError:
            self._gone()

    async def _pass_on(self, event: bytes) -> None:
        """Count one message and send it."""
        message = _read(self._running, event, self._asked, self._description)
        if message is None:
            return
        self._sending.stop_if_cut()
        self._error = message.error or self._error
        await self._write(b"data: " + message.text.encode("utf-8", "surrogateescape") + END)

    async def _ended(self) -> web.StreamResponse:
        """Write down the outcome of a stream that came to its end, and tell it."""
        if self._error is not None:
            self._gateway.failed(self._running, self._error)
            headers: Headers = {}
        else:
            headers = self._gateway.finish(self._running)
        for name in (USAGE, RECEIPT):
            if name in headers:
                await self._write(f": {name} {headers[name]}\n\n".encode(), hashed=False)
        assert self._response is not None
        if self._has_left:
            raise ClientGoneError
        return self._response

    async def _refused(self, upstream: HttpStream) -> web.Response:
        limit = self._gateway.config.message_bytes
        answer = await self._sending.refused(upstream, limit)
        return calls.failed(self._running, answer, self._asked.id)

    async def _write(self, data: bytes, *, hashed: bool = True) -> None:
        """Send a piece, unless nobody is there to take it."""
        if self._has_left or self._response is None:
            return
        if hashed:
            self._running.left(data)
        try:
            async with asyncio.timeout(self._parts.patience.write):
                await self._response.write(data)
        except (OSError, TimeoutError):
            self._gone()

    def _gone(self) -> None:
        """Take note that the client left, or stalls for good."""
        if self._has_left:
            return
        self._has_left = True
        transport = self._call.request.transport
        if transport is not None:
            transport.abort()
        if self._running.admitted.meter.after_cancel == "stop":
            self._sending.cut()
