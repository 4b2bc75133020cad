"""Canonical JSON: one value has exactly one spelling in bytes, so bytes can be hashed and compared.

UTF-8, keys sorted by code point, no white space, the shortest escapes, integers only. Amounts of
money and other numbers that may be large or have a fraction travel as strings. Duplicate keys, lone
surrogates, floats and anything too deep or too large are refused on both ways.
docs/formats/canonical-json.md is the specification, with test vectors.
"""

import json
from collections import Counter
from typing import Any, NoReturn

from tollbook.errors import Invalid

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly."""
MAX_DEPTH = 64
MAX_BYTES = 1_048_576

_INTEGER_RULE = "an integer from -(2^53-1) to 2^53-1; larger numbers travel as strings"
_FLOAT_RULE = "an integer or a decimal string, never a number with a fraction or an exponent"


def dumps(value: Any, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Write a value in its only spelling."""
    _check(value, "value", 0)
    data = _ENCODER.encode(value).encode()
    if len(data) > max_bytes:
        raise Invalid.because("document length", len(data), f"at most {max_bytes} bytes")
    return data


def loads(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read a JSON document of the canonical values; it may be spelt in any way."""
    if len(data) > max_bytes:
        raise Invalid.because("document length", len(data), f"at most {max_bytes} bytes")
    try:
        value = _DECODER.decode(bytes(data).decode("utf-8"))
    except RecursionError:
        raise Invalid.because("document", data, f"at most {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        raise Invalid.because("document", data, f"JSON in UTF-8 ({error})") from None
    _check(value, "value", 0)
    return value


def is_canonical(data: bytes, *, max_bytes: int = MAX_BYTES) -> bool:
    """Tell whether these bytes are the canonical spelling of some value."""
    try:
        return dumps(loads(data, max_bytes=max_bytes), max_bytes=max_bytes) == data
    except Invalid:
        return False


def _check(value: Any, field: str, depth: int) -> None:
    # Exact types, because a subclass (an enum, say) may be written as something else than it is.
    kind = type(value)
    if kind is str:
        _check_text(value, field)
    elif kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise Invalid.because(field, value, _INTEGER_RULE)
    elif kind is dict or kind is list or kind is tuple:
        if depth >= MAX_DEPTH:
            raise Invalid.because(field, value, f"at most {MAX_DEPTH} levels deep")
        _check_members(value, field, depth + 1)
    elif kind is float:
        raise Invalid.because(field, value, _FLOAT_RULE)
    elif value is not None and kind is not bool:
        raise Invalid.because(field, value, "null, a boolean, an integer, a string, a list or dict")


def _check_members(value: Any, field: str, depth: int) -> None:
    if type(value) is not dict:
        for item in value:
            _check(item, field, depth)
        return
    for key, item in value.items():
        if type(key) is not str:
            raise Invalid.because(field, key, "a string, being the key of an object")
        if not key.isascii():
            _check_text(key, field)
        # Most members are plain text, and a receipt is written for every inference.
        if type(item) is not str or not item.isascii():
            _check(item, key, depth)


def _check_text(text: str, field: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Invalid.because(field, text, "text without lone surrogates") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise Invalid.because("key", repeated, "given once in its object")
    return members


def _refuse_number(text: str) -> NoReturn:
    raise Invalid.because("number", text, _FLOAT_RULE)


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_refuse_number, parse_constant=_refuse_number
)
