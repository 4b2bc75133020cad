"""The gateway as its operators see it: alive, ready, and counted; on a port of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import cast

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from entrypoints.gateway.allowance_monitoring import AllowanceCounts, allowance_state
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.trace_batches import Totals

Readiness = Callable[[], Awaitable[str | None]]
"""Says what is missing, or None when inferences can be served."""

CONNECTIONS_MAX = 100
"""So many connections it has; more are closed at once."""
IDLE_SECONDS = 15.0
READY_SECONDS = 5
"""So long it is asked whether the gateway is ready; a stop waits no longer for the answer."""


class _Counts(Collector):
    """The gateway's own counts; no label names a customer or anything that clients make up."""

    def __init__(self, gateway: Gateway, traced: Totals) -> None:
        self._gateway = gateway
        self._traced = traced

    def collect(self) -> Iterable[Metric]:
        gateway, settler = self._gateway, self._gateway.settler
        for name, told, value in (
            ("running", "Inferences under way.", len(gateway.running)),
            ("settlements_waiting", "Outcomes that the ledger is to be told.", settler.backlog),
            ("settlements_stuck", "Outcomes that the ledger did not take.", settler.stuck),
            ("emergency_slices", "Slices set aside for an outage.", gateway.emergency.slices.count),
            ("connections", "Connections of clients.", gateway.places.taken),
            ("ledger_away", "1 while the ledger does not answer.", gateway.emergency.away),
        ):
            yield GaugeMetricFamily(f"tollbook_gateway_{name}", told, value=value)
        refused = CounterMetricFamily(
            "tollbook_gateway_refused", "Inferences refused, by code.", labels=("code",)
        )
        for code, count in gateway.refused.items():
            refused.add_metric((code,), count)
        ended = CounterMetricFamily(
            "tollbook_gateway_ended", "Inferences ended, by how.", labels=("how",)
        )
        for how in ("charged", "released", "parked"):
            ended.add_metric((how,), gateway.ended[how])
        drawn = CounterMetricFamily(
            "tollbook_gateway_emergency_admitted",
            "Inferences admitted from a slice while the ledger was away.",
            value=gateway.emergency.admitted,
        )
        turned_away = CounterMetricFamily(
            "tollbook_gateway_connections_refused",
            "Connections of clients that were too many.",
            value=gateway.places.refused,
        )
        yield from (refused, ended, drawn, turned_away)
        for name in Totals.__slots__:
            told = f"What the servers' traces told: {name.replace('_', ' ')}."
            value = getattr(self._traced, name)
            yield CounterMetricFamily(f"tollbook_gateway_traced_{name}", told, value=value)


class _Refused(asyncio.Protocol):
    """A connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        cast("asyncio.Transport", transport).abort()


class Monitor:
    """Answers `/healthz`, `/readyz` and `/metrics`."""

    def __init__(self, gateway: Gateway, missing: Readiness, traced: Totals) -> None:
        """Ask `missing` whenever somebody asks whether the gateway is ready."""
        self._missing = missing
        self._gateway = gateway
        self._registry = CollectorRegistry()
        self._registry.register(_Counts(gateway, traced))
        if gateway.emergency.allowing is not None:
            self._registry.register(AllowanceCounts(gateway.emergency.allowing))
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=READY_SECONDS,
            keepalive_timeout=IDLE_SECONDS,
        )
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int, *, is_shared: bool = False) -> int:
        """Listen, and return the port."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(
            self._connection, host, port, reuse_port=is_shared or None
        )
        return int(self._listening.sockets[0].getsockname()[1])

    def _connection(self) -> asyncio.BaseProtocol:
        """Return what handles a new connection."""
        server = self._runner.server
        assert server is not None
        return server() if len(server.connections) < CONNECTIONS_MAX else _Refused()

    async def stop(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        try:
            missing = await asyncio.wait_for(self._missing(), READY_SECONDS)
        except TimeoutError:
            missing = "no answer in time"
        state = allowance_state(self._gateway)
        if missing is None:
            return web.json_response({"status": "ready", "allowances": state})
        told = {"status": "not ready", "missing": missing, "allowances": state}
        return web.json_response(told, status=503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
