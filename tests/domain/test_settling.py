"""Charging what was used: below, at and above the hold, in parts, late, and exactly (A2, A10)."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.commands import Settle
from domain.events import ReservationSettled
from domain.settling import TOLERANCE
from tests.domain.account import Account, parts
from tests.domain.examples import (
    ALWAYS,
    DAY,
    FOUNDING,
    GPT4,
    NOON,
    SECOND,
    instant,
    price_book,
    usd,
    version_of,
)


def holding(requests: int = 4, money: int = 10, **terms: Any) -> Account:
    """Return an account with one hold `r`."""
    account = Account(**terms)
    account.grant("g", money)
    account.reserve("r", requests=requests)
    return account


def outcome(settled: ReservationSettled) -> tuple[int, int, int, int]:
    """Return charged, from_balance, receivable, released."""
    return settled.charged, settled.from_balance, settled.receivable, settled.released


@pytest.mark.parametrize(
    ("used", "charged", "from_balance", "receivable", "released"),
    [
        (0, 0, 0, 0, 4),
        (3, 3, 3, 0, 1),
        (4, 4, 4, 0, 0),
        (5, 5, 5, 0, 0),
        (10, 10, 10, 0, 0),
        (11, 11, 10, 1, 0),
        (1000, 1000, 10, 990, 0),
    ],
)
def test_below_the_hold_the_rest_goes_back_and_above_it_what_is_available_is_taken(
    used: int, charged: int, from_balance: int, receivable: int, released: int
) -> None:
    """The hold is 4 of 10 USD."""
    account = holding()
    settled = account.settle("r", {"requests": used})
    assert outcome(settled) == tuple(map(usd, (charged, from_balance, receivable, released)))
    assert account.view().available == usd(10 - from_balance)
    assert (account.view().held, account.view().receivable) == (0, usd(receivable))


def test_other_holds_are_no_part_of_what_is_available() -> None:
    account = holding(requests=4)
    account.reserve("other", requests=5)
    settled = account.settle("r", {"requests": 7})
    assert outcome(settled) == (usd(7), usd(5), usd(2), 0)
    assert account.view().held == usd(5)


def test_an_aborted_inference_without_usage_is_settled_for_nothing() -> None:
    settled = holding().settle("r", {})
    assert outcome(settled) == (0, 0, 0, usd(4))
    assert settled.final
    assert settled.grants == ()


def test_a_settlement_says_what_anyone_needs_to_compute_it_again() -> None:
    account = Account(price_book(version_of(ALWAYS, FOUNDING)))
    account.grant("g", 100)
    account.reserve("r", model=GPT4, estimate={"input_tokens": 374, "output_tokens": 44})
    account.use({"input_tokens": 999_900}, model=GPT4)
    settled = account.settle("r", {"input_tokens": 374, "output_tokens": 44})
    assert (settled.price_book, settled.price_version, settled.period, settled.volume) == (
        "default",
        1,
        "2026-03",
        999_900,
    )
    assert settled.charged == usd("0.004248"), "100 at 10, 274 at 8, 44 at 24"


@pytest.mark.parametrize("used", [0, 3, 4, 6, 12])
def test_a_late_settlement_takes_what_is_available_and_books_the_rest(used: int) -> None:
    account = holding(requests=4, money=10)
    account.now += 300 * SECOND
    account.reserve("next", requests=5)
    settled = account.settle("r", {"requests": used})
    paid = min(used, 5)
    assert outcome(settled) == (usd(used), usd(paid), usd(used - paid), 0)


def test_a_settlement_days_later_is_still_taken() -> None:
    account = holding()
    account.now += 40 * DAY
    assert outcome(account.settle("r", {"requests": 2})) == (usd(2), usd(2), 0, 0)


def test_parts_use_up_the_hold_and_then_what_is_free() -> None:
    account = holding(requests=4, money=10)
    seen = []
    for used in (3, 3, 3, 3):
        settled = account.settle("r", {"requests": used}, final=False)
        seen.append((settled.receivable, settled.released, account.view().held))
    assert seen == [(0, 0, usd(1)), (0, 0, 0), (0, 0, 0), (usd(2), 0, 0)]
    assert account.view().available == 0


def test_the_final_part_releases_what_the_others_left() -> None:
    account = holding(requests=4)
    account.settle("r", {"requests": 1}, final=False)
    assert outcome(account.settle("r", {"requests": 1})) == (usd(1), usd(1), 0, usd(2))


def test_a_part_after_the_expiry_leaves_the_reservation_open() -> None:
    account = holding()
    account.now += 300 * SECOND
    account.settle("r", {"requests": 1}, final=False)
    assert outcome(account.settle("r", {"requests": 1})) == (usd(1), usd(1), 0, 0)


def test_a_part_draws_on_its_own_hold_before_grants_that_burn_earlier() -> None:
    account = holding(requests=2)
    account.grant("first", 1, priority=1)
    part = account.settle("r", {"requests": 1}, final=False)
    assert part.grants == parts(("g", 1))
    final = account.settle("r", {"requests": 1})
    assert final.grants == parts(("first", 1)), "a final one draws in burn order"


def test_every_debit_names_its_grants_in_burn_order() -> None:
    account = Account()
    account.grant("b", 2)
    account.grant("a", 2)
    account.grant("c", 1, priority=1)
    account.reserve("r", requests=1)
    settled = account.settle("r", {"requests": 4})
    assert settled.grants == parts(("c", 1), ("a", 2), ("b", 1))


PRICES = price_book(
    version_of(ALWAYS, {"name": "m", "prices": {"requests": 1}}),
    version_of("2026-03-10T12:01:00Z", {"name": "m", "prices": {"requests": 7}}),
)
CHANGE = instant("2026-03-10T12:01:00Z")


@pytest.mark.parametrize(
    ("occurred_at", "price", "version"),
    [(CHANGE - 1, 1, 1), (CHANGE, 7, 2), (CHANGE + 1, 7, 2), (None, 7, 2), (NOON, 1, 1)],
)
def test_usage_is_priced_by_the_version_in_force_when_it_occurred(
    occurred_at: int | None, price: int, version: int
) -> None:
    account = Account(PRICES)
    account.grant("g", 100)
    account.reserve("r", model="m")
    account.now = CHANGE + 60 * SECOND
    settled = account.settle("r", {"requests": 1}, occurred_at=occurred_at)
    assert (settled.charged, settled.price_version) == (usd(price), version)


def test_the_volume_goes_on_across_price_versions() -> None:
    tiers = [{"up_to": 10, "input": 1, "output": 1}, {"input": 5, "output": 5}]
    later = [{"up_to": 20, "input": 2, "output": 2}, {"input": 9, "output": 9}]
    account = Account(
        price_book(
            version_of(ALWAYS, {"name": "m", "tiers": tiers}),
            version_of("2026-03-10T12:01:00Z", {"name": "m", "tiers": later}),
        )
    )
    account.grant("g", 1)
    assert account.use({"input_tokens": 15}, model="m").charged == usd("0.000035")
    account.now = CHANGE
    charged = account.use({"input_tokens": 10}, model="m")
    assert (charged.volume, charged.price_version) == (15, 2)
    assert charged.charged == usd("0.000055"), "5 at 2 up to the 20th token, 5 at 9"


def test_the_volume_begins_again_with_the_month_of_the_occurrence() -> None:
    account = Account(price_book(version_of(ALWAYS, FOUNDING)))
    account.grant("g", 100)
    account.now = instant("2026-04-01T00:00:01Z")
    march, april = account.now - 2 * SECOND, account.now
    charged = [
        account.use({"input_tokens": 600_000}, model=GPT4, occurred_at=at)
        for at in (march, april, march, april)
    ]
    assert [(each.period, each.volume) for each in charged] == [
        ("2026-03", 0),
        ("2026-04", 0),
        ("2026-03", 600_000),
        ("2026-04", 600_000),
    ]
    assert [each.charged for each in charged] == list(map(usd, ("6", "6", "5.6", "5.6")))


@pytest.mark.parametrize(
    ("occurred_at", "good"),
    [
        (NOON - TOLERANCE, True),
        (NOON - TOLERANCE - 1, False),
        (NOON + 60 * SECOND + TOLERANCE, True),
        (NOON + 60 * SECOND + TOLERANCE + 1, False),
    ],
)
def test_usage_occurs_between_the_reservation_and_the_receipt(occurred_at: int, good: bool) -> None:
    """Clocks may disagree by 5 s; the receipt is a minute after the reservation."""
    assert TOLERANCE == 5 * SECOND
    account = holding()
    account.now += 60 * SECOND
    command = Settle(id="s", reservation="r", usage={}, occurred_at=occurred_at)
    if good:
        assert account.fact(command).occurred_at == occurred_at
    else:
        with pytest.raises(Invalid, match="within 5 s") as refused:
            account.run(command)
        assert refused.value.facts["field"] == "occurred_at"


@pytest.mark.parametrize(
    ("usage", "code"),
    [({"pages": 1}, "unknown_unit"), ({"pages": 0, "requests": 1}, None), ({"wishes": 0}, None)],
)
def test_a_unit_without_a_price_is_refused_when_it_was_used(
    usage: dict[str, int], code: str | None
) -> None:
    account = holding()
    command = Settle(id="s", reservation="r", usage=usage)
    if code is None:
        account.fact(command)
    else:
        refusal = account.refusal(command)
        assert (refusal.code, refusal.facts["unit"]) == (code, "pages")
        assert account.view().held == usd(4), "the hold stays for the settlement that names it"


def test_the_customers_present_book_prices_a_settlement() -> None:
    account = holding()
    account.book = price_book(version_of(ALWAYS, FOUNDING))
    refusal = account.refusal(Settle(id="s", reservation="r", usage={"requests": 1}))
    assert refusal.code == "unknown_model"
