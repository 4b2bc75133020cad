"""OpenAPI: the document that describes every route, made from the table that the router is made of.

`python -m entrypoints.http.openapi` writes docs/openapi.json and docs/problems.md; tests hold the
committed files to what this says.
"""

import json
import re
from functools import cache
from http import HTTPStatus
from pathlib import Path

from entrypoints.http.answers import COMMANDED, OTHER
from entrypoints.http.answers_read import READ
from entrypoints.http.bodies import CLOUD_EVENTS
from entrypoints.http.fraud_routes import FRAUD_ANSWERS
from entrypoints.http.license_schemas import LICENSES
from entrypoints.http.pipeline_schemas import PIPELINE_ANSWERS
from entrypoints.http.problems import CODES, MEDIA_TYPE
from entrypoints.http.roles import ROLES
from entrypoints.http.routes import ROUTES
from entrypoints.http.routing import Route
from entrypoints.http.schemas import Schema, bodies, ref

VERSION = "1"
DOCS = Path(__file__).parents[2] / "docs"

_ID_IN_PATH = {"type": "string", "minLength": 1}
_PLACE = re.compile(r"\{([a-z]+)\}")

_ABOUT = """\
An event-sourced ledger that licenses, meters and bills AI inference.

Bodies are JSON in UTF-8, read strictly: a field that is not known, a key given twice and a number
with a fraction are refused. Amounts are decimal strings with their currency, times are RFC 3339.
Every problem is an RFC 9457 document with a stable `code` (docs/problems.md).

A command's id is the caller's, in the body's `id` or in `Idempotency-Key`, or is made here. The
same id with the same body always gets the same answer: 201 when something was created, 200 with
`Idempotency-Replayed: true` ever after.

Lists are read page by page: `next` of one page is `after` of the following one; null is the end.
"""

_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
_REPLAYED = {
    "Idempotency-Replayed": {
        "schema": {"type": "string", "enum": ["true"]},
        "description": "Present when the ledger had decided this id before.",
    }
}
_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "Where it is read."}}


@cache
def document_bytes() -> bytes:
    """Return the document as it is served and committed."""
    return (json.dumps(document(), indent=1, sort_keys=True) + "\n").encode()


def document() -> Schema:
    """Return the OpenAPI document."""
    paths: dict[str, dict[str, Schema]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tollbook",
            "version": VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in ROUTES)],
        "paths": paths,
        "components": {
            "schemas": {
                **bodies(),
                **COMMANDED,
                **READ,
                **LICENSES,
                **FRAUD_ANSWERS,
                **PIPELINE_ANSWERS,
                **OTHER,
            },
            "responses": _problem_responses(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> Schema:
    operation: Schema = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "tags": [route.tag],
        "responses": _responses(route),
    }
    parameters = [*_path_parameters(route), *_query_parameters(route), *_headers(route)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(route)}
    if route.roles is None:
        operation["security"] = []
    else:
        allowed = [role for role in ROLES if role in route.roles]
        operation["description"] = f"Roles: {', '.join(allowed)}."
    return operation


def operation_id(route: Route) -> str:
    """Return the name of an operation, as generated clients call it."""
    words = re.findall(r"[a-z]+", route.path)
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: Route) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _ID_IN_PATH}
        for name in _PLACE.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[Schema]:
    return [
        {
            "name": each.name,
            "in": "query",
            "required": each.required,
            "schema": dict(each.schema),
            "description": each.description,
        }
        for each in route.query
    ]


def _headers(route: Route) -> list[Schema]:
    if route.kind is None or route.kind == "publish_prices":
        return []
    described = "The command's id, when the body has none; the same as the body's where both are."
    schema = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"}
    return [{"name": "Idempotency-Key", "in": "header", "schema": schema, "description": described}]


def _content(route: Route) -> Schema:
    content: Schema = {}
    for media_type in route.media_types:
        batch = media_type == CLOUD_EVENTS
        content[media_type] = {"schema": ref("UsageBatch" if batch else str(route.body))}
        if route.example is not None:
            content[media_type]["example"] = [route.example] if batch else route.example
    return content


