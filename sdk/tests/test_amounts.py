"""Amounts, quantities and prices: what is read, what is written, what is refused."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook import amounts
from tollbook.errors import Invalid

LIMIT = 10**38 - 1

PICO_EXAMPLES = [
    (0, "0.000000000000"),
    (1, "0.000000000001"),
    (37_500_000, "0.000037500000"),
    (-500_000_000_000, "-0.500000000000"),
    (10**16, "10000.000000000000"),
    (LIMIT, "9" * 26 + "." + "9" * 12),
]
MICRO_EXAMPLES = [
    (0, "0"),
    (1_500_000, "1.5"),
    (2_000_000, "2"),
    (1, "0.000001"),
    (-10, "-0.00001"),
]
REFUSED = [
    "",
    "-",
    ".5",
    "5.",
    "+1",
    "01",
    "-01",
    "1e3",
    "1E3",
    "1,5",
    " 1",
    "1 ",
    "1\n",
    "0x1",
    "NaN",
    "Infinity",
    "1_000",
    "٣",
    "1" * 27,
    "1" * 1_000_000,
    "--1",
    1,
    1.5,
    True,
    None,
    b"1",
    ["1"],
]


@pytest.mark.parametrize(("pico", "text"), PICO_EXAMPLES)
def test_money_has_exactly_twelve_places(pico: int, text: str) -> None:
    assert amounts.format_pico(pico) == text
    assert amounts.parse_pico(text) == pico


@pytest.mark.parametrize(("micro", "text"), MICRO_EXAMPLES)
def test_a_quantity_is_written_as_short_as_possible(micro: int, text: str) -> None:
    assert amounts.format_micro(micro) == text
    assert amounts.parse_micro(text) == micro


@pytest.mark.parametrize(("text", "pico"), [("1", 10**12), ("0.5", 5 * 10**11), ("-0.0", 0)])
def test_places_that_say_nothing_may_be_left_out(text: str, pico: int) -> None:
    assert amounts.parse_pico(text) == pico


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text)[:20])
@pytest.mark.parametrize("parse", [amounts.parse_pico, amounts.parse_micro, amounts.parse_price])
def test_anything_else_is_refused_with_the_rule(parse: Callable[..., int], text: object) -> None:
    with pytest.raises(Invalid) as refusal:
        parse(text, "charge")
    assert refusal.value.facts["field"] == "charge"
    assert refusal.value.facts["rule"].startswith("a decimal string")
    assert len(refusal.value.message) < 300


def test_more_places_than_allowed_are_refused_and_never_rounded() -> None:
    for parse, text in [
        (amounts.parse_pico, "0.0000000000001"),
        (amounts.parse_micro, "0.0000001"),
        (amounts.parse_price, "0.0000001"),
    ]:
        with pytest.raises(Invalid):
            parse(text)


def test_a_price_may_be_zero_but_not_negative() -> None:
    assert amounts.parse_price("0") == 0
    assert amounts.format_price(amounts.parse_price("0.0025")) == "0.0025"
    with pytest.raises(Invalid):
        amounts.parse_price("-1")


@pytest.mark.parametrize("write", [amounts.format_pico, amounts.format_micro])
def test_a_float_is_never_written(write: Callable[..., str]) -> None:
    for value in (1.5, 2.0, 0.0):
        with pytest.raises((TypeError, ValueError)):
            write(value)


@given(st.integers(-LIMIT, LIMIT))
def test_money_survives_the_wire(pico: int) -> None:
    text = amounts.format_pico(pico)
    assert amounts.parse_pico(text) == pico
    assert Fraction(text) == Fraction(pico, amounts.PICO)


@given(st.integers(-(10**32) + 1, 10**32 - 1))
def test_a_quantity_survives_the_wire(micro: int) -> None:
    text = amounts.format_micro(micro)
    assert amounts.parse_micro(text) == micro
    assert not text.endswith((".", ".0"))


@given(st.text(max_size=20) | st.text("0123456789.-+e", max_size=20))
def test_hostile_text_is_read_exactly_or_refused(text: str) -> None:
    try:
        pico = amounts.parse_pico(text)
    except Invalid:
        return
    assert Fraction(text) == Fraction(pico, amounts.PICO)
