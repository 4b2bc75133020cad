"""Monitoring: health, readiness, metrics and the API's own description, open to everybody."""

from starlette.responses import Response

from entrypoints.http.routing import Call, Route
from entrypoints.http.service import Probe


async def healthz(call: Call) -> Response:
    """Say that the process is alive."""
    return _probed(await call.service.health.healthz())


async def readyz(call: Call) -> Response:
    """Say whether requests can be served."""
    return _probed(await call.service.health.readyz())


async def metrics(call: Call) -> Response:
    """Return the metrics as Prometheus reads them."""
    return _probed(await call.service.health.metrics())


def _probed(probe: Probe) -> Response:
    return Response(probe.body, probe.status, media_type=probe.media_type)


async def description(_call: Call) -> Response:
    """Return the OpenAPI document."""
    from entrypoints.http.openapi import document_bytes

    return Response(document_bytes(), media_type="application/json")


def _at(prefix: str) -> tuple[Route, ...]:
    """Return the routes below a prefix: they stand at the root as well, where probes look."""
    return (
        Route(
            method="GET",
            path=f"{prefix}/healthz",
            summary="Is the process alive?",
            handler=healthz,
            roles=None,
            answer="Health",
            tag="monitoring",
        ),
        Route(
            method="GET",
            path=f"{prefix}/readyz",
            summary="Can requests be served?",
            handler=readyz,
            roles=None,
            answer="Health",
            tag="monitoring",
            codes=("unavailable",),
        ),
        Route(
            method="GET",
            path=f"{prefix}/metrics",
            summary="The metrics, as Prometheus reads them",
            handler=metrics,
            roles=None,
            answer="Metrics",
            tag="monitoring",
        ),
        Route(
            method="GET",
            path=f"{prefix}/openapi.json",
            summary="This document",
            handler=description,
            roles=None,
            answer="Document",
            tag="monitoring",
        ),
    )


ROUTES = (*_at("/v1"), *_at(""))
