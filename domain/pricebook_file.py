"""A price book as a file: TOML as people write it, or the same as JSON, read into one form.

Whatever is wrong with it is an `Invalid` that names field, value, rule and, for TOML, the line
(docs/formats/price-book.md).
"""

import datetime as dt
import tomllib
from typing import Any, NoReturn

from tollbook import canonical
from tollbook.errors import Invalid

from domain.commands import PublishPrices, parse
from domain.pricebook_format import PriceBookBody
from domain.toml_lines import Path, line_of, lines_of

_FLOAT_RULE = "a string or a whole number, never a float"
_TABLES = {"book": "a table [book]", "model": "tables [[model]]"}


class _Float:
    """Stands for a float that somebody wrote; no field of a price book takes one."""

    def __init__(self, text: str) -> None:
        self.text = text


def read_book(data: bytes) -> dict[str, Any]:
    """Read the bytes of a price book file and return the book as it travels.

    The book has been checked against the schema; nothing has asked the ledger.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid.because("file", data[:40], f"UTF-8 ({error.reason})") from None
    if text.lstrip().startswith("{"):
        book = canonical.loads(text.encode())
        check(book)
        return dict(book)
    lines: dict[Path, int] = {}
    try:
        document = _toml(text)
        lines = lines_of(text)
        book = _book_of(document)
        check(book)
    except Invalid as error:
        raise _located(error, lines) from None
    return book


def check(book: Any) -> PriceBookBody:
    """Check a book as it travels against the schema; raises Invalid naming the field."""
    try:
        command = parse("publish_prices", {"id": "unpublished", "book": book})
    except Invalid as error:
        field = str(error.facts["field"])
        inner = field.removeprefix("book.") if field != "book" else "book"
        error.facts["field"] = inner
        error.message = error.message.replace(field, inner, 1)
        raise
    assert isinstance(command, PublishPrices)
    return command.book


def book_lines(data: bytes) -> dict[Path, int]:
    """Return the lines of a TOML book that was read without complaint; none for JSON."""
    text = data.decode("utf-8-sig")
    return {} if text.lstrip().startswith("{") else lines_of(text)


def place_of(field: str) -> Path:
    """Turn a field as an error names it into its path in the TOML document."""
    keys: list[str | int] = [int(key) if key.isdecimal() else key for key in field.split(".")]
    if keys[0] == "models":
        return ("model", *keys[1:])
    return tuple(keys) if keys[0] in _TABLES else ("book", *keys)


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=_Float)
    except RecursionError:
        raise Invalid("the file nests too deeply", field="file", rule="TOML") from None
    except ValueError as error:
        raise Invalid(f"the file is not TOML: {error}", field="file", rule="TOML") from None


def _book_of(document: dict[str, Any]) -> dict[str, Any]:
    """Bring the tables of the TOML document into the form in which a book travels."""
    for key in document:
        if key not in _TABLES:
            raise Invalid.because(key, "a key", f"absent: a book has {' and '.join(_TABLES)}")
    head, models = document.get("book"), document.get("model", [])
    if not isinstance(head, dict):
        raise Invalid.because("book", head, _TABLES["book"])
    if not isinstance(models, list):
        raise Invalid.because("model", models, _TABLES["model"])
    if "models" in head:
        raise Invalid.because("book.models", "a key", "absent: models are [[model]] tables")
    return {**_plain(head, "book"), "models": _plain(models, "models")}


def _plain(value: Any, field: str) -> Any:
    """Return TOML data as JSON data: times as RFC 3339; a float is refused by its field."""
    if isinstance(value, dict):
        return {key: _plain(each, f"{field}.{key}") for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, f"{field}.{place}") for place, each in enumerate(value)]
    if isinstance(value, _Float):
        _refuse(field, value.text, _FLOAT_RULE)
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.isoformat()
    if isinstance(value, dt.date | dt.time):
        _refuse(field, value.isoformat(), "an RFC 3339 time with an offset")
    return value


def _refuse(field: str, value: str, rule: str) -> NoReturn:
    raise Invalid.because(field, value, rule)


def _located(error: Invalid, lines: dict[Path, int]) -> Invalid:
    """Say on which line an error stands, where the text could be read that far."""
    line = line_of(lines, place_of(str(error.facts.get("field", "file"))))
    if line is None:
        return error
    return Invalid(f"line {line}: {error.message}", **{**error.facts, "line": line})
