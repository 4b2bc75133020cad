"""Versions of a price book: which one is in force, and that the past is never repriced (A2)."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.events import PricesPublished
from domain.pricebook import PriceBook, decide_publish, evolve
from tests.domain.examples import (
    ALWAYS,
    GPT4,
    REQUEST,
    instant,
    price_book,
    publication,
    version_of,
)

SPRING = "2026-03-01T00:00:00Z"
SUMMER = "2026-06-01T00:00:00Z"
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
        (ALWAYS, ALWAYS, False),
    ],
)
def test_a_later_version_takes_effect_in_the_future(
    now: str, effective_from: str, accepted: bool
) -> None:
    command = publication(version_of(effective_from, REQUEST))
    book = price_book(version_of(ALWAYS, REQUEST))
    if accepted:
        (event,) = decide_publish(book, command, instant(now))
        assert evolve(book, event).in_force(instant(effective_from) - 1) == book.versions[0]
    else:
        with pytest.raises(Invalid, match="do not change") as refused:
            decide_publish(book, command, instant(now))
        assert refused.value.facts["field"] == "effective_from"


def test_a_version_never_goes_before_one_that_is_announced() -> None:
    book = price_book(version_of(ALWAYS, REQUEST), version_of(SUMMER, REQUEST))
    with pytest.raises(Invalid, match="do not change"):
        decide_publish(book, publication(version_of(SPRING, REQUEST)), instant(ALWAYS) + 1)


def test_a_book_keeps_its_currency() -> None:
    body: dict[str, Any] = {**version_of(SUMMER, REQUEST), "currency": "EUR"}
    with pytest.raises(Invalid, match="the book's currency USD") as refused:
        decide_publish(price_book(version_of(ALWAYS, REQUEST)), publication(body), 0)
    assert refused.value.facts["field"] == "currency"


def test_a_model_may_leave_a_book() -> None:
    book = price_book(version_of(ALWAYS, REQUEST), version_of(SUMMER, {**REQUEST, "name": GPT4}))
    assert [list(each.models) for each in book.versions] == [["per-request"], [GPT4]]
