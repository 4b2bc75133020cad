"""Usage records: charged on their reservation or directly, else parked, and released once."""

import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from domain.commands import ParkUsage
from domain.events import ReservationSettled, UsageCharged
from domain.outcomes import Refusal
from domain.parking import parked_id
from domain.settling import VOLUME_MAX
from domain.usage_events import UsageParked, UsageReleased
from tests.domain.account import CUSTOMER, Account, parts, usage_command
from tests.domain.examples import (
    ALWAYS,
    EVERYTHING,
    NOON,
    REQUEST,
    SECOND,
    price_book,
    usd,
    version_of,
)
from tests.domain.licensee import LICENSE, MODEL, Licensee

HASH = "0a" * 32


def funded(license: str | None = None) -> Account:
    """Return an account with 10 USD and a reservation of 4 requests, under a licence if named."""
    account = Account(price_book(version_of(ALWAYS, REQUEST, EVERYTHING)))
    account.grant("g", 10)
    account.reserve("r", requests=4, license=license)
    return account


def record(account: Account, **fields: Any) -> Any:
    """Send a record of the reservation for 3 requests and return its one fact."""
    body = {"usage": {"requests": 3}, "reservation": "r", "occurred_at": account.now, **fields}
    return account.fact(usage_command("u", **body))


def released(account: Account, parked: str) -> tuple[Any, UsageReleased]:
    """Release a record that must be charged now; return its charge and the release."""
    decision = account.release_usage(parked)
    assert not isinstance(decision, Refusal), decision
    charge, release = decision
    assert isinstance(release, UsageReleased)
    return charge, release


def test_a_record_settles_its_reservation_for_good() -> None:
    account = funded("lic")
    fact = record(account, license="lic", request_hash=HASH, response_hash="f9" * 32)
    assert isinstance(fact, ReservationSettled)
    assert (fact.charged, fact.released, fact.final) == (usd(3), usd(1), True)
    assert (fact.source, fact.license, fact.request_hash) == ("//gateway", "lic", HASH)
    assert (fact.record, fact.command_kind(), fact.command_scope()) == (None, "usage", "//gateway")
    assert account.view().available == usd(7)


def closed_by_settling(account: Account) -> None:
    """Settle the reservation."""
    account.settle("r", {"requests": 1})


def closed_by_releasing(account: Account) -> None:
    """Release the reservation."""
    account.release("r")


def on_reservations_only(account: Account) -> None:
    """Change the plan to one without direct usage."""
    account.change(plan="reserved_only")


def mismatch(field: str) -> tuple[str, dict[str, Any]]:
    """Return code and facts for a record that says other than its reservation in a field."""
    return "reservation_mismatch", {"field": field, "reservation": "r"}


PARKED: list[tuple[Any, dict[str, Any], str, dict[str, Any]]] = [
    (None, {"reservation": "r9"}, "unknown_reservation", {"reservation": "r9"}),
    (None, {"customer": "other"}, *mismatch("customer")),
    (None, {"model": "everything"}, *mismatch("model")),
    (None, {"model": "everything", "license": "lic"}, *mismatch("model")),
    (None, {"license": "lic"}, *mismatch("license")),
    (None, {"license": "lic", "occurred_at": NOON + 5 * SECOND + 1}, *mismatch("license")),
    (None, {"usage": {"pages": 1}}, "unknown_unit", {"model": "per-request", "unit": "pages"}),
    (None, {"usage": {"wishes": 1}}, "unknown_unit", {"model": "per-request", "unit": "wishes"}),
    (
        None,
        {"occurred_at": NOON - 5 * SECOND - 1},
        "occurred_at_out_of_range",
        {
            "earliest": "2026-03-10T11:59:55.000000Z",
            "latest": "2026-03-10T12:00:05.000000Z",
            "occurred_at": "2026-03-10T11:59:54.999999Z",
        },
    ),
    (
        None,
        {"occurred_at": NOON + 5 * SECOND + 1},
        "occurred_at_out_of_range",
        {
            "earliest": "2026-03-10T11:59:55.000000Z",
            "latest": "2026-03-10T12:00:05.000000Z",
            "occurred_at": "2026-03-10T12:00:05.000001Z",
        },
    ),
    (
        closed_by_settling,
        {},
        "already_settled",
        {
            "first_outcome": {"charged": "1.000000000000", "id": "command-1", "kind": "settle"},
            "reservation": "r",
        },
    ),
    (
        closed_by_releasing,
        {},
        "already_released",
        {
            "first_outcome": {"id": "command-1", "kind": "release", "released": "4.000000000000"},
            "reservation": "r",
        },
    ),
    (on_reservations_only, {"reservation": None}, "plan_forbids", {"plan": "reserved_only"}),
    (
        None,
        {"reservation": None, "model": "unheard-of"},
        "unknown_model",
        {"model": "unheard-of", "price_book": "default"},
    ),
]
"""(what happened before, fields of the record, code, facts)."""


@pytest.mark.parametrize(("before", "fields", "code", "facts"), PARKED)
def test_what_a_rule_forbids_is_parked_with_the_reason_and_moves_no_money(
    before: Any, fields: dict[str, Any], code: str, facts: dict[str, Any]
) -> None:
    account = funded()
    if before is not None:
        before(account)
    seen = account.view()
    fact = record(account, **fields)
    assert isinstance(fact, UsageParked)
    assert (fact.code, fact.facts) == (code, facts)
    assert fact.detail
    assert account.view() == seen
    assert account.balance.volumes.get("per-request/2026-03", 0) == 0


