"""What the lint of price books remarks on, and what it lets pass."""

from typing import Any

import pytest

from domain.pricebook_file import check
from domain.pricebook_format import PriceBookBody
from domain.pricebook_lint import remarks, typical_cost
from tests.domain.examples import ALWAYS, EVERYTHING, FOUNDING, version_of

FLAT = {"input_tokens": "1", "cached_input_tokens": "0.1", "output_tokens": "3"}


def book(**model: Any) -> PriceBookBody:
    """Return a book with one model of these fields."""
    return check(version_of(ALWAYS, {"name": "m", **model}))


def tiers(*prices: tuple[str, str]) -> list[dict[str, Any]]:
    """Return tiers with these prices for input and output, a thousand tokens apart."""
    made: list[dict[str, Any]] = [
        {"up_to": 1000 * number, "input": input_price, "output": output_price}
        for number, (input_price, output_price) in enumerate(prices, 1)
    ]
    del made[-1]["up_to"]
    return made


@pytest.mark.parametrize(
    "fields",
    [
        {"prices": FLAT, "max_output_tokens": 10},
        {"tiers": tiers(("2", "4"), ("2", "3"), ("1", "3")), "max_output_tokens": 10},
        {"prices": {"input_tokens": "0.1"}},
        {"prices": {"pages": "0.01", "gpu_seconds": "0"}},
    ],
)
def test_a_usual_book_draws_no_remark(fields: dict[str, Any]) -> None:
    assert remarks(book(**fields)) == ()


@pytest.mark.parametrize(
    ("fields", "code", "place"),
    [
        ({"tiers": tiers(("2", "4"), ("1", "5")), "max_output_tokens": 9}, "rising_price",
         "tiers.1"),
        ({"prices": FLAT}, "no_max_output_tokens", ""),
        ({"tiers": tiers(("2", "4"))}, "no_max_output_tokens", ""),
        ({"prices": {"output_tokens": "1", "cached_input_tokens": "1"}, "max_output_tokens": 9},
         "unit_without_price", "prices"),
        ({"prices": {"output_tokens": "1", "input_tokens": "1"}, "max_output_tokens": 9},
         "unit_without_price", "prices"),
        ({"prices": {**FLAT, "input_tokens": "0.00001", "cached_input_tokens": "0.00001"},
          "max_output_tokens": 9}, "price_per_token", "prices.input_tokens"),
        ({"prices": {**FLAT, "output_tokens": "0"}, "max_output_tokens": 9}, "free",
         "prices.output_tokens"),
        ({"prices": {**FLAT, "cached_input_tokens": "1.1"}, "max_output_tokens": 9},
         "cached_above_input", "prices.cached_input_tokens"),
        ({"tiers": [{"input": "1", "output": "1", "cached_input": "2"}], "max_output_tokens": 9},
         "cached_above_input", "tiers.0.cached_input"),
    ],
)  # fmt: skip
def test_a_suspicious_book_draws_a_remark(fields: dict[str, Any], code: str, place: str) -> None:
    found = remarks(book(**fields))
    wanted = f"models.0.{place}".rstrip(".")
    assert (wanted, code) in [(each.field, each.code) for each in found]
    assert {each.code for each in found} == {code}


def test_a_thousand_typical_tokens_are_800_of_input_and_200_of_output() -> None:
    typical = typical_cost(book(prices=FLAT).models[0])
    assert typical is not None
    # 800 at 1 and 200 at 3 per million: 0.0014.
    assert (typical.first, typical.last) == (1_400_000_000, 1_400_000_000)


def test_the_last_tier_is_priced_as_well() -> None:
    typical = typical_cost(check(version_of(ALWAYS, FOUNDING)).models[0])
    assert typical is not None
    # 800 at 10 and 200 at 30 per million, and 800 at 5 and 200 at 15.
    assert (typical.first, typical.last) == (14 * 10**9, 7 * 10**9)


def test_a_model_without_output_is_priced_by_its_input_alone_and_pages_not_at_all() -> None:
    typical = typical_cost(book(prices={"input_tokens": "2"}).models[0])
    assert typical is not None
    assert (typical.usage, typical.first) == ({"input_tokens": 1000}, 2 * 10**9)
    assert typical_cost(book(prices={"pages": "1"}).models[0]) is None
    assert typical_cost(check(version_of(ALWAYS, EVERYTHING)).models[0]) is not None
