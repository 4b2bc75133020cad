"""What belongs to a licence: its devices, the leases of its seats, and the decisions under it."""

from collections.abc import Iterator
from typing import Any

import pytest
from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.facts import facts_to_wire
from domain.license_events import (
    LeaseRenewed,
    LicenseActivated,
    LicenseDeactivated,
    LicenseRevoked,
    SeatLeased,
    SeatReturned,
)
from domain.license_use import live
from projections import decisions, devices, seats
from projections.model import Run
from tests.integration.audit_workload import Rows
from tests.integration.guarded_ledger import MINUTE, NOON, guarded
from tests.integration.license_lives import random_lives
from tests.integration.license_reading import (
    expected_decisions,
    histories,
    projected,
    time_of,
    without_absent,
)
from tests.integration.view_reading import Items, events_of, every
from tests.support.databases import TestDatabase
from tests.support.views import folded, project, run_of

TIMES = ("leased_at", "expires_at", "returned_at", "revoked_at")


@pytest.fixture
def rows(seed: int) -> Rows:
    """Return the events of a random ledger of licences."""
    return random_lives(seed)


@pytest.fixture
def run(database: TestDatabase, rows: Rows, seed: int) -> Iterator[Run]:
    """Store the random ledger, project it, and give what runs queries."""
    with projected(database, rows, seed) as found:
        yield found


def licenses_of(rows: Rows) -> set[str]:
    """Return every licence that there is."""
    return {state.id for _, state in histories(rows)}


