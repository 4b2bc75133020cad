"""How an answer in JSON becomes a typed result: by the result's own field types.

Members that a result does not know are kept in its `raw`, because later servers say more; a member
that is missing or of another type makes the whole answer unreadable.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from tollbook.amounts import format_micro, parse_micro
from tollbook.client.money import Money
from tollbook.errors import Invalid
from tollbook.times import format_instant, parse_instant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MEASURED = frozenset({"gpu_seconds", "compute_units"})
"""Units whose quantities travel as decimal strings."""

Usage = Mapping[str, int | Decimal]
"""Quantities by unit: whole numbers, or Decimals for `gpu_seconds` and `compute_units`."""

TimeIn = datetime | str
"""A time that a caller gives: an aware datetime, or RFC 3339."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the server said, read into fields; `raw` is the whole answer as it came."""

    raw: Mapping[str, Any] = field(repr=False, compare=False)


R = TypeVar("R", bound=Result)


def read(kind: type[R], document: Any) -> R:
    """Read a result from the JSON of an answer."""
    if not isinstance(document, dict):
        raise Invalid.because("answer", document, "an object")
    hints = _hints(kind)  # type: ignore[arg-type] # every class can be hashed
    found = {name: _value(name, hint, document.get(name)) for name, hint in hints.items()}
    return kind(raw=document, **found)


def time_text(value: TimeIn, field: str = "time") -> str:
    """Write a time as it travels; a datetime without a zone is nobody's time, and refused."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Invalid.because(field, str(value), "a time with a zone")
        return format_instant((value - EPOCH) // MICROSECOND)
    return format_instant(parse_instant(value, field))


@cache
def _hints(kind: type[Result]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind) if each.name != "raw"}


def _value(name: str, hint: Any, value: Any) -> Any:
    if get_origin(hint) is types.UnionType:
        if value is None:
            return None  # absent, as every field with a choice may be
        (hint,) = (each for each in get_args(hint) if each is not types.NoneType)
    if hint is Any:
        return value
    if hint == Usage:
        return {unit: _quantity(unit, each) for unit, each in _typed(name, dict, value).items()}
    if get_origin(hint) is tuple:
        return tuple(_value(name, get_args(hint)[0], each) for each in _typed(name, list, value))
    if get_origin(hint) is Mapping:
        return _typed(name, dict, value)
    if hint is Money:
        return Money.from_wire(value, name)
    if hint is datetime:
        return EPOCH + parse_instant(value, name) * MICROSECOND
    if issubclass(hint, Result):
        return read(hint, value)
    return _typed(name, hint, value)


def _typed(name: str, kind: type[Any], value: Any) -> Any:
    if type(value) is not kind:
        raise Invalid.because(name, value, f"a value of the type {kind.__name__}")
    return value


def _quantity(unit: str, value: Any) -> int | Decimal:
    if unit in MEASURED:
        return Decimal(format_micro(parse_micro(value, unit)))
    return _typed(unit, int, value)  # type: ignore[no-any-return]
