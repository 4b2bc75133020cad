"""What usage costs, recomputed: the examples of docs/formats/price-book.md, and its arithmetic."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.amounts import format_pico
from tollbook.recompute.prices import Book, ModelPrices, month, quantities
from tollbook.times import parse_instant

PAGE = (Path(__file__).parents[2] / "docs" / "formats" / "price-book.md").read_text("utf-8")


def block(info: str) -> str:
    """Return the fenced block of the page that carries this info string."""
    return PAGE.partition(f"```{info}\n")[2].partition("```")[0]


EXAMPLE = tomllib.loads(block("toml example"))
MODELS = {model["name"]: ModelPrices(model) for model in EXAMPLE["model"]}
GRADUATED = MODELS["gpt4-equivalent"]

tokens = st.integers(0, 3_000_000)
usages = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("input_tokens", "cached_input_tokens", "output_tokens"), tokens)
)
volumes = st.sampled_from([0, 999_999, 1_000_000, 9_999_990, 10_000_000, 99_999_999, 2 * 10**8])


@pytest.mark.parametrize("vector", json.loads(block("json vectors")))
def test_the_vectors_of_the_page_hold(vector: dict[str, Any]) -> None:
    prices, usage = MODELS[vector["model"]], quantities(vector["usage"])
    assert format_pico(prices.charge(usage, vector["volume"])) == vector["charge"]
    assert format_pico(prices.worst(usage, vector["volume"])) == vector["worst"]


@given(usages, volumes)
def test_a_charge_is_the_sum_over_its_tokens_one_by_one_at_each_boundary(
    usage: dict[str, int], volume: int
) -> None:
    """Charging the kinds one after another, each at the volume reached, comes to the same."""
    total, reached = 0, volume
    for unit in ("input_tokens", "cached_input_tokens", "output_tokens"):
        half = usage.get(unit, 0) // 2
        for part in (half, usage.get(unit, 0) - half):
            total += GRADUATED.charge({unit: part}, reached)
            reached += part
    assert GRADUATED.charge(usage, volume) == total


@given(usages, volumes, st.integers(0, 10**9))
def test_the_worst_price_is_never_passed_later(
    usage: dict[str, int], volume: int, later: int
) -> None:
    bounded = {**usage, "output_tokens": min(usage.get("output_tokens", 0), 16384)}
    assert GRADUATED.charge(bounded, volume + later) <= GRADUATED.worst(bounded, volume)


@pytest.mark.parametrize(
    ("time", "zone", "expected"),
    [
        ("2024-02-29T23:59:59.999999Z", "UTC", "2024-02"),
        ("2024-03-01T00:00:00Z", "UTC", "2024-03"),
        ("2024-02-29T14:59:59.999999Z", "Asia/Tokyo", "2024-02"),
        ("2024-02-29T15:00:00Z", "Asia/Tokyo", "2024-03"),
        ("2024-04-01T03:59:59Z", "America/New_York", "2024-03"),
        ("2024-04-01T04:00:00Z", "America/New_York", "2024-04"),
        ("1970-01-01T00:00:00Z", "America/New_York", "1969-12"),
    ],
)
def test_the_month_is_that_of_the_customers_zone(time: str, zone: str, expected: str) -> None:
    assert month(parse_instant(time), zone) == expected


def test_the_versions_in_force_are_found_on_both_sides_of_an_instant() -> None:
    book = Book("USD")
    for time in ("2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"):
        book.publish({"effective_from": time, "models": []})

    def numbers(start: str, end: str) -> list[int]:
        return [each.number for each in book.in_force(parse_instant(start), parse_instant(end))]

    assert numbers("2023-12-31T00:00:00Z", "2023-12-31T23:59:59Z") == []
    assert numbers("2023-12-31T00:00:00Z", "2024-01-01T00:00:00Z") == [1]
    assert numbers("2024-01-31T23:59:59Z", "2024-02-01T00:00:00Z") == [1, 2]
    assert numbers("2024-02-01T00:00:00Z", "2024-02-29T00:00:00Z") == [2]
    assert numbers("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z") == [1, 2, 3]


JANUARY, FEBRUARY, MARCH = ("2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z")
FLAT: dict[str, Any] = {"max_output_tokens": 9, "name": "flat", "prices": {"pages": "1"}}
TIERED: dict[str, Any] = {"name": "tiered", "tiers": [{"input": "1", "output": "2"}]}
NEW: dict[str, Any] = {"name": "new", "prices": {"pages": "1"}}


def version(effective_from: str, *models: dict[str, Any]) -> dict[str, Any]:
    """Return what a published version says."""
    return {"effective_from": effective_from, "models": list(models)}


def january() -> Book:
    """Return a book with one version."""
    book = Book("USD")
    book.publish(version(JANUARY, FLAT, TIERED))
    return book


@pytest.mark.parametrize(
    "models",
    [
        [FLAT, TIERED],
        [TIERED, NEW, FLAT],
        [{**FLAT, "prices": {"images": "3", "pages": "1"}}, TIERED],
        [FLAT, {**TIERED, "prices": {"images": "3"}}],
    ],
)
@pytest.mark.parametrize("now", [FEBRUARY, MARCH])
def test_a_version_that_only_adds_changes_nothing(models: list[dict[str, Any]], now: str) -> None:
    assert january().changed(version(FEBRUARY, *models), parse_instant(now)) is None


@pytest.mark.parametrize(
    ("models", "expected", "found"),
    [
        ([FLAT], TIERED, None),
        ([NEW], FLAT, None),
        *(
            ([changed, TIERED], FLAT, changed)
            for changed in (
                {**FLAT, "prices": {"pages": "1.000001"}},
                {**FLAT, "prices": {"images": "1"}},
                {**FLAT, "max_output_tokens": 10},
                {"name": "flat", "prices": {"pages": "1"}},
            )
        ),
        *(
            ([FLAT, changed], TIERED, changed)
            for changed in (
                {**TIERED, "max_output_tokens": 9},
                {**TIERED, "tiers": [{"cached_input": "1", "input": "1", "output": "2"}]},
                {"name": "tiered", "prices": {"input_tokens": "1", "output_tokens": "2"}},
            )
        ),
    ],
)
def test_a_version_that_changes_the_past_is_told_by_its_model(
    models: list[dict[str, Any]], expected: object, found: object
) -> None:
    data = version(FEBRUARY, *models)
    told = ("models", expected, found)
    assert january().changed(data, parse_instant(FEBRUARY)) == told
    assert january().changed(data, parse_instant(MARCH)) == told
    assert january().changed(data, parse_instant(FEBRUARY) - 1) is None, "it begins later"


def test_a_version_before_an_announced_one_and_at_its_instant() -> None:
    book = january()
    book.publish(version(MARCH, NEW))
    now = parse_instant(JANUARY) + 1
    assert book.changed(version(FEBRUARY, NEW), now) == ("models", FLAT, None)
    assert book.changed(version(FEBRUARY, FLAT, TIERED), now) is None
    found = book.changed(version(MARCH, NEW), now)
    assert found is not None
    assert found.field == "effective_from"
    assert book.changed(version("2023-01-01T00:00:00Z", NEW), now) is None, "nothing was before"


def test_an_added_version_stands_in_its_place_under_its_own_number() -> None:
    book = january()
    book.publish(version(MARCH, NEW))
    book.publish(version(FEBRUARY, FLAT, TIERED, NEW))
    book.publish(version("2023-01-01T00:00:00Z", NEW))
    assert [each.number for each in book.versions] == [4, 1, 3, 2]
    every = book.in_force(parse_instant(JANUARY), parse_instant(MARCH))
    assert [each.number for each in every] == [1, 3, 2]
