"""One decision on licence and money: what is asked in which order, what is kept (C3, C13)."""

from typing import Any

import pytest

from domain.admission import Around
from domain.cap import caps_from_wire
from domain.commands import Extend
from domain.events import ReservationExtended, ReservationHeld
from domain.facts import facts_from_wire
from domain.folding import evolve
from domain.guard_events import AccountBlocked, CapsSet
from domain.license_commands import (
    ExpireLicense,
    RevokeLicense,
    RotateLicenseKey,
    SuspendLicense,
)
from domain.license_events import LicenseValidated
from domain.outcomes import Refusal
from tests.domain.account import CUSTOMER
from tests.domain.examples import DAY, MINUTE, NOON, SECOND
from tests.domain.licensee import KEY, LICENSE, MODEL, NEW_KEY, Licensee, admitted, code, limit

DIGEST = "0a" * 32
RULE: dict[str, Any] = {"recent": 2, "rule": 1, "total": 1, "windows": 1}


def test_a_reservation_keeps_what_its_licence_was_asked_and_said() -> None:
    acme = Licensee()
    acme.issue(countries={"deny": ["KP"]}, expires_at=NOON + DAY)
    facts = {"country": {"value": "DE", "from": "observed"}, "domain": "example.com"}
    fields: dict[str, Any] = {"facts": facts, "license_key": KEY, "request_hash": DIGEST}
    (held,) = admitted(acme.hold("r", **fields))
    assert isinstance(held, ReservationHeld)
    assert held.decision == {"policy": "open:3:0"}
    assert (held.license, held.license_key, held.request_hash) == (LICENSE, KEY, DIGEST)
    assert held.facts == facts_from_wire(facts)


def test_a_validation_keeps_the_same_without_money() -> None:
    acme = Licensee()
    acme.issue(limits=limit(5, "day"))
    acme.upgrade(limits=limit(5, "day"))
    before = acme.balance
    validated = acme.valid(license_key=KEY, request_hash=DIGEST, facts={"domain": "example.com"})
    assert isinstance(validated, LicenseValidated)
    left = [["l", 4, "2026-03-11T00:00:00.000000Z"]]
    assert validated.decision == {"policy": "open:3:1", "remaining": left}
    assert (validated.customer, validated.license, validated.usage) == (CUSTOMER, LICENSE, None)
    assert (acme.balance.held, acme.balance.holds) == (before.held, before.holds)


def test_a_reservation_without_a_licence_has_no_decision() -> None:
    acme = Licensee()
    acme.issue(limits=limit(0))
    (held,) = admitted(acme.hold("r", license=None))
    assert isinstance(held, ReservationHeld)
    assert (held.license, held.decision) == (None, None)


def stopped(acme: Licensee, *steps: str) -> None:
    """Put one hindrance after another in the way of every reservation."""
    for step in steps:
        if step == "limit":
            acme.upgrade(limits=limit(1))
        elif step == "cap":
            caps = caps_from_wire([{"id": "c", "unit": "requests", "limit": 1, "calendar": "day"}])
            acme.balance = evolve(acme.balance, CapsSet(caps=caps, customer=CUSTOMER), NOON)
        elif step == "money":
            acme.change(credit_limit=0)


@pytest.mark.parametrize(
    ("steps", "model", "outcome"),
    [
        (("limit", "cap", "money"), "unheard-of", "license_limit_reached"),
        (("limit", "cap", "money"), MODEL, "license_limit_reached"),
        (("cap", "money"), "unheard-of", "unknown_model"),
        (("cap", "money"), MODEL, "usage_capped"),
        (("money",), MODEL, "insufficient_balance"),
        ((), MODEL, "done"),
    ],
)
def test_the_licence_is_asked_before_prices_caps_and_money(
    steps: tuple[str, ...], model: str, outcome: str
) -> None:
    acme = Licensee()
    acme.issue()
    stopped(acme, *steps)
    assert code(acme.hold("r", {"requests": 2}, model=model)) == outcome
    if steps == ("limit", "cap", "money"):
        assert acme.used() == 0, "what was refused counts nowhere"


def test_a_blocked_account_is_told_so_before_its_licence_is_asked() -> None:
    acme = Licensee()
    acme.issue(limits=limit(0))
    blocked = AccountBlocked(customer=CUSTOMER, occurred_at=NOON, **RULE)
    acme.balance = evolve(acme.balance, blocked, NOON)
    assert code(acme.hold("r")) == "account_blocked"
    assert code(acme.validate()) == "license_limit_reached", "validating costs nothing"


def test_a_check_of_the_licence_comes_before_its_limits() -> None:
    acme = Licensee()
    acme.issue(limits=limit(0))
    admitted(acme.life(RevokeLicense, reason="?"))
    assert code(acme.hold("r")) == "license_revoked"