def expected_devices(rows: Rows) -> Items:
    """Lay out each device as the list should show it."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for recorded in events_of(rows):
        event = recorded.event
        if isinstance(event, LicenseActivated):
            item = {
                "position": recorded.position,
                "license": event.license,
                "device": event.device,
                "customer": event.customer,
                "activated_at": time_of(recorded.recorded_at),
                "status": "active",
                "holder": event.holder,
                "components": sorted(event.components or {}),
                "facts": facts_to_wire(event.facts or {}),
            }
            found[event.license, event.device] = without_absent(item)
        elif isinstance(event, LicenseDeactivated):
            found[event.license, event.device] |= {
                "status": "deactivated",
                "deactivated_at": time_of(recorded.recorded_at),
            }
    return list(found.values())


def test_every_device_is_listed_while_it_is_active_and_after(run: Run, rows: Rows) -> None:
    expected = expected_devices(rows)
    for license in licenses_of(rows):
        wanted = [item for item in expected if item["license"] == license]
        assert every(devices.page, run, license=license) == wanted
        for status in devices.STATUSES:
            some = [item for item in wanted if item["status"] == status]
            assert every(devices.page, run, license=license, status=status) == some


def test_active_devices_are_those_of_the_licence(run: Run, rows: Rows) -> None:
    newest = {state.id: state for _, state in histories(rows)}
    for license, state in newest.items():
        found = every(devices.page, run, license=license, status="active")
        assert [item["device"] for item in found] == [device.id for device in state.devices]


def expected_seats(rows: Rows) -> Items:
    """Follow each lease event by event."""
    found: dict[str, dict[str, Any]] = {}
    for recorded in events_of(rows):
        event, at = recorded.event, recorded.recorded_at
        if isinstance(event, SeatLeased):
            found[event.lease] = {
                "position": recorded.position,
                "license": event.license,
                "lease": event.lease,
                "customer": event.customer,
                "model": event.model,
                "holder": event.holder,
                "borrowed": event.borrow_seconds is not None,
                "leased_at": at,
                "expires_at": event.expires_at,
            }
        if isinstance(event, SeatLeased | LeaseRenewed):
            found[event.lease] |= {"updated": recorded.position, "expires_at": event.expires_at}
        elif isinstance(event, SeatReturned):
            found[event.lease] |= {"updated": recorded.position, "returned_at": at}
        elif isinstance(event, LicenseRevoked):
            for item in found.values():
                ended = item["expires_at"] <= at or "returned_at" in item
                if item["license"] == event.license and not ended:
                    item |= {"updated": recorded.position, "revoked_at": at}
    return [
        {name: time_of(value) if name in TIMES else value for name, value in item.items()}
        for item in found.values()
    ]


def test_every_lease_is_listed_as_it_began_went_on_and_ended(run: Run, rows: Rows) -> None:
    expected = expected_seats(rows)
    for license in licenses_of(rows):
        wanted = [item for item in expected if item["license"] == license]
        assert every(seats.page, run, license=license) == wanted


def test_a_revocation_ends_the_leases_that_were_live(database: TestDatabase) -> None:
    terms = {"template": "professional", "key_hash": "0" * 32, "key_hint": "abcd"}
    with guarded(database) as acme:
        acme.one(NOON, "issue_license", id="lic", deployment="on_premise", **terms).result()
        asked = {"license": "lic", "model": "gpt4-equivalent", "holder": "ab" * 32}
        acme.one(NOON, "lease_seat", id="over", **asked).result()
        later = NOON + 6 * MINUTE
        for name in ("returned", "live", "renewed"):
            acme.one(later, "lease_seat", id=name, **asked).result()
        acme.one(later, "return_lease", license="lic", lease="returned").result()
        project(database)
        acme.one(later + MINUTE, "renew_lease", license="lic", lease="renewed").result()
        acme.one(later + 2 * MINUTE, "revoke_license", license="lic", reason="no").result()
        project(database)
        run = run_of(acme.ledger)
        found = {item["lease"]: item for item in seats.page(run, "lic").items}
        assert not seats.page(run, "lic", live_at=later + 2 * MINUTE).items
    revoked = {name: item["revoked_at"] for name, item in found.items() if "revoked_at" in item}
    assert revoked == dict.fromkeys(("live", "renewed"), format_instant(later + 2 * MINUTE))
    assert found["renewed"]["expires_at"] == format_instant(later + 6 * MINUTE)
    assert found["returned"]["returned_at"] == format_instant(later)


def test_live_leases_are_those_that_count_for_the_next_decision(run: Run, rows: Rows) -> None:
    last = rows[-1][12]
    for customer in {state.customer for _, state in histories(rows)}:
        balance = folded(rows, customer, len(rows))
        for license in {state.id for _, state in histories(rows) if state.customer == customer}:
            for now in (last, last + MINUTE, last + 10 * MINUTE):
                found = every(seats.page, run, license=license, live_at=now)
                wanted = {lease.id for lease in live(balance.uses.get(license), now)}
                assert {item["lease"] for item in found} == wanted


def test_decisions_are_listed_newest_first_with_what_they_said(run: Run, rows: Rows) -> None:
    expected = expected_decisions(rows)[::-1]
    assert {item["status"] for item in expected} == {"admitted", "denied"}
    for license in licenses_of(rows):
        wanted = [item for item in expected if item["license"] == license]
        assert every(decisions.page, run, license=license) == wanted
        for status in decisions.STATUSES:
            some = [item for item in wanted if item["status"] == status]
            assert every(decisions.page, run, license=license, status=status) == some
        for code in {item["why"]["code"] for item in wanted if "why" in item}:
            some = [item for item in wanted if item.get("why", {}).get("code") == code]
            assert every(decisions.page, run, license=license, code=code) == some


def test_a_decision_has_the_hash_of_the_response_once_it_was_settled(
    database: TestDatabase,
) -> None:
    terms = {"template": "professional", "key_hash": "0" * 32, "key_hint": "abcd"}
    with guarded(database) as acme:
        acme.one(NOON, "issue_license", id="lic", **terms).result()
        held = acme.reserve(NOON, license="lic", request_hash="a" * 64)
        held.result()
        project(database)
        run = run_of(acme.ledger)
        (before,) = decisions.page(run, "lic").items
        acme.settle(NOON, held.id, 1, request_hash="a" * 64, response_hash="b" * 64).result()
        (after,) = decisions.page(run, "lic").items
    assert before == {
        "position": before["position"],
        "recorded_at": format_instant(NOON),
        "license": "lic",
        "customer": "acme",
        "kind": "reserve",
        "id": held.id,
        "reservation": held.id,
        "model": "gpt4-equivalent",
        "status": "admitted",
        "policy_version": "professional:0:0",
        "grace": False,
        "remaining": before["remaining"],
        "request_hash": "a" * 64,
    }
    assert after == {**before, "response_hash": "b" * 64}


def test_a_status_that_there_is_not_is_refused() -> None:
    with pytest.raises(Invalid):
        devices.page(lambda *_: [], "lic", status="lost")
    with pytest.raises(Invalid):
        decisions.page(lambda *_: [], "lic", status="lost")
