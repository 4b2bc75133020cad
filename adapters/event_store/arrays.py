"""PostgreSQL arrays in their binary wire form, built without a call per element.

One batch travels as one call with an array per column; text arrays in binary need no escaping.
Format: PostgreSQL's array_recv (dimensions, has-null flag, element type, length, lower bound,
then each element as a length and its bytes).
"""

import struct
from collections.abc import Sequence

_HEAD = struct.Struct(">iiIii")
_LENGTH = [struct.pack(">i", length) for length in range(4096)]
_NULL = struct.pack(">i", -1)
_EMPTY = struct.Struct(">iiI")

TEXT, BIGINT, INTEGER, SMALLINT = 25, 20, 23, 21
ARRAY_OF = {TEXT: 1009, BIGINT: 1016, INTEGER: 1007, SMALLINT: 1005}
_WIDTH = {BIGINT: (8, "q"), INTEGER: (4, "i"), SMALLINT: (2, "h")}


def text_array(values: Sequence[str | bytes | None]) -> bytes:
    """Return a text[]; bytes are taken as UTF-8 that is ready to send."""
    size = len(values)
    if not size:
        return _EMPTY.pack(0, 0, TEXT)
    head = _HEAD.pack(1, 1, TEXT, size, 1)
    if values.count(values[0]) == size:  # many columns hold the same text in every row
        return head + _element(values[0]) * size
    return head + b"".join(map(_element, values))


def _element(value: str | bytes | None) -> bytes:
    if value is None:
        return _NULL
    data = value.encode() if type(value) is str else value
    size = len(data)
    length = _LENGTH[size] if size < 4096 else struct.pack(">i", size)
    return length + data  # type: ignore[operator]


def int_array(element: int, values: Sequence[int | None]) -> bytes:
    """Return an array of whole numbers of the given element type."""
    if not values:
        return _EMPTY.pack(0, 0, element)
    width, code = _WIDTH[element]
    head = _HEAD.pack(1, 1, element, len(values), 1)
    if None in values:
        one = struct.Struct(f">i{code}")
        return head + b"".join(_NULL if v is None else one.pack(width, v) for v in values)
    flat: list[int] = [width] * (2 * len(values))
    flat[1::2] = values  # type: ignore[assignment]
    return head + struct.pack(">" + f"i{code}" * len(values), *flat)


def bigint(value: int) -> bytes:
    """Return one whole number in wire form."""
    return struct.pack(">q", value)
