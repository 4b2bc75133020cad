"""Credit beyond its limit, recomputed: what is then held and paid, and a ledger that took more."""

from typing import Any

import pytest
from tollbook.amounts import format_pico
from tollbook.recompute import Envelope, Recomputation
from tollbook.recompute.account import NEVER, Account, Grant, Hold
from tollbook.recompute.charging import Payment, pay_for_good, pay_in_part
from tollbook.recompute.fact import Difference, Fact
from tollbook.recompute.holding import funded

NOW = 1_000_000


def fresh() -> Account:
    """Return the account of a customer to whom nothing has happened."""
    names = {"currency": "USD", "plan": "standard", "price_book": "default", "time_zone": "UTC"}
    data = {"credit_limit": format_pico(0), "customer": "acme", "name_sealed": "", **names}
    who = ("customer-acme", 1, "acme", 1, "acme", None, None, "key:example")
    recomputation = Recomputation(lambda found: pytest.fail(str(found)), whole=True)
    recomputation.add(Envelope(1, "customer_created", 1, *who, NOW, NOW, data))
    return recomputation.accounts["acme"]


def grant(account: Account, name: str, amount: int, priority: int = 1) -> None:
    """Put promotional money for every model into an account."""
    account.granted += amount
    account.add_grant(Grant(name, "promotional", priority, NEVER, None), amount)


def beyond(granted: int, *, used: int = 4, held: Hold | None = None) -> Account:
    """Return an account with credit used, no limit any more, and money in a grant since."""
    account = fresh()
    account.overdraft = account.spent = used
    if held is not None:
        grant(account, "early", 3, priority=0)
        account.hold("r", held)
    grant(account, "late", granted)
    return account


def hold() -> Hold:
    """Return a hold of 2 of the early grant and of 1 on credit."""
    return Hold(NEVER, {"early": 2}, 1)


HOLDS = pytest.mark.parametrize(
    ("granted", "amount", "reach"), [(4, 1, 0), (4, 0, 0), (6, 2, 2), (6, 3, 2), (6, 6, 2)]
)
"""With 4 of credit beyond the limit: what was granted, what is wanted, and what can be had."""


@HOLDS
def test_a_hold_that_took_more_than_was_available_is_a_difference(
    granted: int, amount: int, reach: int
) -> None:
    account, found = beyond(granted), list[Difference]()
    parts = [["late", format_pico(amount)]] if amount else []
    data: dict[str, Any] = {"grants": parts, "credit": format_pico(0)}
    fact = Fact(7, "reservation_held", NOW, "r", data, found.append)
    draws, uncovered = funded(account, fact, "m", amount)
    assert (sum(taken for _, taken in draws), uncovered) == (
        min(amount, reach),
        amount - min(amount, reach),
    )
    fields = {each.what.partition(".")[2] for each in found}
    assert fields == ({"grants", "credit"} if amount > reach else set())


@HOLDS
def test_a_charge_takes_no_more_of_grants_than_is_available(
    granted: int, amount: int, reach: int
) -> None:
    taken = min(amount, reach)
    payment = pay_for_good(beyond(granted), "", "m", NOW, amount)
    assert payment == Payment({"late": taken} if taken else {}, 0, amount - taken)


@pytest.mark.parametrize(
    ("granted", "amount", "final", "part"),
    [
        # The hold alone: 5 of credit is beyond the limit, and no more than that is free.
        (4, 3, Payment({"early": 2}, 1, 0), Payment({"early": 2}, 1, 0)),
        (4, 5, Payment({"early": 2}, 1, 2), Payment({"early": 2}, 1, 2)),
        # 3 more are available: in the early grant first.
        (7, 2, Payment({"early": 2}, 0, 0), Payment({"early": 2}, 0, 0)),
        (7, 5, Payment({"early": 3, "late": 2}, 0, 0), Payment({"early": 3, "late": 1}, 1, 0)),
        (7, 9, Payment({"early": 3, "late": 2}, 1, 3), Payment({"early": 3, "late": 2}, 1, 3)),
    ],
)
def test_what_a_hold_has_stays_good_for_its_own_charge(
    granted: int, amount: int, final: Payment, part: Payment
) -> None:
    assert pay_for_good(beyond(granted, held=hold()), "r", "m", NOW, amount) == final
    assert pay_in_part(beyond(granted, held=hold()), "r", "m", NOW, amount) == part
