"""Readers of plain values inside larger objects: texts, whole numbers, choices, lists, objects.

Each raises ValueError with what the value must be; who reads a field puts its name before that.
"""

import re
from collections.abc import Callable, Collection
from typing import Any

Reader = Callable[[object], Any]


def whole(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of a JSON schema, so that its end is that of the text."""
    return re.compile(pattern.removesuffix("$") + r"\Z")


def matching(pattern: str, rule: str) -> Reader:
    """Return a reader of texts that a pattern accepts."""
    compiled = whole(pattern)

    def read(value: object) -> str:
        if type(value) is not str or not compiled.match(value):
            raise ValueError(f"must be {rule}")
        return value

    return read


def between(least: int, most: int) -> Reader:
    """Return a reader of whole numbers, both bounds included."""

    def read(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"must be a whole number between {least} and {most}")
        return value

    return read


def one_of(choices: Collection[str]) -> Reader:
    """Return a reader of texts that stand in a list."""

    def read(value: object) -> str:
        if type(value) is not str or value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return read


def listed(read_one: Reader, most: int, least: int = 0) -> Reader:
    """Return a reader of lists, as tuples."""

    def read(value: object) -> tuple[Any, ...]:
        if type(value) is not list or not least <= len(value) <= most:
            raise ValueError(f"must be a list of {least} to {most}")
        return tuple(_each(read_one, one) for one in value)

    return read


def _each(read_one: Reader, one: object) -> Any:
    try:
        return read_one(one)
    except ValueError as error:
        raise _named(error, "must be a list in which each") from None


def fields_of(value: object, known: Collection[str], what: str) -> dict[str, Any]:
    """Return the fields of an object that are given, and refuse one that it does not have."""
    if type(value) is not dict:
        raise ValueError(f"{what} must be an object")
    unknown = value.keys() - set(known)
    if unknown:
        raise ValueError(f"{what} has no field {min(map(str, unknown))[:40]!r}")
    return {name: each for name, each in value.items() if each is not None}


def read_field(read: Reader, value: object, name: str) -> Any:
    """Read a field of an object; what is wrong begins with its name."""
    try:
        return read(value)
    except ValueError as error:
        raise _named(error, name) from None


def _named(error: ValueError, name: str) -> ValueError:
    """Put a name before what a value must be, unless the sentence names an inner field."""
    sentence = str(error)
    return ValueError(f"{name} {sentence}") if sentence.startswith("must ") else error
