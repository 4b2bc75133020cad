"""Canonical JSON: one spelling, and everything that has none is refused."""

import enum
import json
from typing import Any

import pydantic_core
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook import canonical
from tollbook.errors import Invalid


class Colour(enum.StrEnum):
    """A string that is not exactly a string."""

    RED = "red"


texts = st.text(st.characters(codec="utf-8"))
integers = st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER)
values = st.recursive(
    st.none() | st.booleans() | integers | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)
REFUSED: list[Any] = [
    1.0,
    float("nan"),
    2**53,
    -(2**53),
    10**5000,
    "\ud800",
    {"\udfff": 1},
    {1: "a"},
    {None: "a"},
    {"a": {1, 2}},
    b"bytes",
    Colour.RED,
    {Colour.RED: 1},
]


@given(values)
def test_a_value_survives_and_its_bytes_are_canonical(value: Any) -> None:
    data = canonical.dumps(value)
    assert canonical.loads(data) == value
    assert canonical.is_canonical(data)


@given(values)
def test_another_spelling_is_read_but_is_not_canonical(value: Any) -> None:
    spelt = json.dumps(value, indent=1).encode() + b" "
    assert canonical.loads(spelt) == value
    assert not canonical.is_canonical(spelt)


@given(st.dictionaries(texts, integers))
def test_keys_are_sorted_by_their_utf8_bytes(members: dict[str, int]) -> None:
    keys = [key.encode() for key in json.loads(canonical.dumps(members))]
    assert keys == sorted(keys)


@given(texts)
def test_strings_are_escaped_as_pydantic_does(text: str) -> None:
    assert canonical.dumps(text) == pydantic_core.to_json(text)


def test_every_character_of_the_first_planes_is_escaped_as_pydantic_does() -> None:
    text = "".join(chr(point) for point in range(0x3000)) + "\ue000\ufffe\uffff\U0001f600"
    assert canonical.dumps(text) == pydantic_core.to_json(text)


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_what_has_no_single_spelling_is_refused(value: Any) -> None:
    for document in (value, [value], {"key": value}):
        with pytest.raises(Invalid):
            canonical.dumps(document)


def test_a_refusal_names_the_key() -> None:
    with pytest.raises(Invalid) as refusal:
        canonical.dumps({"usage": {"gpu_seconds": 1.5}})
    assert refusal.value.facts["field"] == "gpu_seconds"


def test_depth_is_limited_on_both_ways() -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        deepest = (opening * 63 + "[]" + closing * 63).encode()
        assert canonical.dumps(canonical.loads(deepest)) == deepest
        for depth in (64, 100_000):
            with pytest.raises(Invalid):
                canonical.loads((opening * depth + "[]" + closing * depth).encode())
    circular: list[Any] = []
    circular.append(circular)
    with pytest.raises(Invalid):
        canonical.dumps(circular)


def test_size_is_limited_on_both_ways() -> None:
    assert canonical.loads(canonical.dumps("x" * 8, max_bytes=10), max_bytes=10) == "x" * 8
    with pytest.raises(Invalid):
        canonical.dumps("x" * 9, max_bytes=10)
    with pytest.raises(Invalid):
        canonical.loads(b'"xxxxxxxxx"', max_bytes=10)


def test_many_repeated_keys_are_refused_at_once() -> None:
    """A search that is quadratic in the keys would take minutes here."""
    keys = ",".join(f'"{number}":0' for number in range(80_000))
    with pytest.raises(Invalid, match="79999"):
        canonical.loads(f'{{{keys},"79999":0}}'.encode())


@given(st.binary(max_size=60))
def test_hostile_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = canonical.loads(data)
    except Invalid:
        assert not canonical.is_canonical(data)
        return
    assert canonical.loads(canonical.dumps(value)) == value
