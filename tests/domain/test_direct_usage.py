"""Usage without a reservation: where the plan allows it, priced and paid like any other."""

from typing import Any

import pytest

from domain.events import UsageCharged
from tests.domain.account import Account, parts
from tests.domain.examples import (
    ALWAYS,
    DAY,
    EVERYTHING,
    NOON,
    SECOND,
    instant,
    price_book,
    usd,
    version_of,
)


def test_direct_usage_is_charged_from_what_is_available() -> None:
    account = Account()
    account.grant("g", 2)
    charged = account.use({"requests": 3})
    assert (charged.charged, charged.from_balance, charged.receivable) == (usd(3), usd(2), usd(1))
    assert charged.grants == parts(("g", 2))


def test_held_money_does_not_pay_for_direct_usage() -> None:
    account = Account()
    account.grant("g", 5)
    account.reserve("r", requests=4)
    assert account.use({"requests": 3}).receivable == usd(2)
    assert account.view().held == usd(4)


def test_one_record_may_carry_every_unit() -> None:
    account = Account(price_book(version_of(ALWAYS, EVERYTHING)))
    account.grant("g", 10)
    usage = {
        "requests": 1,
        "input_tokens": 374,
        "cached_input_tokens": 1000,
        "output_tokens": 44,
        "gpu_seconds": "0.123456",
        "compute_units": "2.5",
        "pages": 2,
        "images": 1,
    }
    charged = account.use(usage, model="everything")
    assert charged.charged == usd("1.3141097776"), "each unit at its own price, exactly"
    assert charged.volume == 0
    assert account.balance.volume("everything", "2026-03") == 374 + 1000 + 44


def test_a_plan_may_take_usage_on_reservations_only() -> None:
    account = Account(plan="reserved_only")
    account.grant("g", 5)
    parked = account.parking({"requests": 1})
    assert (parked.code, parked.facts) == ("plan_forbids", {"plan": "reserved_only"})
    assert account.reserve("r").held == usd(1)
    assert account.settle("r", {"requests": 1}).charged == usd(1)


OFFSETS = [(0, True), (5 * SECOND, True), (5 * SECOND + 1, False), (-400 * DAY, True)]


@pytest.mark.parametrize(("offset", "good"), OFFSETS)
def test_direct_usage_occurs_before_its_receipt_but_for_clock_skew(offset: int, good: bool) -> None:
    account = Account()
    if good:
        assert account.use({"requests": 1}, occurred_at=NOON + offset).occurred_at == NOON + offset
    else:
        parked = account.parking({"requests": 1}, occurred_at=NOON + offset)
        assert parked.code == "occurred_at_out_of_range"
        assert parked.facts == {
            "latest": "2026-03-10T12:00:05.000000Z",
            "occurred_at": "2026-03-10T12:00:05.000001Z",
        }


def test_usage_before_the_first_price_is_parked_not_given_away() -> None:
    account = Account()
    assert account.parking({"requests": 1}, occurred_at=instant(ALWAYS) - 1).code == "unknown_model"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "unheard-of", "usage": {}}, "unknown_model"),
        ({"usage": {"pages": 1}}, "unknown_unit"),
        ({"usage": {"wishes": 1}}, "unknown_unit"),
    ],
)
def test_what_has_no_price_is_never_charged_as_zero(fields: dict[str, Any], code: str) -> None:
    account = Account()
    assert account.parking(**{"usage": {"requests": 1}, **fields}).code == code
    assert not any(isinstance(fact, UsageCharged) for fact in account.log)


def test_usage_of_nothing_is_charged_with_nothing() -> None:
    assert Account().use({}).charged == 0


def test_late_usage_belongs_to_the_month_in_which_it_occurred() -> None:
    account = Account(time_zone="America/Los_Angeles")
    account.now = instant("2026-04-01T12:00:00Z")
    occurred_at = instant("2026-04-01T06:59:59Z")
    assert account.use({"requests": 1}, occurred_at=occurred_at).period == "2026-03"
    assert account.use({"requests": 1}, occurred_at=occurred_at + SECOND).period == "2026-04"
