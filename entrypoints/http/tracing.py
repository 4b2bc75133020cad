"""Tracing: a span for each request and one for its wait, when a collector is configured.

`OTEL_EXPORTER_OTLP_ENDPOINT` switches it on, and OpenTelemetry's other variables apply. A sender's
`traceparent` is taken over.
"""

import os
from collections.abc import Sequence

import tollbook
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from application.answers import Answer
from application.executor import Executor
from application.jobs import Item
from entrypoints.http.observing import route_of
from entrypoints.http.submitting import Submitter

_PROPAGATOR = TraceContextTextMapPropagator()


def make_provider() -> TracerProvider:
    """Make what sends spans to the collector that the environment names; shut it down at the end.

    The service is called `tollbook` unless `OTEL_SERVICE_NAME` says otherwise.
    """
    facts = {"service.name": "tollbook", "service.version": tollbook.__version__}
    facts["service.name"] = os.environ.get("OTEL_SERVICE_NAME") or facts["service.name"]
    provider = TracerProvider(resource=Resource.create(facts))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """An ASGI middleware: a span around each request, named by its method and route."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        """Wrap an app."""
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request inside a span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in _trace(scope)}
        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        parent = _PROPAGATOR.extract(headers)
        method = scope["method"]
        with self._tracer.start_as_current_span(method, parent, SpanKind.SERVER) as span:
            try:
                await self._app(scope, receive, seen)
            finally:
                route = route_of(scope)
                span.update_name(f"{method} {route}")
                span.set_attribute("http.request.method", method)
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
                span.set_attribute("tollbook.request_id", scope["state"].get("request_id", ""))
                if status >= 500:
                    span.set_status(StatusCode.ERROR)


def _trace(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the headers that carry a trace."""
    return [each for each in scope["headers"] if each[0] in (b"traceparent", b"tracestate")]


class TracedSubmitter(Submitter):
    """A submitter whose every wait for the executor is a span of its own."""

    def __init__(self, executor: Executor, tracer: Tracer) -> None:
        """Submit to an executor."""
        super().__init__(executor)
        self._tracer = tracer

    async def submit(self, items: Sequence[Item], *, atomic: bool = False) -> list[Answer]:
        """Have commands decided inside a span; see Submitter."""
        with self._tracer.start_as_current_span("decide and commit") as span:
            span.set_attribute("tollbook.commands", len(items))
            return await super().submit(items, atomic=atomic)


def tracer_of(provider: TracerProvider) -> trace.Tracer:
    """Return the tracer of the HTTP API."""
    return provider.get_tracer("tollbook.http", tollbook.__version__)