def _responses(route: Route) -> Schema:
    media_type = "text/plain" if route.answer == "Metrics" else "application/json"
    schema = {"type": "string"} if route.answer == "Metrics" else ref(route.answer)
    answer = {"description": "Done.", "content": {media_type: {"schema": schema}}}
    replayed = {"headers": _REPLAYED} if route.kind is not None else {}
    found: Schema = {"200": {**answer, **replayed}}
    if route.creates is not None:
        created = {**answer, "description": "Created.", "headers": _LOCATION}
        created["links"] = _links(route, route.creates)
        found = {"201": created} if route.kind is None else {"201": created, **found}
    for status, codes in sorted(_problems(route).items()):
        found[str(status)] = {"$ref": f"#/components/responses/{_problem_name(status, codes)}"}
    return found


def _links(route: Route, made: str) -> Schema:
    """Return what can be asked of the thing that a route makes, with the ids that belong there."""
    found: Schema = {}
    outer = _PLACE.findall(route.path)
    for each in ROUTES:
        places = _PLACE.findall(each.path)
        if len(places) == len(outer) + 1 and each.path.startswith(route.path + "/{"):
            parameters = {name: f"$request.path.{name}" for name in outer} | {places[-1]: made}
            name = operation_id(each)
            found[name] = {"operationId": name, "parameters": parameters}
    return found


def _problem_name(status: int, codes: list[str]) -> str:
    """Return the name under which the problems of one status are described."""
    words = "_".join(codes).split("_")
    return f"Problem{status}{''.join(word.capitalize() for word in words)}"


def _problem_responses() -> Schema:
    """Return every group of problems that some route may answer, by its name."""
    found: Schema = {}
    for route in ROUTES:
        for status, codes in _problems(route).items():
            meant = "; ".join(f"`{code}`: {CODES[code].meaning}" for code in codes)
            problem: Schema = {
                "description": f"{HTTPStatus(status).phrase}. {meant}.",
                "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
            }
            if status in (429, 503):
                problem["headers"] = _RETRY
            found[_problem_name(status, codes)] = problem
    return found


def _problems(route: Route) -> dict[int, list[str]]:
    """Return the codes that a route may answer, by their status."""
    codes = {*route.codes, "internal", "overloaded", "unavailable", "invalid"}
    if route.roles is not None:
        codes |= {"unauthorized", "forbidden", "rate_limited"}
    if route.body is not None:
        codes |= {"timeout", "too_large", "unsupported_media_type"}
    if route.kind is not None:
        codes |= {"unknown", "id_reused"}
    found: dict[int, list[str]] = {}
    for code in sorted(codes):
        found.setdefault(CODES[code].status, []).append(code)
    # What cannot be read at all: a bad header, JSON that is none, a request line out of shape.
    found[400] = ["invalid"]
    return found


def problems_page() -> str:
    """Return docs/problems.md: every code, its status and its meaning."""
    rows = sorted(CODES.items(), key=lambda row: (row[1].status, row[0]))
    lines = [f"| `{code}` | {found.status} | {found.meaning} |" for code, found in rows]
    return "\n".join([_PROBLEMS_HEAD, *lines, ""])


_PROBLEMS_HEAD = """\
# Problems

Generated from `entrypoints/http/problems.py` by `python -m entrypoints.http.openapi`.

An error over HTTP is an `application/problem+json` document (RFC 9457): `type`
(`urn:tollbook:problem:CODE`), `title`, `status`, `detail`, `code`, and the facts of that code, such
as `field`, `value` and `rule`, `available` and `required`, `first_outcome`. Programs look at
`code`; `title` and `detail` are for people and may change. On the shell, `--json` gives the same
document without `type` and `status`, and has two codes of its own: `usage`, an option that is
wrong, and `interrupted`, by Ctrl-C. A command that has an id may have taken effect before that:
repeat it with the `id`, which the document names.

A refusal by a rule stands in the ledger: it has an `id` and a `position`, and the same id is
refused the same way for ever. `invalid`, `not_found`, `unauthorized`, `forbidden`, `rate_limited`,
`overloaded` and `unavailable` are not recorded, and leave the id free. After `unknown`, ask
`GET /v1/commands?kind=...&customer=...&id=...`, or send the same command again.

`429` and `503` say in `Retry-After` when to come back.

| code | status | meaning |
|--|--|--|"""


def main() -> None:
    """Write the committed documents."""
    (DOCS / "openapi.json").write_bytes(document_bytes())
    (DOCS / "problems.md").write_text(problems_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
