"""The gateway over HTTP: its paths, what needs a key, and what is not offered at all."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Mapping
from urllib.parse import unquote

from aiohttp import web
from tollbook.errors import NotFound, TollbookError, Unavailable

from adapters.triton.http_client import HttpClient
from adapters.triton.http_connections import HttpAnswer
from entrypoints.gateway import http_calls as calls
from entrypoints.gateway import http_generate, http_unary
from entrypoints.gateway.asking import shown
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.http_bodies import Bodies, ClientGoneError, Patience
from entrypoints.gateway.http_calls import Call, Parts
from entrypoints.gateway.http_connections import Connections, sent
from entrypoints.gateway.http_models import OK, Descriptions, Shared, asked_of_any
from entrypoints.gateway.leaving import CANCELLED_SECONDS
from entrypoints.gateway.offering import offered
from entrypoints.http.problems import Forbidden, MethodNotAllowed

logger = logging.getLogger("tollbook.gateway")

_MODEL = re.compile(
    r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[0-9]{1,18}))?"
    r"(?:/(?P<verb>infer|generate|generate_stream|ready|config|stats))?"
)
_STATISTICS = "/v2/models/stats"
"""Of all models: no model's name."""
_SERVER = {"Server": "tollbook-gateway"}
_LIVE, _READY = "/v2/health/live", "/v2/health/ready"
_ASK_SECONDS = 5.0
_FRESH_SECONDS = 1.0
"""An answer about readiness stands so long: who asks more often gets the same."""

BACKLOG = 4_096


class HttpFront:
    """Serves the protocol on one port."""

    def __init__(
        self,
        gateway: Gateway,
        clients: Mapping[str, HttpClient],
        config: GatewayConfig,
        patience: Patience | None = None,
    ) -> None:
        """Use the clients of the pools, by the names of these."""
        patience = patience or Patience()
        bodies = Bodies(config.message_bytes, patience)
        self._parts = Parts(gateway, clients, bodies, patience)
        self._described = Descriptions(clients)
        self._tells_statistics = config.statistics
        self._is_ready = Shared(self._asked_whether_ready)
        self._told = Shared(lambda: asked_of_any(clients, "/v2"))
        self._ready = (0.0, False)
        self._connections: Connections | None = None
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int, *, is_shared: bool = False) -> int:
        """Listen, and return the port; raises Unavailable where that cannot be."""
        places = self._parts.gateway.places
        self._connections = Connections(self._answer, self._parts.patience, places)
        loop = asyncio.get_running_loop()
        try:
            self._listening = await loop.create_server(
                self._connections, host, port, backlog=BACKLOG, reuse_port=is_shared or None
            )
        except (OSError, OverflowError) as error:
            raise Unavailable(f"{host} port {port} is not to be had: {error}") from None
        return int(self._listening.sockets[0].getsockname()[1])

    async def stop(self, seconds: float) -> None:
        """Take no more requests, and let those under way end for so long."""
        if self._listening is None or self._connections is None:
            return
        self._listening.close()
        self._connections.pre_shutdown()
        if not await self._connections.have_ended(seconds):
            await self._parts.gateway.leave()  # who is cancelled could not give back what comes
        await self._connections.shutdown(CANCELLED_SECONDS)
        self._listening = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return 0 if self._connections is None else len(self._connections.connections)

    @property
    def held(self) -> int:
        """How many bytes of requests are in memory."""
        return self._parts.bodies.held

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever goes wrong is an answer as well."""
        try:
            answer = await self._routed(request)
        except ClientGoneError:
            answer = web.Response()
            request.protocol.force_close()
        except TollbookError as error:
            answer = calls.refusal(error)
        except Exception:
            logger.exception("a request over HTTP failed")
            answer = calls.refusal(TollbookError("the gateway failed: its log says why"))
        if answer.prepared:
            return answer
        answer.headers.update(_SERVER)
        if isinstance(answer, web.Response) and isinstance(answer.body, bytes):
            return await sent(request, answer, answer.body, self._parts.patience.write)
        return answer

    async def _routed(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path in ("/v2", "/v2/"):
            _check_method(request, "GET")
            return self._of_the_server(await self._told.answer())
        if path in (_LIVE, _READY):
            _check_method(request, "GET")
            serves = path == _LIVE or await self._is_ready.answer()
            return web.Response(status=200 if serves else 503)
        found = _MODEL.fullmatch(path)
        is_told = found is not None and (found["verb"] != "stats" or self._tells_statistics)
        if found is None or not is_told or path == _STATISTICS:
            if path.startswith("/v2/"):
                raise Forbidden(f"the gateway does not offer {path[3:100]}")
            raise NotFound(f"there is no {path[:100]} here")
        verb = found["verb"]
        asks = verb in (None, "ready", "config", "stats")
        _check_method(request, "GET" if asks else "POST")
        headers = calls.headers_of(request)
        call = Call(
            request=request,
            headers=headers,
            shown=shown(headers),
            model=unquote(found["model"]),
            version=found["version"],
            verb=verb or "",
        )
        return await (self._about(call, verb) if asks else self._inferred(call))

    def _of_the_server(self, answer: HttpAnswer) -> web.Response:
        """Pass on what a server says of itself, but for the extensions that are refused here."""
        if answer.status != OK:
            return calls.passed_on(answer)
        found = json.loads(answer.body)
        extensions = found.get("extensions", [])
        found["extensions"] = offered(extensions, statistics=self._tells_statistics)
        return calls.passed_on(answer._replace(body=json.dumps(found).encode()))

    async def _inferred(self, call: Call) -> web.StreamResponse:
        parts = self._parts
        try:
            if call.verb == "infer":
                return await http_unary.infer(parts, self._described, call)
            if call.verb == "generate":
                return await http_generate.generate(parts, self._described, call)
            return await http_generate.generate_stream(parts, self._described, call)
        finally:
            parts.bodies.drop(call.held)

    async def _about(self, call: Call, verb: str | None) -> web.StreamResponse:
        """Answer what concerns a model, to those who may use it."""
        await self._parts.gateway.admission.allowed(call.model, call.shown.license_key)
        path = calls.model_path(call.model, call.version, verb)
        return calls.passed_on(await self._described.about(path))

    async def _asked_whether_ready(self) -> bool:
        """Say whether the ledger answers, and every pool."""
        until, ready = self._ready
        if time.monotonic() < until:
            return ready
        clients = self._parts.clients.values()
        try:
            await self._parts.gateway.admission.ledger_answers()
            found = [client.ask("GET", _READY, seconds=_ASK_SECONDS) for client in clients]
            ready = all(answer.status == 200 for answer in await asyncio.gather(*found))
        except TollbookError:
            ready = False
        self._ready = (time.monotonic() + _FRESH_SECONDS, ready)
        return ready


def _check_method(request: web.BaseRequest, method: str) -> None:
    if request.method != method:
        raise MethodNotAllowed(f"the method here is {method}", allow=[method])
