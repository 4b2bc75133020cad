"""Tensors: what the inputs and outputs of an inference say about its size.

The bytes are those of the KServe protocol, version 2: numbers little-endian, and elements of the
type BYTES each after its length in four bytes.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from tollbook.errors import Invalid

RANK_MAX = 16
"""No more axes than any model has."""

TENSORS_MAX = 1_024
"""No more inputs or outputs than any model has: servers search them one by one."""

SHAPE_MAX = 2**40
"""No more elements in any tensor, an empty axis taken as one: a server whose count of bytes goes
beyond 64 bits takes what is missing for whole, and its model dies of it (Triton 2.51.0)."""

ELEMENTS_MAX = 1_000_000
"""No more elements in a tensor that is counted: whoever counts them holds everybody else up."""

_CODES = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
}
"""How each type of whole numbers is packed."""

WHOLE = frozenset(_CODES) - {"BOOL"}
"""The types that can count something."""

_LENGTH = struct.Struct("<I")
_NESTED = (list, tuple)


class Tensor(NamedTuple):
    """One input or output, as it travelled: packed, or as a list."""

    datatype: str
    shape: tuple[int, ...]
    packed: bytes | None = None
    listed: Sequence[Any] | None = None
    """From JSON or typed contents: may be nested as the shape says."""


Tensors = dict[str, Tensor]
"""By name."""


def total(tensor: Tensor) -> int:
    """Return the sum of all elements of a tensor of whole numbers, none of them negative.

    Raises ValueError for any other: one element below zero would hide what another one costs.
    """
    if tensor.datatype not in WHOLE:
        raise ValueError(f"is of type {tensor.datatype}, which counts nothing")
    if tensor.packed is not None:
        code = _CODES[tensor.datatype]
        count, rest = divmod(len(tensor.packed), struct.calcsize(f"<{code}"))
        if rest:
            raise ValueError("has a part of an element at its end")
        _check_count(count)
        found: Sequence[int] = struct.unpack(f"<{count}{code}", tensor.packed)
    else:
        found = flat(tensor.listed or ())
        if not set(map(type, found)) <= {int}:
            raise ValueError("has elements that are no whole numbers")
        if found and max(found) > _most(tensor.datatype):
            # The server would keep the lowest bits of it, and so see another number.
            raise ValueError("has an element that its type cannot hold")
    if found and min(found) < 0:
        raise ValueError("has a negative element")
    return sum(found)


def says_yes(tensor: Tensor) -> bool:
    """Say whether a tensor is of type BOOL, and true in each of its elements."""
    if tensor.datatype != "BOOL":
        return False
    if tensor.packed is not None:
        return bool(tensor.packed) and not tensor.packed.strip(b"\1")
    try:
        listed = flat(tensor.listed or ())
    except ValueError:
        return False  # so many elements that nobody looks at them
    return bool(listed) and all(each is True for each in listed)


def texts(tensor: Tensor) -> list[bytes]:
    """Return the elements of a tensor of type BYTES; raises ValueError for others."""
    if tensor.datatype != "BYTES":
        raise ValueError(f"is of type {tensor.datatype}, which is no text")
    if tensor.packed is None:
        return [_text(each) for each in flat(tensor.listed or ())]
    found, at, packed = [], 0, tensor.packed
    while at < len(packed):
        if at + 4 > len(packed):
            raise ValueError("has a part of a length at its end")
        (length,) = _LENGTH.unpack_from(packed, at)
        at += 4 + length
        if at > len(packed):
            raise ValueError("has a part of an element at its end")
        found.append(packed[at - length : at])
        _check_count(len(found))
    return found


def check_texts(name: str, tensor: Tensor) -> None:
    """Refuse an input of texts that are cut, or not as many as its shape says; others may be so.

    A server computes several requests at once, and would refuse all of them for it.
    """
    try:
        whole = tensor.datatype != "BYTES" or len(texts(tensor)) == math.prod(tensor.shape)
    except ValueError as error:
        raise Invalid(f"{name} {error}", field=name, rule="whole texts") from None
    if not whole:
        rule = "of as many elements as it has"
        raise Invalid.because(f"{name}.shape", list(tensor.shape), rule)


def _check_count(count: int) -> None:
    if count > ELEMENTS_MAX:
        raise ValueError(f"has more than {ELEMENTS_MAX} elements")


def _most(datatype: str) -> int:
    bits = 8 * struct.calcsize(f"<{_CODES[datatype]}")
    return (1 << bits) - 1 if datatype.startswith("U") else (1 << (bits - 1)) - 1


def _text(element: Any) -> bytes:
    if isinstance(element, str):
        return element.encode("utf-8", "surrogatepass")
    if isinstance(element, bytes):
        return element
    raise ValueError("has elements that are no text")


def size_in_bytes(tensor: Tensor) -> int:
    """Return how many bytes of text, or of numbers, a tensor holds."""
    if tensor.datatype == "BYTES":
        return sum(map(len, texts(tensor)))
    return len(tensor.packed) if tensor.packed is not None else len(flat(tensor.listed or ()))


def extent(tensor: Tensor, axis: int | None) -> int:
    """Return the length of an axis, or the number of all elements; ValueError without that axis."""
    if axis is None:
        product = 1
        for length in tensor.shape:
            product *= length
        return product
    if not -len(tensor.shape) <= axis < len(tensor.shape):
        raise ValueError(f"has {len(tensor.shape)} axes, and none with number {axis}")
    return tensor.shape[axis]


def checked_shape(name: str, shape: Sequence[Any]) -> tuple[int, ...]:
    """Return a shape that came from outside, or raise Invalid naming its tensor."""
    fits = len(shape) <= RANK_MAX and all(type(each) is int and each >= 0 for each in shape)
    if not fits or math.prod(each or 1 for each in shape) > SHAPE_MAX:
        rule = f"at most {RANK_MAX} whole numbers, none negative, of at most 2**40 elements"
        raise Invalid.because(f"{name}.shape", list(shape)[: RANK_MAX + 1], rule)
    return tuple(shape)


def flat(listed: Sequence[Any]) -> list[Any]:
    """Return the elements of a list that may be nested; raises ValueError for too many."""
    _check_count(len(listed))
    if set(map(type, listed)).isdisjoint(_NESTED):
        return list(listed)
    found: list[Any] = []
    waiting: list[Any] = [iter(listed)]
    while waiting:
        for each in waiting[-1]:
            if isinstance(each, _NESTED):
                waiting.append(iter(each))
                break
            found.append(each)
        else:
            waiting.pop()
    _check_count(len(found))
    return found
