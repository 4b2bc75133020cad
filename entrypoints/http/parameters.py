"""Parameters of the query: each route declares its own; any other, or one given twice, is refused.

A filter with a typing error would otherwise list everything, and look as if it had worked.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from tollbook.errors import Invalid

from domain.values import ID_PATTERN, NAME_PATTERN, check_key_text
from projections.paging import LIMIT_MAX

Schema = Mapping[str, Any]

POSITION_MAX = 2**53 - 1
LIMIT_DEFAULT = 100

_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")


class Parameter(NamedTuple):
    """One parameter of a query: its name, the form of its value, and what it does."""

    name: str
    schema: Schema
    read: Callable[[str, str], Any]
    """Turns (name, text) into a value, or raises Invalid."""
    description: str
    required: bool = False


def read_query(text: bytes, declared: Mapping[str, Parameter]) -> dict[str, Any]:
    """Read a query string; absent parameters are left out."""
    if not text:
        return {}
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text.decode("latin-1"), keep_blank_values=True):
        parameter = declared.get(name)
        if parameter is None:
            raise Invalid.because(name or "query", value, "absent: it is no parameter here")
        if name in found:
            raise Invalid.because(name, value, "given once")
        found[name] = parameter.read(name, value)
    return found


def _whole(name: str, text: str, least: int, most: int) -> int:
    if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
        raise Invalid.because(name, text, f"a whole number from {least} to {most}")
    return int(text)


def whole(name: str, description: str, least: int, most: int, default: int | None = None) -> Any:
    """Declare a whole number."""
    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    if default is not None:
        schema["default"] = default

    def read(name: str, text: str) -> int:
        return _whole(name, text, least, most)

    return Parameter(name, schema, read, description)


def position(name: str, description: str) -> Parameter:
    """Declare a position of the ledger."""
    return whole(name, description, 0, POSITION_MAX)  # type: ignore[no-any-return]


def _matching(pattern: str, rule: str) -> Callable[[str, str], str]:
    compiled = re.compile(pattern.removesuffix("$") + r"\Z")

    def read(name: str, text: str) -> str:
        if not compiled.match(text):
            raise Invalid.because(name, text, rule)
        return text

    return read


_read_id = _matching(ID_PATTERN, "1 to 128 of A-Za-z0-9._:-")
_read_name = _matching(NAME_PATTERN, "1 to 128 of A-Za-z0-9._:/@+-")
_read_day = _matching(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "a day as YYYY-MM-DD")


def _read_text(name: str, text: str) -> str:
    check_key_text(name, text)
    return text


def an_id(name: str, description: str, *, required: bool = False) -> Parameter:
    """Declare an id."""
    schema = {"type": "string", "pattern": ID_PATTERN}
    return Parameter(name, schema, _read_id, description, required)


def a_text(name: str, description: str) -> Parameter:
    """Declare a text of any characters but U+0000."""
    schema = {"type": "string", "minLength": 1, "maxLength": 512}
    return Parameter(name, schema, _read_text, description)


def a_day(name: str, description: str) -> Parameter:
    """Declare a day."""
    return Parameter(name, {"type": "string", "format": "date"}, _read_day, description)


def one_of(name: str, choices: tuple[str, ...], description: str) -> Parameter:
    """Declare a choice."""

    def read(name: str, text: str) -> str:
        if text not in choices:
            raise Invalid.because(name, text, f"one of {', '.join(choices)}")
        return text

    return Parameter(name, {"type": "string", "enum": list(choices)}, read, description)


LIMIT = whole("limit", "How many items a page holds at most.", 1, LIMIT_MAX, LIMIT_DEFAULT)
AFTER_POSITION = position("after", "The `next` of the page before; without it, the first page.")
AFTER_PLACE = a_text("after", "The `next` of the page before; without it, the first page.")
WAIT_FOR = position(
    "wait_for", "Answer once the views hold this position: up to 5 s, then `unavailable`."
)
CUSTOMER = an_id("customer", "Only this customer's.")
MODEL = Parameter(
    "model", {"type": "string", "pattern": NAME_PATTERN}, _read_name, "Only this model's."
)
FROM_DAY = a_day("from_day", "From this day of the customer's zone on.")
TO_DAY = a_day("to_day", "Up to this day, which is included.")
FROM_POSITION = position("from_position", "From this position on.")
TO_POSITION = position("to_position", "Up to this position, which is included.")
ORDER = one_of("order", ("asc", "desc"), "By position: oldest first (`asc`), or newest first.")
