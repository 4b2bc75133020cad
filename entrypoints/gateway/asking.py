"""Asking: how a client shows its key and its facts, and how it is told a no, in both protocols."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import grpc
from tollbook.errors import Conflict, Invalid, NotFound, Refused, TollbookError, Unavailable

from entrypoints.http.problems import TimedOut, Unauthorized

KEY_HEADER, FACTS_HEADER = "tollbook-license-key", "tollbook-facts"
AUTHORIZATION = "authorization"
PROBLEM_HEADER = "tollbook-problem"
FACTS_BYTES_MAX = 4_096
TRACE_HEADER = "traceparent"
_TRACE_MAX = 512
"""A trace's parent has 55 characters; a server breaks the connection over very many."""

_BEARER = "bearer "
_SCARCE = frozenset({"insufficient_balance", "license_limit_reached", "usage_capped", "overloaded"})


class Shown(NamedTuple):
    """What the headers of a request, or its metadata, show."""

    license_key: str
    facts: dict[str, Any]


def shown(headers: Mapping[str, str]) -> Shown:
    """Read the licence key and the declared facts; the names of headers are in lower case."""
    key = headers.get(KEY_HEADER)
    authorization = headers.get(AUTHORIZATION)
    if key is None and authorization is not None:
        if authorization[: len(_BEARER)].lower() != _BEARER:
            raise Unauthorized(f"{AUTHORIZATION} must be Bearer and the licence key")
        key = authorization[len(_BEARER) :].strip()
    if not key:
        raise Unauthorized(f"show the licence key in {KEY_HEADER}, or in {AUTHORIZATION} as Bearer")
    return Shown(key, _facts(headers.get(FACTS_HEADER)))


def trace(headers: Mapping[str, str]) -> str | None:
    """Return the trace that goes on to the server; none, where what came is no such thing."""
    given = headers.get(TRACE_HEADER, "")
    fits = len(given) <= _TRACE_MAX and given.isascii() and given.isprintable()
    return given if given and fits else None


def _facts(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    if len(text) > FACTS_BYTES_MAX:
        raise Invalid.because(FACTS_HEADER, f"{len(text)} bytes", f"at most {FACTS_BYTES_MAX}")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Invalid.because(FACTS_HEADER, text[:80], "a JSON object of facts")
    return found


def grpc_status(error: TollbookError) -> grpc.StatusCode:
    """Return the status of a no over gRPC."""
    if isinstance(error, Unauthorized) or error.code == "license_key_invalid":
        return grpc.StatusCode.UNAUTHENTICATED
    if error.code in _SCARCE:
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    for kind, status in (
        (Invalid, grpc.StatusCode.INVALID_ARGUMENT),
        (NotFound, grpc.StatusCode.NOT_FOUND),
        (Conflict, grpc.StatusCode.ALREADY_EXISTS),
        (Refused, grpc.StatusCode.PERMISSION_DENIED),
        (Unavailable, grpc.StatusCode.UNAVAILABLE),
        (TimedOut, grpc.StatusCode.DEADLINE_EXCEEDED),
    ):
        if isinstance(error, kind):
            return status
    return grpc.StatusCode.INTERNAL
