"""Usage records in part: many charge one reservation, which stays open."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from application.usage_intake import usage_command as intake
from domain.commands import ParkUsage
from domain.events import ReservationSettled
from domain.outcomes import Refusal
from domain.usage_events import UsageParked
from tests.domain.account import Account, usage_command
from tests.domain.examples import ALWAYS, HOUR, REQUEST, SECOND, price_book, usd, version_of


def funded() -> Account:
    """Return an account with 10 USD and a reservation of 4 requests."""
    account = Account(price_book(version_of(ALWAYS, REQUEST)))
    account.grant("g", 10)
    account.reserve("r", requests=4)
    return account


def record(account: Account, name: str, requests: int, **fields: Any) -> Any:
    """Send a record of the reservation and return its one fact."""
    body = {"usage": {"requests": requests}, "reservation": "r", "occurred_at": account.now}
    return account.fact(usage_command(name, **{**body, **fields}))


def test_parts_use_up_their_hold_and_leave_the_rest_of_it() -> None:
    account = funded()
    for name in ("a", "b"):
        fact = record(account, name, 1, final=False)
        assert isinstance(fact, ReservationSettled)
        assert (fact.charged, fact.released, fact.final) == (usd(1), 0, False)
        assert (fact.source, fact.command_kind()) == ("//gateway", "usage")
    assert (account.view().held, account.view().available) == (usd(2), usd(6))
    fact = record(account, "c", 1)
    assert (fact.charged, fact.released, fact.final) == (usd(1), usd(1), True)
    assert account.view().available == usd(7)


def test_a_part_beyond_its_hold_and_after_its_end_is_charged_all_the_same() -> None:
    account = funded()
    assert record(account, "a", 5, final=False).charged == usd(5)
    account.now += HOUR
    fact = record(account, "b", 9, final=False)
    assert (fact.charged, fact.from_balance, fact.receivable) == (usd(9), usd(5), usd(4))


def test_a_part_is_parked_and_released_as_a_part() -> None:
    account = funded()
    parked = record(account, "a", 1, final=False, occurred_at=account.now + 6 * SECOND)
    assert isinstance(parked, UsageParked)
    assert parked.body["final"] is False
    account.now += SECOND
    decision = account.release_usage(parked.parked)
    assert not isinstance(decision, Refusal), decision
    charge, _ = decision
    assert isinstance(charge, ReservationSettled)
    assert (charge.charged, charge.final, charge.record) == (usd(1), False, "a")
    assert account.view().held == usd(3)


def event(**data: Any) -> dict[str, Any]:
    """Return a record as a CloudEvent."""
    known = {"customer": "acme", "model": "m", "usage": {}, "occurred_at": ALWAYS}
    return {
        "specversion": "1.0",
        "type": "tollbook.usage.v1",
        "source": "//gateway",
        "id": "u",
        "subject": data.pop("subject", "r"),
        "data": {**known, **data},
    }


def test_a_cloud_event_may_say_that_it_is_a_part_of_its_reservation() -> None:
    assert intake(event()).final is None
    assert intake(event(final=None)).final is None
    assert intake(event(final=True)).final is None
    assert intake(event(final=False)).final is False


def test_direct_usage_has_no_parts() -> None:
    account = funded()
    with pytest.raises(Invalid, match="absent without a reservation"):
        record(account, "a", 1, final=False, reservation=None)
    by_hand: dict[str, Any] = {"source": "s", "customer": "acme", "model": "m", "reason": "odd"}
    body = {**by_hand, "id": "u", "usage": {}, "occurred_at": account.now, "final": False}
    with pytest.raises(Invalid, match="absent without a reservation"):
        account.run(ParkUsage(**body))
