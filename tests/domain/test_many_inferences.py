"""A reservation for several inferences: what it holds, and that each part of it is an inference."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.activity import Activity
from domain.capping import view as caps_of
from domain.commands import Extend, Reserve, parse
from domain.fraud_facts import sighting
from domain.outcomes import Refusal
from domain.reservation import of_all
from domain.units import QUANTITY_MAX, Quantities
from tests.domain.account import Account, reserve_command
from tests.domain.examples import (
    ALWAYS,
    FOUNDING,
    GPT4,
    MINUTE,
    SECOND,
    price_book,
    usd,
    version_of,
)
from tests.domain.licensee import Licensee, admitted, code, limit

SEVERAL: dict[str, Any] = {"inferences": 3}


@pytest.mark.parametrize(
    ("estimate", "inferences", "in_all"),
    [
        ({"pages": 2}, None, {"pages": 2}),
        ({}, None, {}),
        ({"pages": 2}, 3, {"pages": 6, "requests": 3}),
        ({}, 3, {"requests": 3}),
        ({"requests": 4, "pages": 0}, 2, {"pages": 0, "requests": 8}),
        ({"requests": 0}, 5, {"requests": 0}),
    ],
)
def test_several_inferences_count_as_so_many_times_one(
    estimate: Quantities, inferences: int | None, in_all: Quantities
) -> None:
    assert of_all(estimate, inferences) == in_all


@pytest.mark.parametrize(
    ("estimate", "one"),
    [
        ({"input_tokens": 100, "output_tokens": 50}, "0.0025"),
        # Output is bounded inference by inference, not in their sum.
        ({"output_tokens": 10**6}, "0.49152"),
        ({"input_tokens": 100}, "0.49252"),
    ],
)
def test_it_holds_the_worst_price_of_each(estimate: Quantities, one: str) -> None:
    account = Account(price_book(version_of(ALWAYS, FOUNDING)), credit_limit=usd(100))
    alone = account.reserve("alone", model=GPT4, estimate=estimate)
    several = account.reserve("several", model=GPT4, estimate=estimate, inferences=50)
    assert (alone.held, several.held) == (usd(one), 50 * usd(one))
    assert (alone.inferences, several.inferences) == (None, 50)
    assert several.estimate == estimate


def test_money_for_all_but_one_is_not_enough() -> None:
    account = Account()
    account.grant("g", 5)
    refusal = account.refusal(reserve_command("r", requests=2, inferences=3))
    assert (refusal.code, refusal.facts["required"]["amount"]) == (
        "insufficient_balance",
        "6.000000000000",
    )
    account.grant("h", 1)
    assert account.reserve("s", requests=2, inferences=3).held == usd(6)


@pytest.mark.parametrize(
    ("unit", "estimate", "asked"),
    [("requests", {}, 3), ("requests", {"requests": 2}, 6), ("pages", {"pages": 4}, 12)],
)
def test_limits_and_caps_see_all_of_them(unit: str, estimate: Quantities, asked: int) -> None:
    acme = Licensee()
    acme.issue(limits=limit(asked, "day", unit))
    acme.cap({"id": "c", "unit": unit, "limit": asked, "calendar": "day"})
    admitted(acme.hold("r", estimate, **SEVERAL))
    assert acme.used() == asked
    assert caps_of(acme.balance, acme.now)[0]["held"] == asked
    assert code(acme.hold("s", {unit: 1})) == "license_limit_reached"
    acme.release("r")
    assert (acme.used(), caps_of(acme.balance, acme.now)[0]["held"]) == (0, 0)


def test_a_refusal_has_the_figures_of_all_of_them() -> None:
    acme = Licensee()
    acme.issue(limits=limit(2, "day"))
    refusal = acme.hold("r", **SEVERAL)
    assert isinstance(refusal, Refusal)
    assert (refusal.facts["allowed"], refusal.facts["requested"]) == (2, 3)
    acme.cap({"id": "c", "unit": "pages", "limit": 11, "calendar": "day"})
    body = reserve_command("s", model="everything", estimate={"pages": 4}, **SEVERAL)
    capped = acme.refusal(body)
    assert (capped.code, capped.facts["requested"]) == ("usage_capped", 12)


USES: list[tuple[list[tuple[str, Quantities]], dict[str, tuple[int, int, int]]]] = [
    # What happens to three inferences of 4 pages each, and then of each unit
    # what limits count, what caps count as used, and what they count as held.
    ([], {"requests": (3, 0, 3), "pages": (12, 0, 12)}),
    ([("part", {"pages": 4})], {"requests": (3, 1, 2), "pages": (12, 4, 8)}),
    ([("part", {"pages": 1})], {"requests": (3, 1, 2), "pages": (9, 1, 8)}),
    ([("part", {"pages": 6})], {"requests": (3, 1, 2), "pages": (14, 6, 8)}),
    ([("part", {"requests": 2})], {"requests": (4, 2, 2), "pages": (8, 0, 8)}),
    ([("part", {"requests": 0})], {"requests": (2, 0, 2), "pages": (8, 0, 8)}),
    ([("part", {"pages": 1}), ("release", {})], {"requests": (1, 1, 0), "pages": (1, 1, 0)}),
    ([("part", {"pages": 9}), ("expire", {})], {"requests": (1, 1, 0), "pages": (9, 9, 0)}),
    ([("part", {}), ("settle", {"pages": 2})], {"requests": (2, 2, 0), "pages": (2, 2, 0)}),
    ([("part", {"pages": 4})] * 3, {"requests": (3, 3, 0), "pages": (12, 12, 0)}),
    ([("part", {"pages": 4})] * 4, {"requests": (4, 4, 0), "pages": (16, 16, 0)}),
    ([("expire", {}), ("part", {"pages": 4})], {"requests": (1, 1, 0), "pages": (4, 4, 0)}),
]


def happen(acme: Licensee, what: str, usage: Quantities) -> None:
    """Let something happen to the reservation `r`."""
    if what == "expire":
        acme.now += 5 * MINUTE
        acme.change()
    elif what == "release":
        acme.release("r")
    else:
        acme.settle("r", usage, final=what == "settle")


@pytest.mark.parametrize(("what", "wanted"), USES)
def test_a_part_takes_the_place_of_one_of_them(
    what: list[tuple[str, Quantities]], wanted: dict[str, tuple[int, int, int]]
) -> None:
    acme = Licensee()
    acme.issue(
        limits=[{"id": unit, "unit": unit, "limit": 100, "per": "day"} for unit in wanted],
    )
    acme.cap(*({"id": unit, "unit": unit, "limit": 100, "calendar": "day"} for unit in wanted))
    admitted(acme.hold("r", {"pages": 4}, **SEVERAL))
    for kind, usage in what:
        happen(acme, kind, usage)
    caps = {cap["id"]: (cap["used"], cap["held"]) for cap in caps_of(acme.balance, acme.now)}
    assert {unit: (acme.used(unit), *caps[unit]) for unit in wanted} == wanted


def requests_in(activity: Activity) -> int:
    """Return how many requests the fraud rule knows of."""
    return activity.in_minutes + activity.in_windows


@pytest.mark.parametrize(
    ("fields", "usage", "final", "requests", "marked"),
    [
        (SEVERAL, {}, False, 1, True),
        (SEVERAL, {"requests": 4}, False, 4, True),
        (SEVERAL, {"requests": 0}, False, 0, True),
        (SEVERAL, {}, True, 1, None),
        ({}, {}, False, 0, None),
        ({}, {}, True, 1, None),
    ],
)
def test_the_fraud_rule_and_the_habit_count_a_part_as_an_inference(
    fields: dict[str, Any], usage: Quantities, final: bool, requests: int, marked: bool | None
) -> None:
    account = Account()
    account.grant("g", 100)
    account.reserve("r", **fields)
    fact = account.settle("r", usage, final=final)
    seen = sighting(fact, account.now)
    assert seen is not None
    assert (fact.inference, seen.requests) == (marked, requests)
    assert requests_in(account.balance.activity) == requests


def test_what_one_did_not_use_is_held_for_the_others_until_the_release() -> None:
    account = Account()
    account.grant("g", 10)
    account.reserve("r", requests=2, inferences=3)
    assert account.settle("r", {"requests": 1}, final=False).released == 0
    assert (account.view().held, account.view().available) == (usd(5), usd(4))
    assert account.release("r").released == usd(5)
    assert account.view().available == usd(9)


def test_a_final_settlement_is_the_last_of_them() -> None:
    account = Account()
    account.grant("g", 10)
    account.reserve("r", inferences=3)
    account.settle("r", {"requests": 1}, final=False)
    settled = account.settle("r", {"requests": 1})
    assert (settled.charged, settled.released) == (usd(1), usd(1))
    assert account.view().available == usd(8)


def test_it_is_not_extended() -> None:
    account = Account()
    account.grant("g", 10)
    account.reserve("r", inferences=3)
    with pytest.raises(Invalid, match="one for a single inference"):
        account.run(Extend(id="e", reservation="r", ttl_seconds=600))
    account.now += 400 * SECOND
    with pytest.raises(Invalid, match="one for a single inference"):
        account.run(Extend(id="e", reservation="r", ttl_seconds=600))
    account.release("r")
    refusal = account.refusal(Extend(id="e", reservation="r", ttl_seconds=600))
    assert refusal.code == "already_released"


WHOLE = {"id": "r", "customer": "acme", "model": "m"}


@pytest.mark.parametrize(
    ("estimate", "inferences"),
    [
        ({"requests": QUANTITY_MAX // 2}, 2),
        ({"input_tokens": QUANTITY_MAX // 10_000}, 10_000),
        ({}, 2),
        ({}, 10_000),
        ({"requests": QUANTITY_MAX}, None),
    ],
)
def test_as_many_are_accepted_as_can_be_counted(
    estimate: Quantities, inferences: int | None
) -> None:
    command = parse("reserve", {**WHOLE, "estimate": estimate, "inferences": inferences})
    assert isinstance(command, Reserve)
    assert command.inferences == inferences


@pytest.mark.parametrize(
    ("estimate", "inferences", "rule"),
    [
        ({"requests": QUANTITY_MAX // 2 + 1}, 2, "so few that requests is"),
        ({"gpu_seconds": "100001"}, 10_000, "so few that gpu_seconds is"),
        ({}, 1, "greater than or equal to 2"),
        ({}, 0, "greater than or equal to 2"),
        ({}, -3, "greater than or equal to 2"),
        ({}, 10_001, "less than or equal to 10000"),
        ({}, 10**400, "less than or equal to 10000"),
        ({}, True, "valid integer"),
        ({}, "3", "valid integer"),
        ({}, 2.0, "valid integer"),
    ],
)
def test_a_number_of_inferences_that_is_none_is_refused_by_name(
    estimate: dict[str, Any], inferences: object, rule: str
) -> None:
    with pytest.raises(Invalid, match=rule) as refused:
        parse("reserve", {**WHOLE, "estimate": estimate, "inferences": inferences})
    assert refused.value.facts["field"] == "inferences"
