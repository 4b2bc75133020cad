"""The server: the app behind uvicorn, with its middlewares, its limits and its way to stop."""

import asyncio
import errno
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
import uvloop
from tollbook.errors import Unavailable

from adapters.api_keys import ApiKeys
from adapters.event_store.store import PostgresEventStore
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database, license_desk
from entrypoints.http.app import build_app
from entrypoints.http.health import Health
from entrypoints.http.identity import Keyring
from entrypoints.http.limits import BodyLimits, Crowd, PeerLimits, RateLimits
from entrypoints.http.metrics import Metrics
from entrypoints.http.observing import Observing
from entrypoints.http.protocol import protocol_for
from entrypoints.http.readers import Readers
from entrypoints.http.request_ids import RequestIds
from entrypoints.http.service import Service
from entrypoints.http.submitting import Submitter
from entrypoints.settings import ServeSettings

BACKLOG = 4_096
"""How many connections may wait to be taken; the kernel may allow fewer."""

TRACES_WANTED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables that name a collector of traces, one of which switches them on."""

SPARE_FILES = 200
"""So many of the files that a process may open are kept for what is no client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a server is made of; whoever starts it owns them."""

    database: Database
    tollbook: Tollbook
    keys: ApiKeys
    settings: ServeSettings
    projector_lives: Callable[[], bool] | None = None
    """Says whether this process's projector goes on; None without one."""


def listen(host: str, port: int) -> socket.socket:
    """Open the socket to listen on; raises Unavailable when the address is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        why = str(error)
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            why = "something listens there already; stop that, or name another with --port"
        raise Unavailable(f"{host} port {port} is not to be had: {why}") from None


def url_of(listening: socket.socket) -> str:
    """Return the URL at which a socket listens."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(parts: Parts, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until told to stop by SIGTERM or SIGINT; `ready` is called when requests are taken."""
    connections = max(1, min(parts.settings.connections, allow_many_files() - SPARE_FILES))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(parts, listening, ready, connections))


async def _serve(
    parts: Parts, listening: socket.socket, ready: Callable[[], None], connections: int
) -> None:
    async with service_of(parts) as service:
        config = configured(service, parts.settings, connections)
        await _Server(config, ready).serve(sockets=[listening])


def configured(service: Service, limits: ServeSettings, connections: int) -> uvicorn.Config:
    """Return how uvicorn serves: our protocol, our limits, and none of its own logging."""
    return uvicorn.Config(
        build_app(service),
        http=protocol_for(limits, connections),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(limits.trusted_proxies),
        forwarded_allow_ips=limits.trusted_proxies or None,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=limits.stop_seconds,
    )


class _Server(uvicorn.Server):
    """Uvicorn's server, which says when it is ready, and leaves it to us to end the process."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal, and on a second one at once.

        The signal is not raised again afterwards: the executor and the embedded server behind this
        one have to be left in order first.
        """
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


@asynccontextmanager
async def service_of(parts: Parts) -> AsyncIterator[Service]:
    """Put the service together for the running loop; closed after the block."""
    executor = parts.tollbook.executor
    metrics = Metrics(executor)
    with ExitStack() as stack:
        submitter, middlewares = Submitter(executor), _middlewares(parts.settings, metrics)
        if any(os.environ.get(name) for name in TRACES_WANTED):
            # Only here, as nothing else takes so long to import.
            from entrypoints.http import tracing

            provider = tracing.make_provider()
            stack.callback(provider.shutdown)
            tracer = tracing.tracer_of(provider)
            submitter = tracing.TracedSubmitter(executor, tracer)
            middlewares.insert(1, partial(tracing.Tracing, tracer=tracer))
        probing = stack.enter_context(closing(PostgresEventStore(parts.database.app_url)))
        yield Service(
            tollbook=parts.tollbook,
            readers=stack.enter_context(closing(Readers(parts.database, executor))),
            submitter=submitter,
            keyring=stack.enter_context(closing(Keyring(parts.keys))),
            health=stack.enter_context(
                closing(Health(probing.run, metrics, parts.projector_lives))
            ),
            keys=parts.keys,
            desk=license_desk(parts.database, probing),
            limits=RateLimits(parts.settings),
            middlewares=tuple(middlewares),
        )


def _middlewares(settings: ServeSettings, metrics: Metrics) -> list[Callable[[Any], Any]]:
    """Return the middlewares, the outermost first."""
    return [
        RequestIds,
        partial(Observing, metrics=metrics),
        partial(PeerLimits, settings=settings),
        partial(Crowd, settings=settings),
        partial(BodyLimits, settings=settings),
    ]


def allow_many_files() -> int:
    """Let this process open as many files as it may, since each connection is one; return that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard
