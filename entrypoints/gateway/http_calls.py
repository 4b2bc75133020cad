"""A call over HTTP: what came, who it is from, and the ways in which it may be answered."""

import hashlib
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

from aiohttp import web
from tollbook.errors import TollbookError, Unavailable

from adapters.triton.http_client import HttpClient
from adapters.triton.http_connections import HttpAnswer
from domain import meters
from entrypoints.gateway import asking
from entrypoints.gateway.admission import Asked
from entrypoints.gateway.asking import AUTHORIZATION, FACTS_HEADER, KEY_HEADER, Shown
from entrypoints.gateway.core import REQUEST_ID, Gateway, Headers
from entrypoints.gateway.http_bodies import Bodies, ClientGoneError, Patience
from entrypoints.gateway.running import Running
from entrypoints.http.problems import BadRequest, document, respond

logger = logging.getLogger("tollbook.gateway")

HEADER_LENGTH = "inference-header-content-length"
JSON, BINARY, EVENTS = "application/json", "application/octet-stream", "text/event-stream"
_ENCODING = "content-encoding"
_READ_HERE = (KEY_HEADER, AUTHORIZATION, FACTS_HEADER, HEADER_LENGTH, _ENCODING)
_NO_ID = "<id_unknown>"
"""What Triton calls a request without an id in its errors."""


class Parts(NamedTuple):
    """What every call uses."""

    gateway: Gateway
    clients: Mapping[str, HttpClient]
    bodies: Bodies
    patience: Patience


@dataclass(slots=True, kw_only=True)
class Call:
    """One request for an inference."""

    request: web.BaseRequest
    headers: dict[str, str]
    shown: Shown
    model: str
    version: str | None
    verb: str
    body: bytes = b""
    """Without its compression."""
    hash: str = ""
    """SHA-256 in hex of the body as it came."""
    held: int = field(default=0)

    @property
    def has_left(self) -> bool:
        """Whether the client's connection is gone."""
        transport = self.request.transport
        return transport is None or transport.is_closing()

    @property
    def path(self) -> str:
        """The path at the server."""
        return model_path(self.model, self.version, self.verb)

    def upstream(self, **more: str) -> dict[str, str]:
        """Return the headers for the server: our own, and of the client's only its trace."""
        trace = asking.trace(self.headers)
        return {**more, **({} if trace is None else {asking.TRACE_HEADER: trace})}


def model_path(model: str, version: str | None, verb: str | None) -> str:
    """Return the path of a model at the server."""
    within = "" if version is None else f"/versions/{version}"
    return f"/v2/models/{quote(model, safe='')}{within}{'' if verb is None else f'/{verb}'}"


def headers_of(request: web.BaseRequest) -> dict[str, str]:
    """Return the headers by their names in lower case; raises BadRequest for some given twice."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        lower = name.lower()
        if lower in found and lower in _READ_HERE:
            raise BadRequest(f"the header {lower} is given twice")
        found[lower] = value
    return found


async def read(parts: Parts, call: Call) -> None:
    """Read a call's body, once its key is known to open a licence."""
    await parts.gateway.admission.known(call.shown.license_key)
    raw = await parts.bodies.read(call.request)
    call.held = len(raw)
    call.hash = hashlib.sha256(raw).hexdigest()
    call.body = parts.bodies.inflated(raw, call.headers.get(_ENCODING, ""))
    if call.body is not raw:
        parts.bodies.hold(len(call.body))
        call.held += len(call.body)


@asynccontextmanager
async def admitted(
    parts: Parts, call: Call, asked: meters.Request
) -> AsyncIterator[tuple[Running, HttpClient]]:
    """Hold the money for a call, and give it with the server that it goes to.

    It is ended when the block is left by an error, whatever that is.
    """
    if all(client.is_down for client in parts.clients.values()):
        raise Unavailable("no server can be reached: try later")
    gateway = parts.gateway
    running = await gateway.admit(
        Asked(
            call.model,
            call.shown.license_key,
            asked,
            call.hash,
            call.request.remote,
            call.shown.facts,
        )
    )
    try:
        yield running, _client(parts, call, running)
    except BaseException as error:
        gateway.broken_off(running, error)
        raise


def _client(parts: Parts, call: Call, running: Running) -> HttpClient:
    """Return the server that an inference goes to, unless that is in vain."""
    if call.has_left:
        parts.gateway.give_up(running, "its client left before it was forwarded")
        raise ClientGoneError
    client = parts.clients[running.admitted.pool.name]
    if client.is_down:
        parts.gateway.give_up(running, "its server cannot be reached")
        raise Unavailable(f"the servers of pool {running.admitted.pool.name} cannot be reached")
    return client


def refusal(error: TollbookError, headers: Headers | None = None) -> web.Response:
    """Return our own no: a problem document with the member `error` that clients look for."""
    told = respond({"error": error.message, **document(error)}, headers)
    kept = {name: value for name, value in told.headers.items() if name.lower() != "content-length"}
    return web.Response(status=told.status_code, body=bytes(told.body), headers=kept)


def said(status: int, value: dict[str, Any]) -> web.Response:
    """Return a short answer in JSON."""
    return web.Response(status=status, body=json.dumps(value).encode(), headers=_typed(JSON))


def passed_on(answer: HttpAnswer, headers: Headers | None = None) -> web.Response:
    """Return an answer as the server gave it."""
    given = {**(headers or {}), **_typed(answer.media_type)}
    return web.Response(status=answer.status, body=answer.body, headers=given)


def failed(running: Running, answer: HttpAnswer, id: str) -> web.Response:
    """Return the server's error as it would have been without a gateway: with the client's id."""
    ours, theirs = running.id.encode(), json.dumps(id or _NO_ID)[1:-1].encode()
    body = answer.body.replace(ours, theirs)
    return passed_on(answer._replace(body=body), {REQUEST_ID: running.id})


def reason(answer: HttpAnswer) -> str:
    """Return what the server said was wrong, cut short."""
    return f"{answer.status} {answer.body[:300].decode(errors='replace')}"


def whole(body: bytes, media_type: str, headers: Headers) -> web.Response:
    """Return a whole answer."""
    return web.Response(body=body, headers={**headers, **_typed(media_type)})


def _typed(media_type: str) -> dict[str, str]:
    return {"Content-Type": media_type}


def event_of(error: Exception) -> bytes:
    """Return our own no as a server-sent event, for a stream that is under way."""
    if not isinstance(error, TollbookError):
        logger.error("a stream over HTTP failed", exc_info=error)
        error = TollbookError("the gateway failed: its log says why")
    told = {"error": error.message, **document(error)}
    return b"data: " + json.dumps(told, default=str).encode() + b"\n\n"
