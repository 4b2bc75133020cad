"""The value types of events and commands: how a field looks inside, and how it looks on the wire.

Money is an integer of 10^-12 of the currency unit inside and a decimal string with 12 places on
the wire; an instant is an integer of microseconds since 1970 inside and RFC 3339 on the wire.
"""

import re
from functools import lru_cache
from typing import Annotated

from pydantic import (
    Field,
    GetPydanticSchema,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import core_schema
from tollbook.amounts import format_pico, parse_pico
from tollbook.errors import Invalid
from tollbook.times import format_instant, parse_instant

PICO = 10**12
"""Units of money per currency unit: one USD is 10^12."""

AMOUNT_MAX = 10**15 * PICO
"""The largest amount one command may name (a safe limit: 10^15 currency units)."""

INSTANT_MIN = 0
INSTANT_MAX = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z, the last instant RFC 3339 can write."""

SECOND = 1_000_000
"""Microseconds in a second."""

ID_PATTERN = r"^[A-Za-z0-9._:-]{1,128}$"
NAME_PATTERN = r"^[A-Za-z0-9._:/@+-]{1,128}$"
VERSION_PATTERN = r"^(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){2}([+-][0-9A-Za-z.+-]{1,64})?$"

_ID = re.compile(ID_PATTERN.removesuffix("$") + r"\Z")
_NUL_OR_SURROGATE = re.compile("[\x00\ud800-\udfff]")


def is_id(text: str) -> bool:
    """Say whether a text may be an id."""
    return _ID.match(text) is not None


def _money_in(value: object, info: ValidationInfo) -> int:
    """Accept integers from code and decimal strings from the wire, and nothing else."""
    if type(value) is int and info.mode == "python":
        return value
    return _wire_money_in(value)


def _wire_money_in(value: object) -> int:
    if type(value) is not str:
        raise ValueError("must be a decimal string with at most 12 places, never a JSON number")
    if value == "0.000000000000":
        return 0
    if value[-13:-12] == "." and 13 < len(value) <= 39 and (value[0] != "0" or value[1] == "."):
        # All 12 places, as we write it ourselves: worth a short cut.
        digits = value.replace(".", "", 1)
        if digits.isdecimal() and digits.isascii():
            return int(digits)
    try:
        return parse_pico(value)
    except Invalid as error:
        raise ValueError(error.facts.get("rule", error.message)) from None


def _instant_in(value: object, info: ValidationInfo) -> int:
    """Accept microseconds from code and RFC 3339 from the wire."""
    instant = value if info.mode == "python" and type(value) is int else _wire_instant_in(value)
    if type(instant) is not int or not INSTANT_MIN <= instant <= INSTANT_MAX:
        raise ValueError("must be an RFC 3339 time between 1970 and 9999")
    return instant


def _wire_instant_in(value: object) -> int:
    if type(value) is not str:
        raise ValueError("must be an RFC 3339 time in a string")
    try:
        return parse_instant(value)
    except Invalid as error:
        raise ValueError(error.facts.get("rule", error.message)) from None


def _key_text(value: object) -> str:
    """Accept any characters that the database can keep, up to 512 bytes (CloudEvents ids)."""
    if type(value) is not str or not value:
        raise ValueError("must be a non-empty string")
    if _NUL_OR_SURROGATE.search(value):
        raise ValueError("must not contain U+0000 or lone surrogates")
    if len(value.encode()) > 512:
        raise ValueError("must be at most 512 bytes of UTF-8")
    return value


def check_key_text(field: str, text: object) -> None:
    """Raise Invalid for a text that could not be kept in an envelope."""
    if type(text) is str and 0 < len(text) <= 128 and text.isascii() and "\x00" not in text:
        return  # the usual case, without encoding it
    try:
        _key_text(text)
    except ValueError as error:
        raise Invalid.because(field, ascii(text), str(error).removeprefix("must be ")) from None


def free_text(value: object) -> str:
    """Accept any text of at most 1,000 characters that the database can keep."""
    if type(value) is not str or len(value) > 1000 or _NUL_OR_SURROGATE.search(value):
        raise ValueError("must be a string of at most 1,000 characters without U+0000")
    return value


# An event repeats its amounts, and many are zero: most are read before. What is no amount raises,
# and is not remembered, so no text of an amount here is longer than its form allows.
_stored_money_in = lru_cache(maxsize=4096)(_wire_money_in)

Money = Annotated[
    int,
    GetPydanticSchema(
        lambda _source, _handler: core_schema.no_info_after_validator_function(
            _stored_money_in, core_schema.str_schema(strict=True)
        )
    ),
    PlainSerializer(format_pico, return_type=str),
]
"""An exact amount in an event: read from a decimal string only."""

Amount = Annotated[
    int,
    PlainValidator(_money_in),
    PlainSerializer(format_pico, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(0|[1-9][0-9]{0,14})(\.[0-9]{1,12})?$",
            "description": "A decimal string with at most 12 places, never a number.",
        }
    ),
]
"""An exact amount in a command: integers of 10^-12 from code, decimal strings from the wire."""

Instant = Annotated[
    int, PlainValidator(_wire_instant_in), PlainSerializer(format_instant, return_type=str)
]
"""Microseconds since 1970 in an event: read from RFC 3339 only."""

InstantIn = Annotated[
    int,
    PlainValidator(_instant_in),
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 with an offset, from 1970 to 9999.",
        }
    ),
]
"""Microseconds since 1970 in a command: integers from code, RFC 3339 from the wire."""

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
KeyText = Annotated[
    str,
    PlainValidator(_key_text),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": 512,
            "pattern": r"^[^\u0000]+$",
            "description": "Any characters but U+0000; at most 512 bytes in UTF-8.",
        }
    ),
]
Text = Annotated[
    str,
    PlainValidator(free_text),
    WithJsonSchema({"type": "string", "maxLength": 1000, "pattern": r"^[^\u0000]*$"}),
]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in lower-case hex."""

ParkedId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""The id of a parked usage record."""

VersionName = Annotated[str, StringConstraints(pattern=VERSION_PATTERN)]
"""A version of a model, for example 4.1.0 or 4.1.0-rc.1."""

Sealed = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/=]{0,8192}$")]
"""A personal field in its sealed form: base64 of what the vault made."""

ZoneName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/_-]{1,64}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
GrantAmounts = tuple[tuple[str, Money], ...]
"""Pairs of (grant id, amount), in burn order."""
