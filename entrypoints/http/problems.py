"""Problems: every code an error may carry over HTTP, its status, and the answer that says it.

Answers are RFC 9457 documents (`application/problem+json`): type, title, status, detail, code, and
the facts. docs/problems.md is this table, and a test holds it to that.
"""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.responses import Response
from tollbook.errors import Invalid, Refused, TollbookError, Unavailable

from domain.denials import DENIALS, LIFE_REFUSALS
from domain.outcomes import REFUSALS

logger = logging.getLogger("tollbook.http")

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:tollbook:problem:"


class BadRequest(Invalid):
    """The request itself cannot be understood: no JSON, or a header at odds with the body."""

    title = "Bad request"
    http_status = 400


class Unauthorized(TollbookError):
    """There is no key, or none that is in force."""

    title = "Unauthorized"
    default_code = "unauthorized"


class Forbidden(Refused):
    """The key's role may not do this."""

    title = "Forbidden"
    default_code = "forbidden"


class UnsupportedMediaType(Invalid):
    """The body says that it is of a type that is not read here."""

    title = "Unsupported media type"
    default_code = "unsupported_media_type"


class MethodNotAllowed(TollbookError):
    """The path exists, but not for this method; the fact `allow` lists those that it has."""

    title = "Method not allowed"
    default_code = "method_not_allowed"


class TooLarge(Invalid):
    """The body is longer than what is read."""

    title = "Too large"
    default_code = "too_large"


class TimedOut(TollbookError):
    """The request did not arrive in time."""

    title = "Timed out"
    default_code = "timeout"
    default_retryable = True


class RateLimited(Unavailable):
    """Too much in too short a time; the fact `retry_after` says when to come back, in seconds."""

    title = "Rate limited"
    default_code = "rate_limited"


class Meaning(NamedTuple):
    """The status of a code, and what it says."""

    status: int
    meaning: str


_REFUSED_WITH = {
    "insufficient_balance": 402,
    "already_exists": 409,
    "already_settled": 409,
    "already_released": 409,
    "expired": 410,
    "unknown_model": 422,
    "unknown_unit": 422,
    "plan_forbids": 403,
    "unknown_customer": 422,
    "unknown_reservation": 422,
    "reservation_mismatch": 409,
    "occurred_at_out_of_range": 422,
    "account_blocked": 403,
    "not_blocked": 409,
    "case_cleared": 409,
    "case_confirmed": 409,
    "usage_capped": 403,
    "already_yanked": 409,
    "volume_exceeded": 409,
    "unknown_license": 422,
    "told_before": 409,
    **dict.fromkeys((*DENIALS, *LIFE_REFUSALS), 403),
}

_REFUSED_OTHERWISE = 409
"""The status of a rule's no that stands in no other row: it collides with what is recorded."""

CODES: dict[str, Meaning] = {
    "invalid": Meaning(422, "a field breaks a rule of form (400: the request cannot be read)"),
    "unauthorized": Meaning(401, "there is no key, or none that is in force"),
    "forbidden": Meaning(403, "the key's role may not do this"),
    "not_found": Meaning(404, "nothing has that id, or no such path exists"),
    "method_not_allowed": Meaning(405, "the path exists, but not for this method"),
    "timeout": Meaning(408, "the request did not arrive in time"),
    "id_reused": Meaning(409, "the id was used before with another body"),
    "aborted": Meaning(409, "another command of an atomic batch was refused, so none was done"),
    "conflict": Meaning(409, "it collides with what is already recorded"),
    "fenced": Meaning(409, "the offset of a stream has moved on: the worker is fenced"),
    "refused": Meaning(409, "a rule of the ledger says no"),
    "too_large": Meaning(413, "the body is longer than what is read"),
    "unsupported_media_type": Meaning(415, "the body is of a type that is not read here"),
    "rate_limited": Meaning(429, "too many requests or commands in too short a time"),
    "internal": Meaning(500, "the server failed in a way that it does not understand"),
    "tampered": Meaning(500, "stored bytes are not the ones that were hashed or sealed"),
    "overloaded": Meaning(503, "too much is waiting: nothing was done, try again later"),
    "unavailable": Meaning(503, "something that is needed does not answer: nothing was done"),
    "unknown": Meaning(504, "the outcome is not known: ask by id"),
    **{
        code: Meaning(_REFUSED_WITH.get(code, _REFUSED_OTHERWISE), meaning)
        for code, meaning in REFUSALS.items()
    },
}
"""Every code that an answer may carry."""


def status_of(error: TollbookError) -> int:
    """Return the HTTP status of an error."""
    status = getattr(error, "http_status", None)
    if status is not None:
        return int(status)
    meaning = CODES.get(error.code)
    return 500 if meaning is None else meaning.status


def document(error: TollbookError) -> dict[str, Any]:
    """Return the problem document of an error."""
    return {"type": TYPE_PREFIX + error.code, "status": status_of(error), **error.problem()}


def problem_response(error: BaseException, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer that tells an error; whatever is not ours is logged and said in a word."""
    if not isinstance(error, TollbookError):
        logger.error("a request failed", exc_info=error)
        error = TollbookError("the server failed: its log says why")
    return respond(document(error), headers)


def respond(problem: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem document as an answer, with the headers that its status asks for."""
    status = problem["status"]
    given = {**(headers or {}), **_headers_of(problem)}
    body = json.dumps(problem, separators=(",", ":"), default=str).encode()
    return Response(body, status, given, MEDIA_TYPE)


def _headers_of(problem: dict[str, Any]) -> dict[str, str]:
    """Return the headers that HTTP wants beside some statuses."""
    status = problem["status"]
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    if status == HTTPStatus.METHOD_NOT_ALLOWED and "allow" in problem:
        return {"Allow": ", ".join(problem["allow"])}
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return {"Retry-After": str(problem.get("retry_after", 1))}
    return {}
