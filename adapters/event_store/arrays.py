"""PostgreSQL arrays in their binary wire form, built without a call per element.

One batch travels as one call with an array per column; text arrays in binary need no escaping.
Format: PostgreSQL's array_recv (dimensions, has-null flag, element type, length, lower bound,
then each element as a length and its bytes).
"""

import struct
from collections.abc import Sequence
from typing import Any

from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = struct.Struct(">iiIii")
_LENGTH = [struct.pack(">i", length) for length in range(4096)]
_NULL = struct.pack(">i", -1)
_EMPTY = struct.Struct(">iiI")

TEXT, BIGINT, INTEGER, SMALLINT = 25, 20, 23, 21
_ARRAY_OF = {TEXT: 1009, BIGINT: 1016, INTEGER: 1007, SMALLINT: 1005}
_WIDTH = {BIGINT: (8, "q"), INTEGER: (4, "i"), SMALLINT: (2, "h")}


class PgArray:
    """An array in wire form with the type of its elements."""

    __slots__ = ("data", "element")

    def __init__(self, element: int, data: bytes) -> None:
        """Wrap wire bytes."""
        self.element = element
        self.data = data


def text_array(values: Sequence[str | bytes | None]) -> PgArray:
    """Return a text[]; bytes are taken as UTF-8 that is ready to send."""
    size = len(values)
    if not size:
        return PgArray(TEXT, _EMPTY.pack(0, 0, TEXT))
    head = _HEAD.pack(1, 1, TEXT, size, 1)
    if values.count(values[0]) == size:  # many columns hold the same text in every row
        return PgArray(TEXT, head + _element(values[0]) * size)
    return PgArray(TEXT, head + b"".join(map(_element, values)))


def _element(value: str | bytes | None) -> bytes:
    if value is None:
        return _NULL
    data = value.encode() if type(value) is str else value
    size = len(data)
    return (_LENGTH[size] if size < 4096 else struct.pack(">i", size)) + data  # type: ignore[operator]


def int_array(element: int, values: Sequence[int | None]) -> PgArray:
    """Return an array of whole numbers of the given element type."""
    if not values:
        return PgArray(element, _EMPTY.pack(0, 0, element))
    width, code = _WIDTH[element]
    head = _HEAD.pack(1, 1, element, len(values), 1)
    if None in values:
        one = struct.Struct(f">i{code}")
        return PgArray(
            element, head + b"".join(_NULL if v is None else one.pack(width, v) for v in values)
        )
    flat: list[int] = [width] * (2 * len(values))
    flat[1::2] = values  # type: ignore[assignment]
    return PgArray(element, head + struct.pack(">" + f"i{code}" * len(values), *flat))


class _ArrayDumper(Dumper):
    """Sends a PgArray as it is."""

    format = Format.BINARY

    def dump(self, obj: PgArray) -> bytes:
        """Return the wire bytes."""
        return obj.data

    def get_key(self, obj: PgArray, format: object) -> Any:  # noqa: ARG002 - psycopg's name
        """Tell psycopg that the parameter type depends on the element type."""
        return (self.cls, obj.element)

    def upgrade(self, obj: PgArray, format: object) -> "_ArrayDumper":  # noqa: ARG002
        """Return a dumper whose parameter type is the array's."""
        dumper = type(self)(self.cls)
        dumper.oid = _ARRAY_OF[obj.element]
        return dumper


def register(connection: object) -> None:
    """Teach a connection to send PgArray parameters."""
    connection.adapters.register_dumper(PgArray, _ArrayDumper)  # type: ignore[attr-defined]