def test_money_that_is_missing_leaves_the_limits_as_they_were() -> None:
    acme = Licensee(credit_limit=0)
    acme.issue(limits=limit(1))
    assert code(acme.hold("r", {"requests": 1})) == "insufficient_balance"
    assert acme.used() == 0
    acme.grant("g", 10)
    admitted(acme.hold("r", {"requests": 1}))
    assert acme.used() == 1


EXTENDED: list[tuple[str, type[Any] | None, dict[str, Any], str]] = [
    # (what has happened since, command, fields, outcome)
    ("nothing", None, {}, "done"),
    ("revoked", RevokeLicense, {"reason": "?"}, "license_revoked"),
    ("suspended", SuspendLicense, {"reason": "?"}, "license_suspended"),
    ("another key", RotateLicenseKey, {"key_hash": NEW_KEY, "key_hint": "efgh"}, "done"),
]


@pytest.mark.parametrize(("_since", "kind", "fields", "outcome"), EXTENDED)
def test_an_extension_asks_whether_the_licence_still_stands(
    _since: str, kind: type[Any] | None, fields: dict[str, Any], outcome: str
) -> None:
    acme = Licensee()
    acme.issue(countries={"allow": ["DE"]})
    admitted(acme.hold("r", facts={"country": "DE"}, license_key=KEY))
    if kind is not None:
        admitted(acme.life(kind, **fields))
    acme.around = Around(None, frozenset({"DE"}))  # asked when it began, and not again
    assert code(extend(acme, {"pages": 1})) == outcome
    assert acme.settle("r", {"pages": 1}).charged > 0, "work that happened is charged"


def extend(acme: Licensee, estimate: dict[str, Any] | None = None) -> Any:
    """Extend the reservation `r`."""
    return acme.run(Extend(id=f"e-{len(acme.log)}", reservation="r", estimate=estimate))


@pytest.mark.parametrize(
    ("after", "outcome"), [(59, "done"), (60, "done"), (119, "done"), (120, "license_expired")]
)
def test_an_extension_after_the_end_is_admitted_within_the_grace(after: int, outcome: str) -> None:
    acme = Licensee()
    acme.issue(expires_at=NOON + MINUTE, grace_seconds=60)
    admitted(acme.hold("r"))
    acme.now += after * SECOND
    decision = extend(acme, {"pages": 1})
    assert code(decision) == outcome
    if not isinstance(decision, Refusal):
        (extended,) = decision
        assert isinstance(extended, ReservationExtended)
        grace = {"grace": True} if after >= 60 else {}
        assert extended.decision == {**grace, "policy": "open:3:0"}


def test_an_extension_is_for_time_alone_or_for_units_within_the_limits() -> None:
    acme = Licensee()
    acme.issue(limits=limit(5, "day", "pages"))
    admitted(acme.hold("r", {"pages": 3}))
    assert code(extend(acme, {"pages": 3})) == "license_limit_reached"
    assert acme.used() == 3
    assert code(extend(acme, {"pages": 2})) == "done"
    admitted(acme.run(Extend(id="longer", reservation="r", ttl_seconds=3600)))
    assert acme.used() == 5


def test_an_extension_goes_by_the_policy_of_its_own_time() -> None:
    acme = Licensee()
    acme.issue(limits=limit(5, "day", "pages"))
    admitted(acme.hold("r", {"pages": 3}))
    acme.upgrade(limits=limit(50, "day", "pages"))
    (extended,) = admitted(extend(acme, {"pages": 30}))
    assert isinstance(extended, ReservationExtended)
    assert extended.decision is not None
    assert extended.decision["policy"] == "open:3:1"
    assert acme.used() == 33


def test_an_end_that_was_booked_stays_one_though_the_grace_grows() -> None:
    acme = Licensee()
    acme.issue(expires_at=NOON + MINUTE)
    acme.now += MINUTE
    admitted(acme.life(ExpireLicense))
    acme.upgrade(grace_seconds=3600)
    assert code(acme.validate()) == "license_expired"


def test_what_a_refusal_says_is_enough_to_act_on() -> None:
    acme = Licensee()
    acme.issue(limits=limit(3, "minute"))
    refusal = acme.validate({"requests": 4})
    assert isinstance(refusal, Refusal)
    assert refusal.facts == {
        "license": LICENSE,
        "policy_version": "open:3:0",
        "limit": "l",
        "unit": "requests",
        "per": "minute",
        "allowed": 3,
        "used": 0,
        "requested": 4,
        "resets_at": "2026-03-10T12:01:00.000000Z",
    }
