"""Routing: what a route declares, and how a request goes through it.

One table (`entrypoints.http.routes`) declares every route; the router, the check of roles, the
OpenAPI document and the tests are all made from it. Whatever goes wrong is answered as a problem.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from tollbook.errors import NotFound, TollbookError

from application.answers import Answer
from domain.values import is_id
from entrypoints.http.parameters import Parameter, read_query
from entrypoints.http.problems import Forbidden, MethodNotAllowed, problem_response
from entrypoints.http.roles import Roles
from entrypoints.http.service import Caller, Service

Handler = Callable[["Call"], Awaitable[Response]]

ID_MAX = 138
"""The longest id that anything in the ledger has: that of a fraud case."""

_COMPACT = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path: what it takes, what it answers, and who may use it."""

    method: str
    path: str
    summary: str
    handler: Handler
    roles: Roles | None
    """Who may; None means everybody, also without a key."""
    answer: str
    """The name of the answer's schema."""
    tag: str
    body: str | None = None
    """The name of the body's schema."""
    example: Mapping[str, Any] | None = None
    """A body that this route takes."""
    query: tuple[Parameter, ...] = ()
    codes: tuple[str, ...] = ()
    """The codes of problems beyond those that any route may answer."""
    kind: str | None = None
    """The kind of command that it carries out; it then takes `Idempotency-Key`."""
    creates: str | None = None
    """Where the id of what it makes stands, as an OpenAPI runtime expression: 201 the first time,
    and it is read at this path and that id."""
    many: bool = False
    """Whether it carries many commands, which are counted once the body has been read."""
    media_types: tuple[str, ...] = ("application/json",)
    """The types of bodies that it reads."""

    def parameters(self) -> dict[str, Parameter]:
        """Return the parameters of its query by name."""
        return {parameter.name: parameter for parameter in self.query}


class Call:
    """One request on its way through a handler: who calls, and the parts that were checked."""

    __slots__ = ("caller", "path", "query", "request", "route", "service")

    def __init__(
        self,
        service: Service,
        request: Request,
        route: Route,
        caller: Caller | None,
        query: dict[str, Any],
    ) -> None:
        """Take the parts; a route that anybody may use has no caller."""
        self.service = service
        self.request = request
        self.route = route
        self.caller = caller
        self.query = query
        self.path: dict[str, str] = request.path_params

    @property
    def who(self) -> Caller:
        """Return the caller of a route that needs one."""
        assert self.caller is not None
        return self.caller

    @property
    def actor(self) -> str:
        """Return who the ledger is told to have acted."""
        return f"key:{self.who.key}"

    @property
    def correlation(self) -> str | None:
        """Return the request's id, which every event of it will carry."""
        found: str | None = self.request.scope.get("state", {}).get("request_id")
        return found

    def own_customer(self) -> str:
        """Return the customer of the path; to a customer's key, everybody else does not exist."""
        return self.visible(self.path["customer"])

    def visible(self, customer: str) -> str:
        """Return a customer's id, or raise NotFound where this caller may not see them."""
        own = self.who.customer
        if (own is not None and own != customer) or not is_id(customer):
            raise no_customer(customer)
        return customer

    def customer_filter(self) -> str | None:
        """Return the customer that a list is about: a customer's key lists its own data only."""
        wanted: str | None = self.query.get("customer")
        if wanted is not None:
            return self.visible(wanted)
        return self.who.customer


def no_customer(customer: str) -> NotFound:
    """Return the error for a customer who is not there, or not for this caller."""
    return NotFound(f"there is no customer {customer}", field="customer", value=customer)


def reply(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    return Response(_COMPACT.encode(document).encode(), status, headers, "application/json")


class Endpoint:
    """The ASGI app of one path: finds the method's route, and answers whatever happens there."""

    def __init__(self, service: Service, routes: Mapping[str, Route]) -> None:
        """Serve these routes, by method."""
        self._service = service
        self._routes = dict(routes)
        self._parameters = {method: route.parameters() for method, route in routes.items()}
        if "GET" in routes:
            self._routes["HEAD"] = routes["GET"]
            self._parameters["HEAD"] = self._parameters["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the server drops the body of what answers a HEAD."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - nobody may see a traceback
            response = problem_response(error)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        scope, service = request.scope, self._service
        method = scope["method"]
        route = self._routes.get(method)
        if route is None:
            allow = sorted(self._routes)
            raise MethodNotAllowed(f"this path has no {method[:20]}", allow=allow)
        state = scope.setdefault("state", {})
        scope["route"] = route  # the log and the metrics name its pattern
        caller = None
        if route.roles is not None:
            caller = await service.keyring.identify(request.headers.get("authorization"))
            state["caller"] = caller
            if caller.role not in route.roles:
                raise Forbidden(
                    f"the role {caller.role} may not do this",
                    role=caller.role,
                )
            if not route.many:
                service.limits.spend(caller, 0 if route.kind is None else 1)
        for field, name in request.path_params.items():
            if len(name) > ID_MAX:
                raise NotFound(f"nothing has an id of {len(name)} characters", field=field)
        query = read_query(scope["query_string"], self._parameters[method])
        return await route.handler(Call(service, request, route, caller, query))


def answered(call: Call, answer: Answer, name: str | None = None) -> Response:
    """Return what became of a command: its answer, or its problem; a repetition says so.

    `name` is where below this path the new resource is read, when that is not the command's id.
    """
    problem = answer.problem()
    if problem is not None:
        return problem_response(told(problem, answer), replayed(answer))
    return done(call, answer, answer.result(), name)


def done(
    call: Call, answer: Answer, document: Mapping[str, Any], name: str | None = None
) -> Response:
    """Return the answer of a command that was carried out, as this document."""
    if call.route.creates is None or answer.repeated:
        return reply(document, 200, replayed(answer))
    where = f"{call.request.scope['path']}/{name or answer.id}"
    return reply(document, 201, {"Location": where})


def replayed(answer: Answer) -> dict[str, str]:
    """Return the header that says of a repetition that it is one."""
    return {"Idempotency-Replayed": "true"} if answer.repeated else {}


def told(problem: TollbookError, answer: Answer) -> TollbookError:
    """Add where a refusal stands to its facts."""
    if answer.recorded is not None:
        problem.facts = {"id": answer.id, "position": answer.recorded.position, **problem.facts}
    return problem
