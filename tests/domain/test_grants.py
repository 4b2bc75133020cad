"""Grants: the burn order, limits to models, and what expires when (A14)."""

from itertools import permutations
from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.commands import IssueGrant
from domain.events import GrantsExpired, HoldsExpired
from domain.values import AMOUNT_MAX
from tests.domain.account import CUSTOMER, Account, parts, reserve_command
from tests.domain.examples import ALWAYS, NOON, REQUEST, SECOND, price_book, usd, version_of

SOON, LATER = NOON + 1000 * SECOND, NOON + 2000 * SECOND

BURNS_FIRST: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("lower priority", {"priority": 1, "expires_at": None}, {"priority": 2, "expires_at": SOON}),
    ("earlier expiry", {"expires_at": SOON}, {"expires_at": LATER, "kind": "promotional"}),
    ("any expiry before none", {"expires_at": LATER}, {"kind": "promotional"}),
    ("promotional", {"kind": "promotional"}, {"kind": "paid"}),
    ("promotional, same expiry", {"kind": "promotional", "expires_at": SOON}, {"expires_at": SOON}),
]


@pytest.mark.parametrize(
    ("first", "second"), [row[1:] for row in BURNS_FIRST], ids=[row[0] for row in BURNS_FIRST]
)
@pytest.mark.parametrize("swapped", [False, True])
def test_each_criterion_outranks_the_next(
    first: dict[str, Any], second: dict[str, Any], swapped: bool
) -> None:
    """The id would decide the other way, and the order of issue must not matter."""
    account = Account()
    grants = [("z", first), ("a", second)]
    for name, fields in reversed(grants) if swapped else grants:
        account.grant(name, 1, **fields)
    assert account.reserve("r", requests=2).grants == parts(("z", 1), ("a", 1))
    assert account.settle("r", {"requests": 1}).grants == parts(("z", 1))


def test_the_burn_order_is_total() -> None:
    """However they are issued, grants that are equal but for their id burn by id."""
    for order in permutations(("a", "b", "B", "a1")):
        account = Account()
        for name in order:
            account.grant(name, 1)
        drawn = account.reserve("r", requests=4).grants
        assert drawn == parts(("B", 1), ("a", 1), ("a1", 1), ("b", 1))


def two_models() -> Account:
    """Return a customer of a book with the models `m` and `n` at 1 USD per request."""
    models = [{**REQUEST, "name": name} for name in ("m", "n")]
    return Account(price_book(version_of(ALWAYS, *models)))


def test_a_grant_limited_to_models_serves_no_other() -> None:
    account = two_models()
    account.grant("for-m", 5, models=("m",), priority=1)
    account.grant("for-all", 2)
    assert account.view().available == usd(7)
    refusal = account.refusal(reserve_command("r1", model="n", requests=3))
    assert refusal.facts["available"]["amount"] == "2.000000000000"
    assert account.reserve("r2", model="n", requests=2).grants == parts(("for-all", 2))
    assert account.reserve("r3", model="m", requests=5).grants == parts(("for-m", 5))


def test_an_over_settlement_cannot_reach_a_grant_for_another_model() -> None:
    account = two_models()
    account.grant("for-m", 5, models=("m",))
    account.grant("for-n", 1, models=("n",))
    account.reserve("r", model="n", requests=1)
    settled = account.settle("r", {"requests": 3})
    assert (settled.grants, settled.receivable) == (parts(("for-n", 1)), usd(2))


def test_promotional_money_burns_before_paid_money() -> None:
    account = Account()
    account.grant("paid", 1)
    account.grant("promo", 1, kind="promotional")
    settled = account.use({"requests": 2})
    assert settled.grants == parts(("promo", 1), ("paid", 1))


@pytest.mark.parametrize(("offset", "usable"), [(-1, True), (0, False)])
def test_a_grant_ends_at_the_very_instant_of_its_expiry(offset: int, usable: bool) -> None:
    account = Account()
    account.grant("g", 5, expires_at=SOON)
    account.now = SOON + offset
    assert account.view().available == (usd(5) if usable else 0)
    assert account.view().breakage == (0 if usable else usd(5))
    if usable:
        assert account.reserve("r").held == usd(1)
    else:
        assert account.refusal(reserve_command("r")).code == "insufficient_balance"


