"""A hold while the stream runs: more units, more time, parts settled, given back (A7, A9, A11)."""

import pytest

from domain.commands import Extend, Release, Settle
from domain.reserving import EXTENDED_MAX
from tests.domain.account import Account, parts, reserve_command
from tests.domain.examples import ALWAYS, FOUNDING, GPT4, NOON, SECOND, price_book, usd, version_of


def holding(requests: int = 4, money: int = 10, **fields: object) -> Account:
    """Return an account with one hold `r`."""
    account = Account()
    account.grant("g", money)
    account.reserve("r", requests=requests, **fields)
    return account


def test_more_units_hold_more_money_and_leave_the_expiry() -> None:
    account = holding()
    extended = account.extend("r", estimate={"requests": 2})
    assert (extended.held, extended.grants) == (usd(6), parts(("g", 2)))
    assert extended.expires_at == NOON + 300 * SECOND
    assert account.view().available == usd(4)


def test_more_time_counts_from_now_and_costs_nothing() -> None:
    account = holding()
    account.now += 100 * SECOND
    extended = account.extend("r", ttl_seconds=300)
    assert (extended.held, extended.grants) == (usd(4), ())
    assert extended.expires_at == NOON + 400 * SECOND


def test_a_hold_never_ends_earlier_than_it_did() -> None:
    account = holding(ttl_seconds=600)
    assert account.extend("r", ttl_seconds=10).expires_at == NOON + 600 * SECOND


def test_a_hold_cannot_be_extended_for_ever() -> None:
    account = holding(ttl_seconds=86_400)
    ends = []
    for _ in range(7):
        account.now += 86_000 * SECOND
        ends.append(account.extend("r", ttl_seconds=86_400).expires_at)
    assert ends[-1] == NOON + EXTENDED_MAX
    assert ends[-2] == account.now + 400 * SECOND


def test_an_extension_asks_for_what_is_missing_only() -> None:
    account = holding(requests=4, money=5)
    refusal = account.refusal(Extend(id="x", reservation="r", estimate={"requests": 3}))
    assert refusal.code == "insufficient_balance"
    assert refusal.facts["available"]["amount"] == "1.000000000000"
    assert refusal.facts["required"]["amount"] == "3.000000000000"
    assert account.view().held == usd(4), "a refused extension leaves the hold as it was"


def test_an_extension_of_nothing_changes_nothing() -> None:
    account = holding()
    assert account.extend("r").held == usd(4)


def test_an_extension_into_dearer_prices_holds_the_difference() -> None:
    book = price_book(
        version_of(ALWAYS, {"name": "m", "prices": {"requests": 1}}),
        version_of("2026-03-10T13:00:00Z", {"name": "m", "prices": {"requests": 3}}),
    )
    account = Account(book)
    account.grant("g", 10)
    assert account.reserve("r", model="m", requests=2).held == usd(2)
    assert account.extend("r", ttl_seconds=3599).held == usd(2)
    assert account.extend("r", ttl_seconds=3600).held == usd(6)


def test_an_extension_pays_in_burn_order_and_then_from_credit() -> None:
    account = Account(credit_limit=usd(5))
    account.grant("b", 1)
    account.reserve("r")
    account.grant("a", 1, priority=1)
    extended = account.extend("r", estimate={"requests": 3})
    assert (extended.grants, extended.credit, extended.held) == (parts(("a", 1)), usd(2), usd(4))
    hold = account.balance.holds.get("r")
    assert hold is not None
    assert hold.parts == parts(("a", 1), ("b", 1))


def test_after_a_part_only_the_rest_needs_to_be_held() -> None:
    account = holding(requests=4)
    account.settle("r", {"requests": 3}, final=False)
    assert account.view().held == usd(1)
    assert account.extend("r", estimate={"requests": 2}).held == usd(3)


def test_tokens_of_output_are_held_up_to_the_cap_when_a_stream_goes_on() -> None:
    account = Account(price_book(version_of(ALWAYS, FOUNDING)))
    account.grant("g", 10)
    account.reserve("r", model=GPT4, estimate={"output_tokens": 16_000})
    extended = account.extend("r", estimate={"output_tokens": 16_000})
    assert extended.held == 16_384 * 30 * 10**6


@pytest.mark.parametrize(("offset", "open_still"), [(-1, True), (0, False), (1, False)])
def test_a_hold_ends_at_the_very_instant_of_its_expiry(offset: int, open_still: bool) -> None:
    account = holding()
    account.now = NOON + 300 * SECOND + offset
    assert account.view().held == (usd(4) if open_still else 0)
    assert account.view().available == (usd(6) if open_still else usd(10))
    if open_still:
        assert account.extend("r", ttl_seconds=300).held == usd(4)
    else:
        refusal = account.refusal(Extend(id="x", reservation="r", ttl_seconds=300))
        assert refusal.code == "expired"
        assert refusal.facts["expired_at"] == "2026-03-10T12:05:00.000000Z"


def test_the_money_of_an_expired_hold_can_be_held_again_at_that_instant() -> None:
    account = holding(requests=10)
    account.now = NOON + 300 * SECOND - 1
    assert account.refusal(reserve_command("r2", requests=10)).code == "insufficient_balance"
    account.now += 1
    assert account.reserve("r3", requests=10).held == usd(10)


def test_a_release_gives_the_whole_hold_back() -> None:
    account = holding()
    assert account.release("r").released == usd(4)
    assert account.view().available == usd(10)


def test_a_release_after_the_expiry_has_nothing_to_give_but_closes() -> None:
    account = holding()
    account.now += 300 * SECOND
    assert account.release("r").released == 0
    assert account.refusal(Release(id="x", reservation="r")).code == "already_released"


def test_a_release_after_a_part_gives_back_the_rest() -> None:
    account = holding(requests=4)
    account.settle("r", {"requests": 1}, final=False)
    assert account.release("r").released == usd(3)
    assert account.view().available == usd(9)


@pytest.mark.parametrize(
    "again",
    [
        Settle(id="late", reservation="r", usage={"requests": 1}),
        Settle(id="late", reservation="r", usage={}, final=False),
        Release(id="late", reservation="r"),
        Extend(id="late", reservation="r", ttl_seconds=10),
    ],
)
def test_after_the_end_every_further_step_is_told_the_first_outcome(
    again: Settle | Release | Extend,
) -> None:
    settled, released = holding(), holding()
    settled.settle("r", {"requests": 1}, id="part", final=False)
    settled.settle("r", {"requests": 2}, id="first")
    refusal = settled.refusal(again)
    assert refusal.code == "already_settled"
    assert refusal.facts["first_outcome"] == {
        "kind": "settle",
        "id": "first",
        "charged": "3.000000000000",
    }
    released.run(Release(id="first", reservation="r"))
    refusal = released.refusal(again)
    assert refusal.code == "already_released"
    assert refusal.facts["first_outcome"] == {
        "kind": "release",
        "id": "first",
        "released": "4.000000000000",
    }
