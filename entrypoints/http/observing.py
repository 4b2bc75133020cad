"""Observing: each request becomes one line of the log and one count in the metrics.

Neither holds what was sent: no body, no query, no path but its pattern, no name, no secret.
"""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from entrypoints.http.metrics import Metrics
from entrypoints.http.problems import problem_response

logger = logging.getLogger("tollbook.http")

NO_ROUTE = "(none)"
"""Stands for the route of a request whose path is none of ours."""


def route_of(scope: Scope) -> str:
    """Return the pattern of the path that answered a request."""
    return str(getattr(scope.get("route"), "path", NO_ROUTE))


class Observing:
    """An ASGI middleware: times, counts and logs requests, and answers those that failed."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap an app."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; nothing that goes wrong inside leaves it unanswered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begin = time.perf_counter()
        self._metrics.under_way.inc()
        try:
            await self._app(scope, receive, seen)
        except Exception as error:
            if status:
                raise  # the answer has begun: all that is left is to cut the connection
            await problem_response(error)(scope, receive, seen)
        finally:
            self._metrics.under_way.dec()
            self._note(scope, status, time.perf_counter() - begin)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope)
        self._metrics.answered(scope["method"], route, status, seconds)
        level = logging.WARNING if status >= 500 or not status else logging.INFO
        if logger.isEnabledFor(level):
            state = scope.get("state", {})
            caller = state.get("caller")
            fields = {
                "method": scope["method"][:16],
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 2),
                "key": None if caller is None else caller.key,
                "request_id": state.get("request_id"),
            }
            logger.log(level, "request", extra={"fields": fields})
