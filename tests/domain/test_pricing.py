"""What usage costs: flat units, graduated tokens on both sides of each boundary, worst prices."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.pricing import capped, charge, tier_index, token_volume, unpriced_unit, worst
from tests.domain.examples import EVERYTHING, FOUNDING, compiled, usd

FLAT = compiled(EVERYTHING)
GRADUATED = compiled(FOUNDING)
MILLION = 1_000_000

TOKEN = 10**6
"""What one token costs at a price of 1 per million, in 10^-12."""


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        ({}, "0"),
        ({"requests": 3}, "0.006"),
        ({"input_tokens": 1}, "0.000003"),
        ({"cached_input_tokens": 7}, "0.0000021"),
        ({"output_tokens": 1000}, "0.015"),
        ({"pages": 2, "images": 5}, "0.22"),
        ({"gpu_seconds": 1}, "0.000000000225"),
        ({"gpu_seconds": 1_500_000}, "0.0003375"),
        ({"compute_units": 333_333}, "0.1666665"),
        ({"input_tokens": 374, "output_tokens": 44, "requests": 1}, "0.003782"),
        (
            {
                "requests": 1,
                "input_tokens": 10,
                "cached_input_tokens": 10,
                "output_tokens": 10,
                "pages": 1,
                "images": 1,
                "gpu_seconds": 1_000_000,
                "compute_units": 1_000_000,
            },
            "0.552408",
        ),
    ],
)
def test_one_record_may_carry_any_units_each_at_its_own_price(
    usage: dict[str, int], price: str
) -> None:
    assert charge(FLAT, usage, 0) == usd(price)
    assert charge(FLAT, usage, 10**12) == usd(price), "a flat price knows no volume"


@pytest.mark.parametrize(
    ("volume", "input_price", "output_price"),
    [
        (0, 10, 30),
        (999_999, 10, 30),
        (1_000_000, 8, 24),
        (9_999_999, 8, 24),
        (10_000_000, 6, 18),
        (99_999_999, 6, 18),
        (100_000_000, 5, 15),
        (10**15, 5, 15),
    ],
)
def test_the_next_token_costs_the_price_of_the_tier_it_falls_in(
    volume: int, input_price: int, output_price: int
) -> None:
    """`up_to` is cumulative and inclusive: the millionth token is still in the first tier."""
    assert charge(GRADUATED, {"input_tokens": 1}, volume) == input_price * TOKEN
    assert charge(GRADUATED, {"cached_input_tokens": 1}, volume) == input_price * TOKEN
    assert charge(GRADUATED, {"output_tokens": 1}, volume) == output_price * TOKEN


STRADDLING: list[tuple[int, dict[str, int], str]] = [
    (999_999, {"input_tokens": 2}, "0.000018"),
    (999_999, {"output_tokens": 2}, "0.000054"),
    (999_999, {"input_tokens": 1, "output_tokens": 1}, "0.000034"),
    (999_998, {"input_tokens": 1, "output_tokens": 2}, "0.000064"),
    (0, {"input_tokens": MILLION}, "10"),
    (0, {"input_tokens": MILLION, "output_tokens": 1}, "10.000024"),
    (0, {"input_tokens": MILLION + 1}, "10.000008"),
    (9_999_999, {"input_tokens": 1, "output_tokens": 1}, "0.000026"),
    (99_999_999, {"input_tokens": 1, "output_tokens": 1}, "0.000021"),
    (500_000, {"input_tokens": 10 * MILLION}, "80"),
    (0, {"input_tokens": 20 * MILLION, "output_tokens": 100 * MILLION}, "1882"),
    (0, {"output_tokens": 200 * MILLION}, "3366"),
]


@pytest.mark.parametrize(("volume", "usage", "price"), STRADDLING)
def test_one_inference_may_straddle_boundaries(
    volume: int, usage: dict[str, int], price: str
) -> None:
    assert charge(GRADUATED, usage, volume) == usd(price)


def test_tokens_are_consumed_as_input_then_cached_input_then_output() -> None:
    """Three tokens reach one boundary each, so every order gives another price."""
    prices = compiled(
        {
            "name": "m",
            "tiers": [
                {"up_to": 1, "input": 1, "cached_input": 100, "output": 10_000},
                {"up_to": 2, "input": 2, "cached_input": 200, "output": 20_000},
                {"input": 3, "cached_input": 300, "output": 30_000},
            ],
        }
    )
    usage = {"output_tokens": 1, "cached_input_tokens": 1, "input_tokens": 1}
    assert charge(prices, usage, 0) == (1 + 200 + 30_000) * TOKEN
    assert charge(prices, usage, 1) == (2 + 300 + 30_000) * TOKEN


def test_tiers_and_flat_units_stand_in_one_model() -> None:
    model = {**FOUNDING, "prices": {"requests": "0.002", "gpu_seconds": "1"}}
    usage = {"requests": 1, "gpu_seconds": 500_000, "input_tokens": 2}
    assert charge(compiled(model), usage, 999_999) == usd("0.502018")


@pytest.mark.parametrize(
    ("usage", "unit"),
    [
        ({}, None),
        ({"input_tokens": 1, "output_tokens": 1, "cached_input_tokens": 1}, None),
        ({"pages": 0}, None),
        ({"pages": 1}, "pages"),
        ({"input_tokens": 1, "images": 2}, "images"),
        ({"thoughts": 1}, "thoughts"),
        ({"thoughts": 0}, None),
    ],
)
def test_only_a_unit_that_is_used_needs_a_price(usage: dict[str, int], unit: str | None) -> None:
    assert unpriced_unit(GRADUATED, usage) == unit


def test_a_flat_model_prices_only_the_tokens_it_names() -> None:
    prices = compiled({"name": "m", "prices": {"output_tokens": 1}})
    assert unpriced_unit(prices, {"input_tokens": 1}) == "input_tokens"
    assert unpriced_unit(prices, {"cached_input_tokens": 1}) == "cached_input_tokens"
    assert unpriced_unit(prices, {"output_tokens": 1}) is None


def test_the_volume_counts_all_three_kinds_of_tokens_and_nothing_else() -> None:
    usage = {"input_tokens": 1, "cached_input_tokens": 10, "output_tokens": 100, "requests": 7}
    assert token_volume(usage) == 111


@pytest.mark.parametrize(
    ("estimate", "bounded"),
    [
        ({"input_tokens": 9}, {"input_tokens": 9, "output_tokens": 16_384}),
        ({"output_tokens": 16_383}, {"output_tokens": 16_383}),
        ({"output_tokens": 16_384}, {"output_tokens": 16_384}),
        ({"output_tokens": 16_385}, {"output_tokens": 16_384}),
        ({"output_tokens": 0}, {"output_tokens": 0}),
        ({}, {"output_tokens": 16_384}),
    ],
)
def test_output_is_bounded_by_what_the_model_can_produce(
    estimate: dict[str, int], bounded: dict[str, int]
) -> None:
    assert capped(GRADUATED, estimate) == bounded


def test_a_cap_on_output_that_costs_nothing_adds_none() -> None:
    prices = compiled({"name": "m", "prices": {"pages": 1}, "max_output_tokens": 5})
    assert capped(prices, {"pages": 1}) == {"pages": 1}


def test_without_a_cap_an_estimate_stays_as_it_is() -> None:
    assert capped(FLAT, {"input_tokens": 1}) == {"input_tokens": 1}


DEARER_LATER: dict[str, Any] = {
    "name": "m",
    "tiers": [
        {"up_to": 10, "input": 3, "output": 5},
        {"up_to": 20, "input": 7, "output": 2},
        {"input": 1, "output": 4},
    ],
}


@pytest.mark.parametrize(
    ("volume", "price"),
    [(0, 7 + 5), (9, 7 + 5), (10, 7 + 4), (19, 7 + 4), (20, 1 + 4)],
)
def test_the_worst_price_looks_at_every_tier_that_can_still_come(volume: int, price: int) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1}
    assert worst(compiled(DEARER_LATER), usage, volume) == price * TOKEN


@given(
    st.integers(0, 40),
    st.fixed_dictionaries(
        {unit: st.integers(0, 25) for unit in ("input_tokens", "cached_input_tokens")}
    ),
    st.integers(0, 25),
)
def test_a_charge_is_the_sum_over_single_tokens(
    volume: int, read: dict[str, int], output: int
) -> None:
    prices = compiled(DEARER_LATER)
    total = 0
    reached = volume
    for unit, units in {**read, "output_tokens": output}.items():
        for _ in range(units):
            tier = next(t for t in prices.tiers if t.up_to is None or reached < t.up_to)
            total += getattr(tier, unit)
            reached += 1
    assert charge(prices, {**read, "output_tokens": output}, volume) == total


def test_the_founding_code_was_wrong_in_two_ways() -> None:
    """It read `up_to` as a width and charged the price of input for output."""
    assert charge(GRADUATED, {"output_tokens": 1}, 10_500_000) == 18 * TOKEN
    assert tier_index(GRADUATED.tiers, 10_500_000) == 2