def test_what_is_left_of_an_expired_grant_is_booked_as_breakage_by_the_next_command() -> None:
    account = Account()
    account.grant("g", 5, expires_at=SOON)
    account.use({"requests": 2})
    account.now = SOON
    account.grant("h", 1)
    booked = [fact for fact in account.log if isinstance(fact, GrantsExpired)]
    assert [fact.grants for fact in booked] == [parts(("g", 3))]
    assert account.balance.breakage == usd(3)
    assert account.view().available == usd(1)


def test_held_money_of_an_expired_grant_stays_good_for_its_hold_and_for_nothing_else() -> None:
    account = Account()
    account.grant("g", 5, expires_at=NOON + 10 * SECOND)
    account.reserve("r", requests=3)
    account.now += 10 * SECOND
    assert (account.view().available, account.view().held) == (0, usd(3))
    assert account.refusal(reserve_command("r2")).code == "insufficient_balance"
    settled = account.settle("r", {"requests": 4})
    assert (settled.grants, settled.receivable) == (parts(("g", 3)), usd(1))


def test_what_such_a_hold_gives_back_is_breakage() -> None:
    account = Account()
    account.grant("g", 5, expires_at=NOON + 10 * SECOND)
    account.reserve("r", requests=3)
    account.now += 10 * SECOND
    account.settle("r", {"requests": 1})
    assert (account.view().available, account.view().breakage) == (0, usd(4))
    account.grant("h", 1)
    assert account.balance.breakage == usd(4)


def test_a_hold_and_its_grant_that_expire_together_leave_breakage() -> None:
    account = Account()
    account.grant("g", 5, expires_at=NOON + 300 * SECOND)
    account.reserve("r", requests=3)
    account.now += 300 * SECOND
    assert (account.view().available, account.view().breakage) == (0, usd(5))
    account.grant("h", 1)
    holds, grants = account.log[-3:-1]
    assert isinstance(holds, HoldsExpired)
    assert isinstance(grants, GrantsExpired)
    assert account.balance.breakage == usd(5)


def test_a_part_may_use_the_held_money_of_an_expired_grant() -> None:
    account = Account()
    account.grant("g", 5, expires_at=NOON + 10 * SECOND)
    account.grant("h", 5)
    account.reserve("r", requests=3)
    account.now += 10 * SECOND
    part = account.settle("r", {"requests": 4}, final=False)
    assert part.grants == parts(("g", 3), ("h", 1))


def test_a_limited_grant_expires_without_touching_the_others() -> None:
    account = Account()
    account.grant("g", 5, expires_at=SOON, models=("other",))
    account.grant("h", 1, expires_at=LATER)
    account.now = SOON
    assert account.view().available == usd(1)
    account.now = LATER
    assert account.view().available == 0
    assert account.view().breakage == usd(6)


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1])
def test_a_grant_has_an_amount(amount: int) -> None:
    command = IssueGrant(id="g", customer=CUSTOMER, amount=amount, kind="paid")
    with pytest.raises(Invalid, match="amount") as refused:
        Account().run(command)
    assert refused.value.facts["field"] == "amount"


@pytest.mark.parametrize("amount", [1, AMOUNT_MAX])
def test_the_smallest_and_the_largest_grant_are_kept_exactly(amount: int) -> None:
    account = Account()
    account.fact(IssueGrant(id="g", customer=CUSTOMER, amount=amount, kind="paid"))
    assert account.view().available == amount


@pytest.mark.parametrize(("expires_at", "good"), [(NOON, False), (NOON + 1, True)])
def test_a_grant_expires_in_the_future(expires_at: int, good: bool) -> None:
    account = Account()
    if good:
        account.grant("g", 1, expires_at=expires_at)
    else:
        with pytest.raises(Invalid, match="in the future"):
            account.grant("g", 1, expires_at=expires_at)


def test_a_grant_may_name_the_currency_and_then_it_must_be_the_customers() -> None:
    account = Account()
    account.grant("named", 1, currency="USD")
    with pytest.raises(Invalid) as refused:
        account.grant("other", 1, currency="EUR")
    assert refused.value.facts["field"] == "currency"
    assert refused.value.facts["value"] == "EUR"
