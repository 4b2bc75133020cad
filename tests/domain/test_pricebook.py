"""Versions of a price book: which one is in force, and that the past is never repriced (A2)."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.events import PricesPublished
from domain.pricebook import PriceBook, decide_publish, evolve
from tests.domain.examples import (
    ALWAYS,
    EVERYTHING,
    GPT4,
    REQUEST,
    instant,
    price_book,
    publication,
    version_of,
)

SPRING = "2026-03-01T00:00:00Z"
SUMMER = "2026-06-01T00:00:00Z"
DEARER: dict[str, Any] = {**REQUEST, "prices": {"requests": "2"}}
BOOK = price_book(
    version_of(ALWAYS, REQUEST), version_of(SPRING, REQUEST), version_of(SUMMER, REQUEST)
)


@pytest.mark.parametrize(
    ("when", "offset", "version"),
    [
        (ALWAYS, -1, None),
        (ALWAYS, 0, 1),
        (SPRING, -1, 1),
        (SPRING, 0, 2),
        (SPRING, 1, 2),
        (SUMMER, -1, 2),
        (SUMMER, 0, 3),
        ("9999-12-31T23:59:59.999999Z", 0, 3),
    ],
)
def test_a_version_is_in_force_from_its_very_instant(
    when: str, offset: int, version: int | None
) -> None:
    found = BOOK.in_force(instant(when) + offset)
    assert (found.version if found else None) == version


@pytest.mark.parametrize(
    ("start", "end", "versions"),
    [
        (instant(SPRING), instant(SPRING), [2]),
        (instant(SPRING) - 1, instant(SPRING) - 1, [1]),
        (instant(SPRING) - 1, instant(SPRING), [1, 2]),
        (instant(SPRING) - 1, instant(SUMMER), [1, 2, 3]),
        (instant(SPRING), instant(SUMMER) - 1, [2]),
        (instant(SUMMER), instant(SUMMER) + 1, [3]),
        (instant(ALWAYS) - 2, instant(ALWAYS) - 1, []),
        (instant(ALWAYS) - 1, instant(ALWAYS), [1]),
    ],
)
def test_every_version_in_force_during_an_interval_is_found(
    start: int, end: int, versions: list[int]
) -> None:
    assert [each.version for each in BOOK.in_force_between(start, end)] == versions


def test_a_book_without_versions_has_nothing_in_force() -> None:
    assert PriceBook("empty").in_force(0) is None
    assert PriceBook("empty").in_force_between(0, 10) == ()


def test_a_first_version_may_take_effect_in_the_past() -> None:
    (event,) = decide_publish(
        PriceBook("default"), publication(version_of(ALWAYS, REQUEST)), 10**15
    )
    assert isinstance(event, PricesPublished)
    assert event.version == 1


def test_versions_are_numbered_from_one_in_order() -> None:
    assert [each.version for each in BOOK.versions] == [1, 2, 3]
    assert BOOK.currency == "USD"


@pytest.mark.parametrize(
    ("now", "effective_from", "accepted"),
    [
        (SPRING, SPRING, False),
        (SPRING, "2026-03-01T00:00:00.000001Z", True),
        (ALWAYS, SPRING, True),
        (SUMMER, SPRING, False),
    ],
)
def test_a_later_version_with_other_prices_takes_effect_in_the_future(
    now: str, effective_from: str, accepted: bool
) -> None:
    command = publication(version_of(effective_from, DEARER))
    book = price_book(version_of(ALWAYS, REQUEST))
    if accepted:
        (event,) = decide_publish(book, command, instant(now))
        assert evolve(book, event).in_force(instant(effective_from) - 1) == book.versions[0]
    else:
        with pytest.raises(Invalid, match="do not change") as refused:
            decide_publish(book, command, instant(now))
        assert refused.value.facts["field"] == "models.0.prices.requests"
        assert "for model per-request in version 1" in refused.value.message
        assert f"others take effect after {now[:19]}" in refused.value.message


@pytest.mark.parametrize("model", [REQUEST, DEARER])
@pytest.mark.parametrize("now", [ALWAYS, SUMMER])
def test_an_instant_has_one_version(now: str, model: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="do not change") as refused:
        decide_publish(
            price_book(version_of(ALWAYS, REQUEST)),
            publication(version_of(ALWAYS, model)),
            instant(now),
        )
    assert refused.value.facts["field"] == "effective_from"


def test_a_version_before_one_that_is_announced_changes_no_price() -> None:
    book = price_book(version_of(ALWAYS, REQUEST), version_of(SUMMER, DEARER))
    now = instant(ALWAYS) + 1
    with pytest.raises(Invalid, match="do not change"):
        decide_publish(book, publication(version_of(SPRING, DEARER)), now)
    book = added(book, SPRING, REQUEST, EVERYTHING, now=SUMMER)
    assert [each.version for each in book.versions] == [1, 3, 2]


def added(book: PriceBook, effective_from: str, *models: dict[str, Any], now: str) -> PriceBook:
    """Return a book after a publication at a time."""
    command = publication(version_of(effective_from, *models))
    (event,) = decide_publish(book, command, instant(now))
    return evolve(book, event)


BOUND = {"max_output_tokens": 100}
TOKENS: dict[str, Any] = {
    "name": "tokens",
    "prices": {"input_tokens": "1", "output_tokens": "2"},
    **BOUND,
}
TIERS: list[dict[str, Any]] = [
    {"up_to": 10, "input": "3", "output": "3"},
    {"input": "2", "output": "2"},
]
TIERED: dict[str, Any] = {"name": "tiered", "tiers": TIERS, "prices": {"pages": "1"}}
ONLY_TIERS: dict[str, Any] = {"name": "tiers", "tiers": TIERS}
KEPT = [TOKENS, TIERED, ONLY_TIERS]


@pytest.mark.parametrize(
    "models",
    [
        KEPT,
        [ONLY_TIERS, TIERED, TOKENS],
        [*KEPT, REQUEST],
        [EVERYTHING, *KEPT, REQUEST],
        [{**TOKENS, "prices": {**TOKENS["prices"], "requests": "5"}}, TIERED, ONLY_TIERS],
        [TOKENS, {**TIERED, "prices": {"pages": "1.0", "images": "0"}}, ONLY_TIERS],
        [TOKENS, TIERED, {**ONLY_TIERS, "prices": {"requests": "1"}}],
        [TOKENS, {**TIERED, "pricing": "graduated"}, ONLY_TIERS],
    ],
)
@pytest.mark.parametrize("effective_from", [SPRING, SUMMER])
def test_a_version_that_only_adds_may_begin_in_the_past(
    models: list[dict[str, Any]], effective_from: str
) -> None:
    before = price_book(version_of(ALWAYS, *KEPT))
    after = added(before, effective_from, *models, now=SUMMER)
    at = instant(effective_from)
    assert after.in_force(at - 1) == before.versions[0]
    found = after.in_force(at)
    assert found is not None
    assert (found.version, set(found.models)) == (2, {model["name"] for model in models})


@pytest.mark.parametrize(
    ("models", "field"),
    [
        ([TOKENS, TIERED], "models"),
        ([REQUEST, TIERED, ONLY_TIERS], "models"),
        ([{**TOKENS, "prices": {"input_tokens": "1"}}, TIERED, ONLY_TIERS],
         "models.0.prices.output_tokens"),
        ([{**TOKENS, "prices": {"input_tokens": "1", "output_tokens": "2.000001"}}, TIERED,
          ONLY_TIERS], "models.0.prices.output_tokens"),
        ([{**TOKENS, "prices": {"input_tokens": "0", "output_tokens": "2"}}, TIERED, ONLY_TIERS],
         "models.0.prices.input_tokens"),
        ([{**TOKENS, "max_output_tokens": 99}, TIERED, ONLY_TIERS], "models.0.max_output_tokens"),
        ([{**TOKENS, "max_output_tokens": 101}, TIERED, ONLY_TIERS], "models.0.max_output_tokens"),
        ([{**TOKENS, "max_output_tokens": None}, TIERED, ONLY_TIERS], "models.0.max_output_tokens"),
        ([ONLY_TIERS, {**TIERED, **BOUND}, TOKENS], "models.1.max_output_tokens"),
        ([{"name": "tokens", "tiers": TIERS, **BOUND}, TIERED, ONLY_TIERS],
         "models.0.prices.input_tokens"),
        ([TOKENS, TIERED, {**ONLY_TIERS, "tiers": TIERS[1:]}], "models.2.tiers"),
        ([TOKENS, TIERED, {**ONLY_TIERS, "tiers": [{**TIERS[0], "up_to": 11}, TIERS[1]]}],
         "models.2.tiers"),
        ([TOKENS, TIERED, {**ONLY_TIERS, "tiers": [{**TIERS[0], "cached_input": "3"}, TIERS[1]]}],
         "models.2.tiers"),
        ([TOKENS, TIERED, {"name": "tiers", "prices": {"input_tokens": "3"}}], "models.2.tiers"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("effective_from", [SPRING, SUMMER])
def test_a_version_in_the_past_that_takes_or_changes_a_price_is_refused(
    models: list[dict[str, Any]], field: str, effective_from: str
) -> None:
    before = price_book(version_of(ALWAYS, *KEPT))
    with pytest.raises(Invalid, match=r"in version 1: prices already in force do not") as refused:
        added(before, effective_from, *models, now=SUMMER)
    assert refused.value.facts["field"] == field
    assert any(f"for model {model['name']} in" in refused.value.message for model in KEPT)


def test_before_the_first_version_anything_may_be_added() -> None:
    book = added(price_book(version_of(SPRING, REQUEST)), ALWAYS, DEARER, TOKENS, now=SUMMER)
    assert [(each.version, list(each.models)) for each in book.versions] == [
        (2, ["per-request", "tokens"]),
        (1, ["per-request"]),
    ]


def test_what_is_added_holds_until_the_next_version_and_no_longer() -> None:
    book = price_book(version_of(ALWAYS, REQUEST), version_of(SUMMER, DEARER))
    book = added(book, SPRING, REQUEST, TOKENS, now="2026-07-01T00:00:00Z")
    found = [book.in_force(instant(when) + at) for when in (SPRING, SUMMER) for at in (-1, 0)]
    assert [each and list(each.models) for each in found] == [
        ["per-request"],
        ["per-request", "tokens"],
        ["per-request", "tokens"],
        ["per-request"],
    ]


def test_each_addition_is_held_against_what_earlier_additions_have_priced() -> None:
    book = added(price_book(version_of(ALWAYS, REQUEST)), SPRING, REQUEST, TOKENS, now=SUMMER)
    other = {**TOKENS, "prices": {"input_tokens": "9"}}
    after = instant(SPRING) + 1
    with pytest.raises(Invalid, match="for model tokens in version 2"):
        decide_publish(
            book,
            publication(version_of("2026-03-01T00:00:00.000001Z", REQUEST, other)),
            instant(SUMMER),
        )
    book = added(book, "2026-02-01T00:00:00Z", REQUEST, other, now=SUMMER)
    assert [each.version for each in book.in_force_between(instant(ALWAYS), after)] == [1, 3, 2]


def test_a_book_keeps_its_currency() -> None:
    body: dict[str, Any] = {**version_of(SUMMER, REQUEST), "currency": "EUR"}
    with pytest.raises(Invalid, match="the book's currency USD") as refused:
        decide_publish(price_book(version_of(ALWAYS, REQUEST)), publication(body), 0)
    assert refused.value.facts["field"] == "currency"


def test_a_model_may_leave_a_book() -> None:
    book = price_book(version_of(ALWAYS, REQUEST), version_of(SUMMER, {**REQUEST, "name": GPT4}))
    assert [list(each.models) for each in book.versions] == [["per-request"], [GPT4]]
