"""Whole columns as one parameter each: PostgreSQL array literals, made without a call per value.

Used as `unnest(%s::bigint[], %s::numeric[], %s::text[])`; amounts in 10^-12 become decimals by
their exponent alone, so no digit is computed on the way.
"""

from collections.abc import Iterable


def numbers(values: Iterable[int | None]) -> str:
    """Return an array of whole numbers."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def money(values: Iterable[int]) -> str:
    """Return a numeric array of amounts that are given in 10^-12."""
    return "{" + ",".join([f"{value}e-12" for value in values]) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Return an array of any texts."""
    return "{" + ",".join([_quoted(value) for value in values]) + "}"


def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'