def test_a_record_names_the_licence_of_its_reservation_or_none() -> None:
    for named in ("lic", None):
        charge = record(funded("lic"), license=named)
        assert isinstance(charge, ReservationSettled)
        assert charge.license == named
    other = record(funded("lic"), license="lic-2")
    assert isinstance(other, UsageParked)
    assert (other.code, other.facts["field"]) == ("reservation_mismatch", "license")
    assert other.detail == "reservation r is of licence lic"


def test_a_record_of_a_licence_that_the_customer_has_not_is_parked_until_they_have_it() -> None:
    account = Licensee()
    body: dict[str, Any] = {
        "usage": {"input_tokens": 1},
        "model": MODEL,
        "license": LICENSE,
    }
    parked = account.parking(**body)
    assert (parked.code, parked.facts) == ("unknown_license", {"license": LICENSE})
    on_reservation = account.parking(**body, reservation="r9")
    assert on_reservation.code == "unknown_license", "it is looked for before the reservation"
    refusal = account.release_usage(parked.parked)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.facts) == ("unknown_license", {"license": LICENSE})
    account.issue()
    charge, _ = released(account, parked.parked)
    assert isinstance(charge, UsageCharged)
    assert charge.license == LICENSE


@pytest.mark.parametrize("offset", [-5 * SECOND, 0, 5 * SECOND])
def test_five_seconds_of_clock_skew_are_tolerated_on_both_sides(offset: int) -> None:
    assert isinstance(record(funded(), occurred_at=NOON + offset), ReservationSettled)


def test_a_parking_keeps_the_whole_record_under_an_id_of_its_key() -> None:
    account = funded()
    fact = record(account, reservation="r9", license="lic", response_hash=HASH)
    assert fact.body == {
        "license": "lic",
        "model": "per-request",
        "occurred_at": "2026-03-10T12:00:00.000000Z",
        "reservation": "r9",
        "response_hash": HASH,
        "usage": {"requests": 3},
    }
    assert (fact.customer, fact.source, fact.record) == (CUSTOMER, "//gateway", "u")
    assert fact.parked == parked_id("//gateway", "u")
    assert (fact.stream(), fact.command_kind()) == (f"usage-{fact.parked}", "usage")


def test_no_two_keys_share_an_id() -> None:
    assert parked_id("a", "bc") != parked_id("ab", "c")
    key = "//gateway\0é".encode()
    assert parked_id("//gateway", "é") == hashlib.sha256(key).hexdigest()[:32]


def test_a_period_that_is_full_parks_the_record() -> None:
    account = funded()
    account.balance = account.balance._replace(volumes={"everything/2026-03": VOLUME_MAX})
    fact = account.parking({"input_tokens": 1}, model="everything")
    assert (fact.code, fact.facts) == (
        "volume_exceeded",
        {"model": "everything", "volume_max": VOLUME_MAX},
    )


def test_a_released_record_is_charged_as_if_it_had_come_now() -> None:
    account = funded()
    parked = record(account, reservation="r9")
    account.reserve("r9", requests=3)
    account.now += SECOND
    charge, release = released(account, parked.parked)
    assert isinstance(charge, ReservationSettled)
    assert (charge.charged, charge.record, charge.source) == (usd(3), "u", "//gateway")
    assert charge.command_kind() == "", "the key of the record belongs to its parking"
    assert (release.charged, release.grants) == (usd(3), parts(("g", 3)))
    assert (release.released, release.command_kind()) == (0, "release_usage")
    assert account.parked[parked.parked].status == "released"


def test_direct_usage_is_released_when_the_plan_allows_it() -> None:
    account = funded()
    account.change(plan="reserved_only")
    parked = account.parking({"requests": 2}, license="lic")
    refusal = account.release_usage(parked.parked)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "plan_forbids"
    assert account.parked[parked.parked].status == "parked"
    account.change(plan="standard")
    charge, release = released(account, parked.parked)
    assert isinstance(charge, UsageCharged)
    assert (charge.charged, charge.license, charge.command_kind()) == (usd(2), "lic", "")
    assert release.released is None


def test_a_record_is_released_once_and_the_second_time_names_the_first() -> None:
    account = funded()
    account.change(plan="reserved_only")
    parked = account.parking({"requests": 2}).parked
    account.change(plan="standard")
    released(account, parked)
    spent = account.view().spent
    again = account.release_usage(parked)
    assert isinstance(again, Refusal)
    assert again.code == "already_released"
    assert again.facts["first_outcome"]["charged"] == "2.000000000000"
    assert again.facts["first_outcome"]["kind"] == "release_usage"
    assert account.view().spent == spent == usd(2)


def test_somebody_may_park_a_record_by_hand_and_release_it_later() -> None:
    account = funded()
    fact = account.fact(
        ParkUsage(
            id="u",
            source="//gateway",
            customer=CUSTOMER,
            model="per-request",
            usage={"requests": 1},
            occurred_at=NOON,
            reason="looks doubled",
        )
    )
    assert (fact.code, fact.detail, fact.facts) == ("parked_by_hand", "looks doubled", {})
    assert "reason" not in fact.body
    assert account.view().spent == 0
    charge, _ = released(account, fact.parked)
    assert charge.charged == usd(1)


def test_money_is_no_reason_to_park() -> None:
    account = Account()
    charged = account.use({"requests": 3})
    assert (charged.from_balance, charged.receivable) == (0, usd(3))


def test_a_hash_is_64_lower_case_hex_digits() -> None:
    for wrong in ("0A" * 32, "0a" * 31, "0a" * 33, "", "0g" * 32):
        with pytest.raises(ValidationError):
            usage_command("u", {}, occurred_at=NOON, request_hash=wrong)
