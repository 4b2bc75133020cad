"""How each kind of field is read from the wire and from code, and what is refused."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from domain.units import QUANTITY_MAX, UNITS_MAX, Usage, quantities_to_wire
from domain.values import (
    INSTANT_MAX,
    Amount,
    Count,
    Currency,
    GrantAmounts,
    Id,
    Instant,
    InstantIn,
    KeyText,
    Money,
    Name,
    Text,
)
from tests.domain.examples import usd

MONEY: Any = TypeAdapter(Money)
AMOUNT: Any = TypeAdapter(Amount)
INSTANT: Any = TypeAdapter(Instant)
INSTANT_IN: Any = TypeAdapter(InstantIn)
USAGE: Any = TypeAdapter(Usage)
NOT_TEXT: list[Any] = [None, True, 0, 1, 1.5, [], {}, b"1"]


@pytest.mark.parametrize(
    ("text", "pico"),
    [
        ("0", 0),
        ("-0", 0),
        ("1", 10**12),
        ("0.000000000001", 1),
        ("-0.000000000001", -1),
        ("0.0000375", 37_500_000),
        ("1.10", 1_100_000_000_000),
        ("9" * 26, (10**26 - 1) * 10**12),
    ],
)
def test_money_is_read_from_decimal_strings(text: str, pico: int) -> None:
    assert MONEY.validate_python(text, strict=True) == pico
    assert AMOUNT.validate_json(f'"{text}"', strict=True) == pico


@pytest.mark.parametrize(
    "text",
    [
        *("", " 1", "1 ", "+1", "01", "1.", ".5", "1e3", "1E3", "0x1", "1_000", "1,000"),
        *("NaN", "Infinity", "-Infinity", "nan", "0.0000000000001", "\u0661"),
        *("9" * 27, "1\n", "1\x00"),
        *(".000000000001", "-.000000000001", "9" * 27 + ".000000000000", "00.000000000001"),
        *("--1.000000000000", "1٣.000000000000", "1 .000000000000", "1.00000000000٣"),
    ],
)
def test_money_in_another_form_is_refused(text: str) -> None:
    for adapter in (MONEY, AMOUNT):
        with pytest.raises(ValidationError):
            adapter.validate_python(text, strict=True)


@pytest.mark.parametrize("text", ["1", "1.0", "true", "null", "[]", "{}", '["1"]', '"1e3"', '""'])
def test_what_is_no_money_is_refused_by_an_event_as_often_as_it_comes(text: str) -> None:
    for _ in range(3):
        assert MONEY.validate_json('"1"', strict=True) == 10**12
        with pytest.raises(ValidationError):
            MONEY.validate_json(text, strict=True)


@pytest.mark.parametrize("value", NOT_TEXT)
def test_money_in_an_event_is_text_only(value: Any) -> None:
    with pytest.raises(ValidationError):
        MONEY.validate_python(value, strict=True)


def test_money_in_a_command_may_be_an_integer_from_code_but_not_from_json() -> None:
    assert AMOUNT.validate_python(7) == 7
    for number in ("7", "7.0", "true", "1e0"):
        with pytest.raises(ValidationError, match="never a JSON number"):
            AMOUNT.validate_json(number)


@pytest.mark.parametrize("value", [True, 1.0, None, [1]])
def test_money_from_code_is_an_integer_and_nothing_like_one(value: Any) -> None:
    with pytest.raises(ValidationError):
        AMOUNT.validate_python(value)


def test_money_is_written_with_twelve_places() -> None:
    assert MONEY.dump_python(usd("1.5"), mode="json") == "1.500000000000"
    assert MONEY.dump_python(-1, mode="json") == "-0.000000000001"


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("2026-03-10T12:00:00+02:00", 1_773_136_800_000_000),
        ("9999-12-31T23:59:59.999999Z", INSTANT_MAX),
    ],
)
def test_instants_are_read_from_rfc_3339(text: str, microseconds: int) -> None:
    assert INSTANT.validate_python(text, strict=True) == microseconds
    assert INSTANT_IN.validate_json(f'"{text}"', strict=True) == microseconds


@pytest.mark.parametrize(
    "value",
    [
        *("", "2026-03-10", "2026-03-10T12:00:00", "2026-02-29T00:00:00Z", "now", "12:00:00Z"),
        *("1969-12-31T23:59:59Z", "2026-03-10T24:00:00Z", "2026-03-10T12:00:60Z"),
        *(None, True, 1.5, -1, INSTANT_MAX + 1, [], {}),
    ],
)
def test_other_times_are_refused(value: Any) -> None:
    for adapter in (INSTANT, INSTANT_IN):
        with pytest.raises(ValidationError):
            adapter.validate_python(value, strict=True)


def test_instants_from_json_are_never_numbers() -> None:
    assert INSTANT_IN.validate_python(5) == 5
    with pytest.raises(ValidationError, match="RFC 3339"):
        INSTANT_IN.validate_json("5")


TEXTS = [
    (Id, ["a", "A-Za.z0:9_", "x" * 128], ["", "x" * 129, "a b", "a/b", "é", "a\n", "a\x00", 1]),
    (Name, ["org/model:7b@v1+x"], ["", "x" * 129, "a b", "naïve", "a\n", None]),
    (Currency, ["USD"], ["", "usd", "US", "USDT", "ÜSD", "USD\n", 840]),
    (KeyText, ["é 漢 /?#", "x" * 512], ["", "x" * 513, "é" * 257, "\x00", "\ud800", 1, None]),
    (Text, ["", "why not\n", "x" * 1000], ["x" * 1001, "\x00", "\udfff", 1, b""]),
]


@pytest.mark.parametrize(("kind", "good", "bad"), TEXTS)
def test_texts_have_a_form_and_a_limit(kind: Any, good: list[Any], bad: list[Any]) -> None:
    adapter: Any = TypeAdapter(kind)
    for value in good:
        assert adapter.validate_python(value, strict=True) == value
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value, strict=True)


@pytest.mark.parametrize(("value", "good"), [(0, True), (2**53 - 1, True), (2**53, False)])
def test_counts_stay_below_what_every_json_reader_keeps(value: int, good: bool) -> None:
    adapter: Any = TypeAdapter(Count)
    if good:
        assert adapter.validate_python(value, strict=True) == value
    else:
        with pytest.raises(ValidationError):
            adapter.validate_python(value, strict=True)


def test_grant_amounts_are_pairs_of_id_and_money() -> None:
    adapter: Any = TypeAdapter(GrantAmounts)
    assert adapter.validate_json('[["g1","0.5"]]', strict=True) == (("g1", usd("0.5")),)
    with pytest.raises(ValidationError):
        adapter.validate_json('[["g1",1]]', strict=True)


@pytest.mark.parametrize(
    ("wire", "inside"),
    [
        ({}, {}),
        ({"output_tokens": 3, "input_tokens": 0}, {"input_tokens": 0, "output_tokens": 3}),
        ({"gpu_seconds": "1.5"}, {"gpu_seconds": 1_500_000}),
        ({"compute_units": "0.000001"}, {"compute_units": 1}),
        ({"requests": QUANTITY_MAX}, {"requests": QUANTITY_MAX}),
        ({"words_of_wisdom": 1}, {"words_of_wisdom": 1}),
        (
            {"requests": 1, "words_of_wisdom": 2, "gpu_seconds": "3", "pages": 4},
            {"gpu_seconds": 3_000_000, "pages": 4, "requests": 1, "words_of_wisdom": 2},
        ),
    ],
)
def test_usage_is_read_with_its_units_in_order(wire: Any, inside: dict[str, int]) -> None:
    """A unit that nobody knows is kept: pricing refuses it by name, and on the record."""
    read = USAGE.validate_python(wire, strict=True)
    assert read == inside
    assert list(read) == sorted(inside)
    assert USAGE.validate_python(quantities_to_wire(read), strict=True) == inside


COUNTS_REFUSED: list[Any] = [-1, 1.0, "1", True, None, QUANTITY_MAX + 1, []]


def test_quantities_are_written_as_short_as_they_can_be() -> None:
    written = quantities_to_wire({"gpu_seconds": 1_500_000, "requests": 2, "compute_units": 0})
    assert written == {"compute_units": "0", "gpu_seconds": "1.5", "requests": 2}
    assert list(written) == sorted(written)


@pytest.mark.parametrize(
    "wire",
    [
        *(None, [], "requests", 1, [["requests", 1]]),
        *({"requests": bad} for bad in COUNTS_REFUSED),
        *({"gpu_seconds": bad} for bad in (1, 1.5, "-1", "0.0000001", "1e3", "NaN", "")),
        {"gpu_seconds": "1000000000.000001"},
        *({unit: 2, "pages": 3} for unit in ("", "Requests", "9lives", "a b", "é", "x" * 65)),
        {f"unit{number}": 1 for number in range(UNITS_MAX + 1)},
    ],
)
def test_usage_in_another_form_is_refused(wire: Any) -> None:
    with pytest.raises(ValidationError):
        USAGE.validate_python(wire, strict=True)
