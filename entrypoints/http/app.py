"""The app: the routes put behind a router and the middlewares, as one ASGI application."""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Router
from starlette.routing import Route as PathRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from tollbook.errors import NotFound

from entrypoints.http.problems import problem_response
from entrypoints.http.routes import ROUTES
from entrypoints.http.routing import Endpoint, Route
from entrypoints.http.service import Service


def build_app(service: Service) -> ASGIApp:
    """Return the application; the service belongs to the event loop that will run it."""
    paths: list[BaseRoute] = [
        PathRoute(_pattern(path), endpoint=Endpoint(service, methods))
        for path, methods in by_path(ROUTES).items()
    ]
    app: ASGIApp = Router(paths, redirect_slashes=False, default=_no_such_path)
    for wrap in reversed(service.middlewares):
        app = wrap(app)
    return app


def _pattern(path: str) -> str:
    """Return the router's pattern of a path; a model's name may hold slashes."""
    return path.replace("{model}", "{model:path}")


def by_path(routes: Iterable[Route]) -> dict[str, dict[str, Route]]:
    """Group routes by path, and in each path by method."""
    paths: dict[str, dict[str, Route]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = route
    return paths


async def _no_such_path(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request to a path that is none of ours."""
    if scope["type"] != "http":
        return
    path = scope["path"][:200].encode(errors="replace").decode()
    error = NotFound("there is no such path", field="path", value=path)
    await problem_response(error)(scope, receive, send)
