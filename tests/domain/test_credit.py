"""The credit limit, the overdraft that uses it, and the receivable outside of both (A10, A13)."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.commands import ChangeCustomer, Extend
from tests.domain.account import CUSTOMER, Account, parts, reserve_command
from tests.domain.examples import NOON, SECOND, usd


def test_credit_is_used_after_every_grant() -> None:
    account = Account(credit_limit=usd(5))
    account.grant("g", 2)
    held = account.reserve("r", requests=4)
    assert (held.grants, held.credit) == (parts(("g", 2)), usd(2))
    assert account.view().available == usd(3)


def test_money_and_credit_together_are_the_floor() -> None:
    account = Account(credit_limit=usd(5))
    account.grant("g", 2)
    assert account.refusal(reserve_command("r1", requests=8)).code == "insufficient_balance"
    assert account.reserve("r2", requests=7).held == usd(7)
    assert account.view().available == 0


def test_a_settlement_on_credit_is_an_overdraft() -> None:
    account = Account(credit_limit=usd(5))
    account.reserve("r", requests=4)
    settled = account.settle("r", {"requests": 3})
    assert (settled.credit, settled.from_balance, settled.released) == (usd(3), usd(3), usd(1))
    assert (account.view().overdraft, account.view().available) == (usd(3), usd(2))


def test_above_the_hold_credit_is_used_before_a_receivable_arises() -> None:
    account = Account(credit_limit=usd(5))
    account.reserve("r", requests=1)
    settled = account.settle("r", {"requests": 7})
    assert (settled.credit, settled.receivable) == (usd(5), usd(2))
    assert account.view().available == 0


def test_a_part_turns_its_share_of_held_credit_into_overdraft() -> None:
    account = Account(credit_limit=usd(5))
    account.grant("g", 1)
    account.reserve("r", requests=3)
    part = account.settle("r", {"requests": 2}, final=False)
    assert (part.grants, part.credit) == (parts(("g", 1)), usd(1))
    assert (account.view().held, account.view().overdraft) == (usd(1), usd(1))
    assert account.balance.credit_held == usd(1)


def test_a_part_uses_its_own_credit_before_a_grant_that_came_later() -> None:
    """Its hold is its own money first, credit included; a final one draws from grants first."""
    account = Account(credit_limit=usd(5))
    account.reserve("r", requests=2)
    account.grant("g", 5, kind="promotional")
    part = account.settle("r", {"requests": 1}, final=False)
    assert (part.grants, part.credit) == ((), usd(1))
    final = account.settle("r", {"requests": 1})
    assert (final.grants, final.credit) == (parts(("g", 1)), 0)


def test_raising_the_limit_gives_room_at_once() -> None:
    account = Account()
    assert account.refusal(reserve_command("r1")).code == "insufficient_balance"
    account.change(credit_limit=usd(1))
    assert account.reserve("r2").credit == usd(1)


def test_lowering_the_limit_below_its_use_stops_new_holds_only() -> None:
    account = Account(credit_limit=usd(10))
    account.reserve("r", requests=4)
    account.use({"requests": 3})
    account.change(credit_limit=usd(2))
    assert account.view().available == usd(-5)
    refusal = account.refusal(reserve_command("r2"))
    assert refusal.facts["available"]["amount"] == "0.000000000000"
    settled = account.settle("r", {"requests": 5})
    assert (settled.credit, settled.receivable) == (usd(4), usd(1)), "what was held stays good"


def beyond_its_limit(*granted: int) -> Account:
    """Return an account with 3 USD of credit beyond its limit, and grants that came later."""
    account = Account(credit_limit=usd(10))
    account.use({"requests": 3})
    account.change(credit_limit=0)
    for number, amount in enumerate(granted):
        account.grant(f"g{number}", amount, kind="promotional", priority=number)
    return account


TAKEN_BEYOND_THE_LIMIT = pytest.mark.parametrize(
    ("granted", "reach"),
    [((2,), 0), ((3,), 0), ((4,), 1), ((2, 2), 1), ((1, 8), 6)],
)
"""Grants that came after the limit was lowered to 3 USD below its use, and what they can give."""


@TAKEN_BEYOND_THE_LIMIT
def test_a_hold_takes_of_grants_what_credit_beyond_the_limit_leaves(
    granted: tuple[int, ...], reach: int
) -> None:
    account = beyond_its_limit(*granted)
    refusal = account.refusal(reserve_command("r1", requests=reach + 1))
    assert refusal.facts["available"] == {"amount": f"{reach}.000000000000", "currency": "USD"}
    assert account.reserve("r2", requests=reach).credit == 0
    assert account.view().available == usd(sum(granted) - 3 - reach)


@TAKEN_BEYOND_THE_LIMIT
def test_usage_takes_of_grants_what_credit_beyond_the_limit_leaves(
    granted: tuple[int, ...], reach: int
) -> None:
    account = beyond_its_limit(*granted)
    charged = account.use({"requests": 9})
    assert (charged.from_balance, charged.credit) == (usd(reach), 0)
    assert charged.receivable == usd(9 - reach)
    assert account.view().available == usd(sum(granted) - 3 - reach)


@TAKEN_BEYOND_THE_LIMIT
def test_an_extension_takes_of_grants_what_credit_beyond_the_limit_leaves(
    granted: tuple[int, ...], reach: int
) -> None:
    account = Account(credit_limit=usd(10))
    account.reserve("r", requests=3)
    account.change(credit_limit=0)
    for number, amount in enumerate(granted):
        account.grant(f"g{number}", amount)
    assert account.extend("r", ttl_seconds=600).held == usd(3), "time alone takes nothing"
    too_much = Extend(id="e", reservation="r", estimate={"requests": reach + 1})
    assert account.refusal(too_much).facts["available"]["amount"] == f"{reach}.000000000000"
    assert account.extend("r", estimate={"requests": reach}).held == usd(3 + reach)


def test_grants_burn_in_their_order_up_to_what_credit_beyond_the_limit_leaves() -> None:
    account = beyond_its_limit(2, 8)
    assert account.reserve("r", requests=7).grants == parts(("g0", 2), ("g1", 5))


def test_money_of_other_models_stands_against_credit_beyond_the_limit_too() -> None:
    account = beyond_its_limit(2)
    account.grant("other", 3, kind="promotional", models=("something-else",))
    assert account.view().available == usd(2)
    assert account.reserve("r", requests=2).grants == parts(("g0", 2))


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize(
    ("granted", "used", "late", "credit", "receivable"),
    [(2, 3, 0, 1, 0), (2, 4, 0, 2, 0), (2, 6, 0, 2, 2), (5, 6, 1, 2, 1), (7, 7, 3, 2, 0)],
)
def test_what_a_hold_has_stays_good_for_it_beyond_the_limit(
    granted: int, used: int, late: int, credit: int, receivable: int, final: bool
) -> None:
    """It has 2 of a grant and 2 of credit; 2 more are used, so 4 are beyond a limit of nothing."""
    account = Account(credit_limit=usd(10))
    account.grant("early", 2, priority=1)
    account.reserve("r", requests=4)
    account.use({"requests": 2})
    account.change(credit_limit=0)
    account.grant("late", granted, kind="promotional", priority=9)
    before = account.view().available
    settled = account.settle("r", {"requests": used}, final=final)
    drawn = [("early", 2), ("late", late)] if late else [("early", 2)]
    assert settled.grants == parts(*drawn)
    assert (settled.credit, settled.receivable) == (usd(credit), usd(receivable))
    assert account.view().available >= min(0, before)


def test_only_what_is_not_the_holds_own_counts_against_credit_beyond_the_limit() -> None:
    """The hold has 2 of the early grant, 10 are free, and 5 of credit are beyond the limit."""
    account = Account(credit_limit=usd(5))
    account.use({"requests": 5})
    account.grant("early", 3, kind="promotional", priority=1)
    account.reserve("r", requests=2)
    account.change(credit_limit=0)
    account.grant("late", 9, kind="promotional", priority=2)
    settled = account.settle("r", {"requests": 8})
    assert settled.grants == parts(("early", 3), ("late", 4))
    assert (settled.receivable, account.view().available) == (usd(1), 0)


def test_a_hold_that_ran_out_has_nothing_of_its_own_beyond_the_limit() -> None:
    account = Account(credit_limit=usd(10))
    account.use({"requests": 3})
    account.reserve("r", requests=4)
    account.change(credit_limit=0)
    account.grant("g", 5, kind="promotional")
    account.now += 300 * SECOND
    settled = account.settle("r", {"requests": 4})
    assert (settled.from_balance, settled.receivable) == (usd(2), usd(2))
    assert account.view().available == 0


def test_money_of_an_ended_grant_pays_before_others_lose_what_the_limit_wants() -> None:
    """Its own hold may use it; in its place nothing is drawn that would sink the balance."""
    account = Account(credit_limit=usd(10))
    account.grant("ends", 5, expires_at=NOON + SECOND, priority=9)
    account.reserve("r", requests=5)
    account.use({"requests": 5})
    account.change(credit_limit=0)
    account.grant("stays", 5, kind="promotional", priority=0)
    account.now += 2 * SECOND
    assert account.view().available == 0
    assert account.settle("r", {"requests": 5}).grants == parts(("ends", 5))
    assert account.view().available == 0


@pytest.mark.parametrize(
    ("kind", "models", "amount", "repaid"),
    [
        ("paid", None, 10, 3),
        ("paid", None, 3, 3),
        ("paid", None, 2, 2),
        ("paid", ("per-request",), 10, 0),
        ("promotional", None, 10, 0),
    ],
)
def test_only_paid_money_for_every_model_repays_an_overdraft(
    kind: str, models: tuple[str, ...] | None, amount: int, repaid: int
) -> None:
    account = Account(credit_limit=usd(5))
    account.use({"requests": 3})
    issued = account.grant("g", amount, kind=kind, models=models)
    assert issued.overdraft_repaid == usd(repaid)
    assert account.view().overdraft == usd(3 - repaid)
    assert account.view().available == usd(5 - 3 + amount)


def test_a_grant_that_only_repays_has_nothing_left_to_expire() -> None:
    account = Account(credit_limit=usd(5))
    account.use({"requests": 3})
    account.grant("g", 3, expires_at=NOON + SECOND)
    account.now += SECOND
    assert (account.view().breakage, account.view().available) == (0, usd(5))


def test_a_grant_repays_no_receivable() -> None:
    account = Account()
    account.use({"requests": 3})
    issued = account.grant("g", 10)
    assert issued.overdraft_repaid == 0
    assert (account.view().receivable, account.view().available) == (usd(3), usd(10))


def test_a_receivable_is_outside_the_floor() -> None:
    account = Account(credit_limit=usd(1))
    account.use({"requests": 100})
    view = account.view()
    assert (view.receivable, view.spent, view.available) == (usd(99), usd(1), 0)


def test_an_expired_hold_gives_its_credit_back() -> None:
    account = Account(credit_limit=usd(5))
    account.reserve("r", requests=5)
    account.now += 300 * SECOND
    assert account.view().available == usd(5)
    assert account.reserve("r2", requests=5).credit == usd(5)


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"credit_limit": -1}, "credit_limit"),
        ({"plan": "generous"}, "plan"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
    ],
)
def test_terms_are_checked_at_creation_and_at_every_change(
    terms: dict[str, Any], field: str
) -> None:
    for attempt in (lambda: Account(**terms), lambda: Account().change(**terms)):
        with pytest.raises(Invalid) as refused:
            attempt()
        assert refused.value.facts["field"] == field


def test_terms_that_a_change_does_not_name_stay() -> None:
    account = Account(credit_limit=usd(5), time_zone="Asia/Kolkata")
    account.change(plan="reserved_only")
    terms = account.balance.customer
    assert terms is not None
    assert (terms.credit_limit, terms.time_zone) == (usd(5), "Asia/Kolkata")
    assert (terms.plan, terms.price_book) == ("reserved_only", "default")


def test_a_change_of_nothing_is_a_fact_all_the_same() -> None:
    account = Account()
    before = account.balance.customer
    account.fact(ChangeCustomer(id="c", customer=CUSTOMER))
    assert account.balance.customer == before
