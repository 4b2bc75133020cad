"""The audit decides every licence decision again, and finds whatever was rewritten in one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from domain.denials import DENIALS, LIFE_REFUSALS
from domain.license_events import OF_LICENSE
from tests.integration.audit_fixtures import audited, position_of, rewrite, superuser, whats
from tests.integration.licensed_ledger import fill_licensed
from tests.support.databases import TestDatabase, fresh_database
from tests.support.servers import embedded_server

EVENTS = {
    *(event.NAME for event in OF_LICENSE),
    *("license_validated", "seat_leased", "lease_renewed", "seat_returned", "policy_published"),
}


@pytest.fixture(scope="module")
def filled(pytestconfig: pytest.Config) -> Iterator[TestDatabase]:
    """Fill one ledger for all tests here; it is clean."""
    with fresh_database(embedded_server(pytestconfig)) as database:
        fill_licensed(database)
        report = audited(database)
        assert report.ok, report.differences
        yield database


@pytest.fixture
def ledger(filled: TestDatabase) -> Iterator[TestDatabase]:
    """Give the test a ledger to spoil, and put back what was there."""
    rows = filled.query("SELECT data, leaf, position FROM events")
    yield filled
    with superuser(filled) as connection:
        put_back = "UPDATE events SET data = %s, leaf = %s WHERE position = %s"
        connection.cursor().executemany(put_back, rows)


def test_a_ledger_with_every_event_and_every_denial_is_clean(ledger: TestDatabase) -> None:
    rows: Any = ledger.query("SELECT name, data FROM events")
    assert {name for name, _ in rows} >= EVENTS
    refused = {json.loads(data)["code"] for name, data in rows if name == "command_refused"}
    assert refused >= DENIALS.keys() | LIFE_REFUSALS.keys()
    parked = [json.loads(data)["code"] for name, data in rows if name == "usage_parked"]
    assert parked == ["unknown_license"]


REWRITTEN = (
    ("policy_published", '"version":1', '"version":2', "version"),
    ("policy_published", '"seats":1', '"seats":0', "policy"),
    ("license_issued", '"priority":2,"regions"', '"priority":3,"regions"', "policy"),
    ("license_issued", '"deployment":"hybrid"', '"deployment":"hybrit"', "deployment"),
    ("license_issued", '"template_version":1', '"template_version":2', "template_version"),
    ("license_issued", '"grace_seconds":60', '"grace_seconds":61', "policy"),
    ("license_issued", "2026-04-10", "2026-05-10", "maintenance_until"),
    ("license_issued", "2026-03-10T13", "2026-03-10T11", "expires_at"),
    ("license_issued", '"provenance":{"gpt4', '"provenance":{"gpt5', "provenance"),
    ("license_activated", '"board":', '"bored":', "later"),
    ("license_activated", '"device":"device"', '"device":"devise"', "command"),
    ("license_deactivated", '"device":"device"', '"device":"devise"', "license"),
    ("license_validated", '["rate",1,', '["rate",0,', "decision"),
    ("license_validated", '"bound:1:0"', '"bound:1:1"', "decision"),
    ("license_validated", '"environment":"dev', '"environment":"def', "decision"),
    ("license_validated", '"license_key":"a', '"license_key":"c', "decision"),
    ("reservation_held", '["rate",1,', '["rate",2,', "decision"),
    ("reservation_held", '"license":"bound"', '"license":"found"', "license"),
    ("reservation_extended", '["rate",0,', '["rate",1,', "decision"),
    ("reservation_settled", '"usage":{"requests":2}', '"usage":{"requests":1}', "charged"),
    ("seat_leased", "T12:09:00", "T12:09:01", "expires_at"),
    ("seat_leased", '"bound:1:0"', '"bound:0:0"', "decision"),
    ("lease_renewed", "T12:09:01", "T12:09:00", "expires_at"),
    ("lease_renewed", '"bound:1:0"', '"bound:0:0"', "decision"),
    ("seat_returned", '"lease":"lease', '"lease":"leash', "lease"),
    ("license_key_rotated", '"overlap_seconds":60', '"overlap_seconds":-1', "overlap_seconds"),
    ("license_key_rotated", "b" * 32, "a" * 32, "key_hash"),
    ("license_suspended", '"reason":"not paid"', '"reason":"no"', "later"),
    ("license_suspended", '"license":"bound"', '"license":"found"', "license"),
    ("license_reinstated", '"license":"bound"', '"license":"found"', "license"),
    ("license_upgraded", '"grace_seconds":120', '"grace_seconds":121', "later"),
    ("license_upgraded", '"limit":9', '"limit":8', "later"),
    ("license_upgraded", '"template_version":1', '"template_version":0', "template_version"),
    ("license_expired", '"license":"bound"', '"license":"found"', "license"),
    ("license_renewed", "2026-03-10T15", "2026-03-10T14", "expires_at"),
    ("license_revoked", '"license":"bound"', '"license":"found"', "license"),
)
"""Event, text, what it is rewritten to, and the field that is found; `later`: by what follows."""


@pytest.mark.parametrize(("event", "old", "new", "field"), REWRITTEN)
def test_a_field_that_was_rewritten_with_its_hash_is_found(
    ledger: TestDatabase, event: str, old: str, new: str, field: str
) -> None:
    position = position_of(ledger, event)
    rows: Any = ledger.query("SELECT data FROM events WHERE position = %s", position)
    ((before,),) = rows
    assert old in before, before
    rewrite(ledger, position, old, new, with_leaf=True)
    found = whats(audited(ledger))
    if field == "later":
        assert any(at > position for at, _ in found), found
    else:
        assert (position, f"{event}.{field}") in found


@pytest.mark.parametrize("code", sorted({*DENIALS, *LIFE_REFUSALS}))
def test_another_code_or_other_facts_of_a_refusal_are_found(
    ledger: TestDatabase, code: str
) -> None:
    query = "SELECT position, data FROM events WHERE data LIKE %s ORDER BY position LIMIT 1"
    row: Any = ledger.query(query, f'%"code":"{code}"%')[0]
    position, data = row
    another = "license_revoked" if code != "license_revoked" else "license_suspended"
    rewrite(ledger, position, f'"code":"{code}"', f'"code":"{another}"', with_leaf=True)
    assert (position, "command_refused.code") in whats(audited(ledger))
    rewrite(ledger, position, f'"code":"{another}"', f'"code":"{code}"', with_leaf=True)
    version = json.loads(data)["facts"]["policy_version"]
    rewrite(ledger, position, version, "bound:7:7", with_leaf=True)
    assert (position, "command_refused.facts") in whats(audited(ledger))


def test_an_admission_that_a_licence_forbids_is_found(ledger: TestDatabase) -> None:
    """The limit is lowered where the policy was published, and all that follows from it is not."""
    for event in ("policy_published", "license_issued"):
        old, new = '"limit":2', '"limit":1'
        rewrite(ledger, position_of(ledger, event), old, new, with_leaf=True)
    found = [each for each in audited(ledger).differences if each.what.endswith(".decision")]
    assert "refused: license_limit_reached" in {each.expected for each in found}
