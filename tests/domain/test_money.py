"""Rounding half-even, in the one place where money is ever rounded."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import display, minor_digits, round_to_minor
from tests.domain.examples import usd


@pytest.mark.parametrize(
    ("amount", "cents"),
    [
        ("0", 0),
        ("0.005", 0),
        ("0.005000000001", 1),
        ("0.004999999999", 0),
        ("0.015", 2),
        ("0.025", 2),
        ("0.035", 4),
        ("1.999", 200),
        ("-0.005", 0),
        ("-0.005000000001", -1),
        ("-0.015", -2),
        ("-0.025", -2),
    ],
)
def test_a_half_goes_to_the_even_neighbour(amount: str, cents: int) -> None:
    assert round_to_minor(usd(amount), "USD") == cents


@pytest.mark.parametrize(
    ("currency", "digits", "minor"),
    [("USD", 2, 124), ("EUR", 2, 124), ("JPY", 0, 1), ("KWD", 3, 1236)],
)
def test_each_currency_has_its_minor_unit(currency: str, digits: int, minor: int) -> None:
    assert minor_digits(currency) == digits
    assert round_to_minor(usd("1.2355"), currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("1234567.891", "USD", "1,234,567.89 USD"),
        ("-0.5", "USD", "-0.50 USD"),
        ("-0.001", "USD", "0.00 USD"),
        ("0", "USD", "0.00 USD"),
        ("2.5", "JPY", "2 JPY"),
        ("3.5", "JPY", "4 JPY"),
        ("0.0005", "BHD", "0.000 BHD"),
    ],
)
def test_people_see_rounded_money(amount: str, currency: str, shown: str) -> None:
    assert display(usd(amount), currency) == shown


@given(st.integers(-(10**30), 10**30), st.sampled_from(["USD", "JPY", "TND"]))
def test_rounding_is_that_of_exact_fractions(amount: int, currency: str) -> None:
    exact = Fraction(amount, 10**12) * 10 ** minor_digits(currency)
    assert round_to_minor(amount, currency) == round(exact)
