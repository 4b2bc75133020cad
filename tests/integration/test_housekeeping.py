"""Housekeeping: what time and a new export list have made due for licences becomes events, once."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tollbook.times import format_instant

from adapters.event_store.store import PostgresEventStore
from application.tollbook import Tollbook
from domain.values import SECOND
from entrypoints.housekeeping import Housekeeping, Swept, sweep
from entrypoints.projecting import catch_up
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, a_customer, open_ledger

HINT = {"key_hint": "abcd"}


@pytest.fixture
def ledger(embedded_database: TestDatabase) -> Iterator[Tollbook]:
    """Open a ledger with one customer."""
    with open_ledger(embedded_database) as opened:
        a_customer(opened)
        yield opened


def issue(ledger: Tollbook, name: str, **more: object) -> str:
    """Issue a licence without grace, under a key hash of its own."""
    body = {"id": name, "customer": "cust-1", "template": "professional", **HINT}
    overrides = {"grace_seconds": 0, **more.pop("overrides", {})}  # type: ignore[dict-item]
    made = {**body, "key_hash": name.encode().hex().ljust(32, "0")[:32], "overrides": overrides}
    ledger.run("issue_license", {**made, **more}).result()
    return name


def swept(database: TestDatabase, ledger: Tollbook) -> Swept:
    """Sweep with views that hold everything."""
    with closing(PostgresEventStore(database.app_url)) as store:
        catch_up(database.parts, store.head().position)
        return sweep(ledger, store)


def end_in(ledger: Tollbook, seconds: float) -> str:
    """Return the time some seconds from now."""
    return format_instant(ledger.now() + int(seconds * SECOND))


def wait_until(ledger: Tollbook, end: str) -> None:
    """Wait until the ledger's time has come to an end."""
    while format_instant(ledger.now()) < end:
        time.sleep(0.05)


def test_an_end_is_booked_once_and_not_before_it_came(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    end = end_in(ledger, 1.0)
    issue(ledger, "soon", expires_at=end)
    issue(ledger, "with-grace", expires_at=end, overrides={"grace_seconds": 3600})
    issue(ledger, "never")
    stopped = issue(ledger, "stopped", expires_at=end)
    reason = {"id": "s-1", "license": stopped, "reason": "x"}
    ledger.run("suspend_license", reason).result()
    before = swept(embedded_database, ledger)
    assert before.expired in ([], ["soon"])  # a slow machine may be past it already
    wait_until(ledger, end)
    after = swept(embedded_database, ledger)
    assert before.expired + after.expired == ["soon"]
    assert swept(embedded_database, ledger).expired == []
    renewal = {"id": "r-1", "license": "soon", "expires_at": end_in(ledger, 1.0)}
    ledger.run("renew_license", renewal).result()
    wait_until(ledger, renewal["expires_at"])
    assert swept(embedded_database, ledger).expired == ["soon"]
    names = embedded_database.query(
        "SELECT count(*) FROM events WHERE name = 'license_expired' AND actor = 'housekeeping'"
    )
    assert names == [(2,)]


def test_views_that_are_behind_do_no_harm(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    """What the log says counts: a licence that was renewed meanwhile is left alone."""
    end = end_in(ledger, 0.5)
    issue(ledger, "renewed", expires_at=end)
    with closing(PostgresEventStore(embedded_database.app_url)) as store:
        catch_up(embedded_database.parts, store.head().position)
        renewal = {"id": "r-1", "license": "renewed", "expires_at": "2090-01-01T00:00:00Z"}
        ledger.run("renew_license", renewal).result()
        wait_until(ledger, end)
        head = store.head().position
        assert sweep(ledger, store).expired == []
        assert store.head().position == head


def test_a_new_list_suspends_those_with_an_active_device_in_a_country_of_it(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    screened: dict[str, Any] = {"countries": {}}
    for name, countries in (
        ("left", ("SY", "DE")),
        ("moved", ("DE", "sy")),
        ("hidden", ("SY", "DE")),
        ("unknown", ()),
        ("l" * 128, ("SY",)),
    ):
        issue(ledger, name, deployment="on_premise", overrides=screened)
        for number, country in enumerate(countries):
            device = {"id": f"{name[:50]}-{number}", "license": name, "facts": {"country": country}}
            ledger.run("activate_license", device).result()
    gone = {"id": "gone", "license": "left", "device": "left-0"}
    ledger.run("deactivate_license", gone).result()
    ledger.run("publish_export_list", {"id": "e-1", "countries": ["SY"]}).result()
    found = swept(embedded_database, ledger)
    assert sorted(found.suspended) == ["hidden", "l" * 128, "moved"]
    assert swept(embedded_database, ledger).suspended == []
    validation = {"id": "v-1", "license": "moved", "model": MODEL, "facts": {"country": "DE"}}
    refused = ledger.run("validate_license", validation)
    assert refused.code == "license_suspended"
    problem = refused.problem()
    assert problem is not None
    assert problem.facts["reason"] == "export list version 1"


def test_the_server_does_it_without_being_asked(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    end = end_in(ledger, 0.3)
    issue(ledger, "soon", expires_at=end)
    catch_up(embedded_database.parts, ledger.store.head().position)
    house = Housekeeping(ledger, embedded_database.parts, every_seconds=0.1)
    try:
        until = time.monotonic() + 30
        found: list[tuple[object, ...]] = []
        while not found and time.monotonic() < until:
            found = embedded_database.query(
                "SELECT stream FROM events WHERE name = 'license_expired'"
            )
            time.sleep(0.05)
        assert found == [("license-soon",)]
    finally:
        house.stop()
