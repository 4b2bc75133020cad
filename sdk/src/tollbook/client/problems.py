"""From an answer that is no success to the error that a caller can catch.

The server writes problem documents (RFC 9457) with a stable `code` and the facts behind it; they
become the same errors that the ledger raises inside, with the same codes and facts. An answer
without a code was written by something in between, such as a proxy.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tollbook.errors import (
    Conflict,
    Invalid,
    NotFound,
    Refused,
    Tampered,
    TollbookError,
    Unavailable,
    Unknown,
    shorten,
)

CLASSES: dict[str, type[TollbookError]] = {
    "invalid": Invalid,
    "method_not_allowed": Invalid,
    "too_large": Invalid,
    "unsupported_media_type": Invalid,
    "not_found": NotFound,
    "conflict": Conflict,
    "fenced": Conflict,
    "id_reused": Conflict,
    "overloaded": Unavailable,
    "rate_limited": Unavailable,
    "timeout": Unavailable,
    "unavailable": Unavailable,
    "unknown": Unknown,
    "tampered": Tampered,
    "internal": TollbookError,
}
"""The error of each code that is no refusal; every other code below 500 is a rule's no."""

NOTHING_DONE = frozenset({"overloaded", "rate_limited", "timeout", "unavailable"})
"""Codes that say: nothing was done, trying again may help."""

BEFORE_THE_LEDGER = frozenset(
    {"unauthorized", "forbidden", "method_not_allowed", "too_large", "unsupported_media_type"}
)
"""Codes that are answered before the ledger is asked, so they say nothing about an earlier try."""

MEMBERS = frozenset({"type", "title", "status", "detail", "instance", "code"})


def problem_of(body: bytes) -> dict[str, Any] | None:
    """Read a problem document of the ledger; None when something else has answered."""
    try:
        document = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(document, dict) and isinstance(document.get("code"), str)
    return document if is_ours else None


def error_of(problem: Mapping[str, Any], status: int = 400) -> TollbookError:
    """Make the error that a problem document describes."""
    code = str(problem["code"])
    kind = CLASSES.get(code, Refused if status < 500 else TollbookError)
    message = problem.get("detail") or problem.get("title") or code
    error = kind(str(message), code=code)
    error.facts.update((name, fact) for name, fact in problem.items() if name not in MEMBERS)
    return error


def foreign_error(status: int, body: bytes) -> TollbookError:
    """Make the error for an answer that the ledger has not written."""
    start = shorten(body[:200])
    if status == 429 or status >= 500:
        return Unavailable(f"the server answered {status} without a problem document: {start}")
    return TollbookError(
        f"the server answered {status} without a problem document: {start}",
        code="unexpected_answer",
        status_code=status,
    )
