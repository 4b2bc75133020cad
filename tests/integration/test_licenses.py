"""Licences on a real ledger: one decision with the reservation, at once everywhere, and audited."""

from typing import Any

from application.answers import Answer
from tests.integration.audit_fixtures import audited
from tests.integration.guarded_ledger import HOUR, NOON, SECOND, Guarded, guarded
from tests.support.databases import TestDatabase

THREE_A_MINUTE = {"id": "rate", "unit": "requests", "limit": 3, "per": "minute"}
KEY = "0123456789abcdef0123456789abcdef"


def issue(acme: Guarded, at: int, name: str = "lic", **more: Any) -> Answer:
    """Issue a licence of the professional tier."""
    terms = {"template": "professional", "key_hash": KEY, "key_hint": "abcd", **more}
    return acme.one(at, "issue_license", id=name, **terms)


def test_a_limit_admits_exactly_what_is_left_and_says_when_it_resets(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        issue(acme, NOON, overrides={"limits": [THREE_A_MINUTE]}).result()
        first = acme.reserve(NOON, license="lic").result()
        assert first["policy_version"] == "professional:0:0"
        assert [each["remaining"] for each in first["remaining"]] == [2]
        acme.reserve(NOON + SECOND, license="lic", facts={"country": "DE"}).result()
        acme.reserve(NOON + 59 * SECOND, license="lic", license_key=KEY).result()
        refused = acme.reserve(NOON + 59 * SECOND, license="lic")
        assert refused.code == "license_limit_reached"
        acme.reserve(NOON + 60 * SECOND, license="lic").result()


def test_a_revoked_licence_admits_nothing_from_that_moment_on(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        issue(acme, NOON).result()
        held = acme.reserve(NOON, license="lic")
        held.result()
        acme.one(NOON, "revoke_license", license="lic", reason="not paid").result()
        assert acme.reserve(NOON, license="lic").code == "license_revoked"
        acme.settle(NOON + HOUR, held.id, 1).result()


def test_a_key_that_another_licence_has_is_refused_and_nothing_hangs(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        issue(acme, NOON).result()
        assert issue(acme, NOON, "other").code == "already_exists"
        again = acme.one(NOON, "rotate_license_key", license="lic", key_hash=KEY, key_hint="abcd")
        assert again.code == "already_exists"


def test_a_device_that_was_activated_for_a_holder_leases_to_that_holder_alone(
    embedded_database: TestDatabase,
) -> None:
    mine, other = "ab" * 32, "cd" * 32
    facts = {"device": "box"}
    with guarded(embedded_database) as acme:
        issue(acme, NOON, deployment="on_premise").result()
        acme.one(NOON, "activate_license", id="box", license="lic", holder=mine).result()
        terms = {"license": "lic", "model": "any", "facts": facts}
        refused = acme.one(NOON, "lease_seat", **terms, holder=other)
        assert refused.code == "license_hardware_mismatch"
        acme.one(NOON, "lease_seat", **terms, holder=mine).result()
        acme.one(NOON, "lease_seat", id="no-box", license="lic", model="any", holder=other).result()
        renewal = {"license": "lic", "lease": "no-box", "facts": facts}
        refused = acme.one(NOON, "renew_lease", **renewal)
        assert refused.code == "license_hardware_mismatch"
        acme.one(NOON, "renew_lease", license="lic", lease="no-box").result()
    assert audited(embedded_database).differences == ()
