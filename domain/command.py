"""What a command is, and how one is read from JSON: strictly, naming field, value and rule."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from tollbook.errors import Invalid

FIELD_PART_MAX = 128
"""A name of a field that the caller made up is told no further than this."""

SHOWN_MAX = 100
"""A value that is not accepted is told no further than this."""

_UNKNOWN = "unexpected_keyword_argument"

CONFIG = ConfigDict(strict=True, extra="forbid")


class Command:
    """What someone asks the ledger to do; may be refused."""

    KIND: ClassVar[str]
    WEIGHT: ClassVar[int] = 1
    """How many ordinary commands it may stand for."""
    id: str

    def key(self, scope: str) -> tuple[str, str, str]:
        """Return (kind, scope, id), unique for ever; `scope` is the customer it concerns."""
        return self.KIND, scope, self.id

    def fields(self) -> Iterator[tuple[str, Any]]:
        """Yield the fields as given, absent ones as None, without the id."""
        for field in fields(self):  # type: ignore[arg-type]
            if field.name != "id":
                yield field.name, getattr(self, field.name)


def read(adapter: TypeAdapter[Any], body: Mapping[str, Any]) -> Any:
    """Read JSON data strictly; raises Invalid naming field, value and rule.

    What is raised does not remember pydantic's own error. That one holds frames, and so the body,
    where the garbage collector does not look: whoever kept both would keep them for ever.
    """
    found: list[Invalid] = []
    try:
        return adapter.validate_json(json.dumps(body, allow_nan=False), strict=True)
    except ValidationError as error:
        found.append(invalid_from(error))
    except (TypeError, ValueError, RecursionError) as error:
        found.append(Invalid(f"the body is not JSON: {error}", field="body", rule="JSON"))
    raise found.pop()


def invalid_from(error: ValidationError) -> Invalid:
    """Turn pydantic's first complaint into the error that names field, value and rule."""
    first = _first(error.errors(include_url=False))
    field = ".".join(str(part)[:FIELD_PART_MAX] for part in first["loc"]) or "body"
    if first["type"] == "missing":  # its input is the whole body, which is not what is wrong
        return Invalid.because(field, None, "given: it is required")
    if first["type"] == _UNKNOWN:  # a typing error: its value is not what is wrong
        return Invalid(f"{field}: there is no such field", field=field, rule="a known field")
    rule = str(first["msg"]).removeprefix("Value error, ")
    value = first.get("input")
    # A text is cut first: a hostile one has millions of characters.
    shown = repr(value[:SHOWN_MAX] if isinstance(value, str) else value)[:SHOWN_MAX]
    return Invalid(f"{field}: {shown} is not accepted: {rule}", field=field, value=shown, rule=rule)


def _first(complaints: list[ErrorDetails]) -> ErrorDetails:
    """Return the first complaint; where a field is missing, one beside it that is mistyped."""
    first = complaints[0]
    if first["type"] == "missing":
        beside = first["loc"][:-1]
        for each in complaints:
            if each["type"] == _UNKNOWN and each["loc"][:-1] == beside:
                return each
    return first


def in_key_order(value: Any) -> Any:
    """Return JSON data with the keys of every object in order, as canonical JSON wants them."""
    if isinstance(value, dict):
        return {key: in_key_order(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [in_key_order(each) for each in value]
    return value
