"""Housekeeping: what time and a new export list have made due for licences becomes events, once."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tollbook.times import format_instant

from adapters.event_store.store import PostgresEventStore
from adapters.postgres import connect
from application.ports import Head
from application.tollbook import Tollbook
from domain.values import SECOND
from entrypoints.housekeeping import Housekeeping, Swept, sweep
from entrypoints.projecting import catch_up
from projections.model import SCHEMA
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


class Behind(PostgresEventStore):
    """A store whose log ends earlier than it does: what a sweep reads before somebody is faster."""

    stood: Head | None = None

    def head(self) -> Head:
        """Return where the log stood."""
        return super().head() if self.stood is None else self.stood


def overtaken(database: TestDatabase, ledger: Tollbook, kind: str, body: dict[str, Any]) -> Swept:
    """Sweep on what there was before a command was done."""
    with closing(Behind(database.app_url)) as store:
        store.stood = store.head()
        catch_up(database.parts, store.stood.position)
        ledger.run(kind, body).result()
        return sweep(ledger, store)


def refusals(database: TestDatabase) -> list[tuple[object, ...]]:
    """Return the ids of housekeeping's commands that were refused, in order."""
    return database.query(
        "SELECT command FROM events WHERE name = 'command_refused' AND actor = 'housekeeping'"
        " ORDER BY position"
    )


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
    end = end_in(ledger, 1.0)
    issue(ledger, "renewed", expires_at=end)
    with closing(PostgresEventStore(embedded_database.app_url)) as store:
        catch_up(embedded_database.parts, store.head().position)
        renewal = {"id": "r-1", "license": "renewed", "expires_at": "2090-01-01T00:00:00Z"}
        ledger.run("renew_license", renewal).result()
        wait_until(ledger, end)
        head = store.head().position
        assert sweep(ledger, store).expired == []
        assert store.head().position == head


def test_an_end_is_booked_again_each_time_the_licence_came_back(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    """By a renewal whose end comes too, and under the same end by a reinstatement."""
    for name in ("renewed", "reinstated"):
        issue(ledger, name, expires_at=end_in(ledger, 1.5))
    for number in range(3):
        end = end_in(ledger, 1.6)
        if number:
            renewal = {"id": f"r-{number}", "license": "renewed", "expires_at": end}
            ledger.run("renew_license", renewal).result()
            stopped = {"id": f"s-{number}", "license": "reinstated", "reason": "x"}
            ledger.run("suspend_license", stopped).result()
            back = {"id": f"b-{number}", "license": "reinstated"}
            ledger.run("reinstate_license", back).result()
        wait_until(ledger, end)
        assert sorted(swept(embedded_database, ledger).expired) == ["reinstated", "renewed"]
        assert swept(embedded_database, ledger).expired == []
    names = embedded_database.query(
        "SELECT stream, count(*) FROM events WHERE name = 'license_expired' GROUP BY 1 ORDER BY 1"
    )
    assert names == [("license-reinstated", 3), ("license-renewed", 3)]
    assert refusals(embedded_database) == []


def test_an_end_that_was_refused_in_a_race_is_booked_at_the_next_sweep(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    end = end_in(ledger, 1.0)
    issue(ledger, "raced", expires_at=end)
    wait_until(ledger, end)
    stop = {"id": "s-1", "license": "raced", "reason": "x"}
    assert overtaken(embedded_database, ledger, "suspend_license", stop).expired == []
    assert len(refusals(embedded_database)) == 1
    ledger.run("reinstate_license", {"id": "b-1", "license": "raced"}).result()
    assert swept(embedded_database, ledger).expired == ["raced"]
    assert len(refusals(embedded_database)) == 1


def test_a_screening_that_was_refused_in_races_is_done_at_the_next_sweep_and_once(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    screened: dict[str, Any] = {"countries": {}}
    names = ["short", "l" * 128]
    for name in names:
        issue(ledger, name, deployment="on_premise", overrides=screened)
        device = {"id": f"d-{name[:9]}", "license": name, "facts": {"country": "SY"}}
        ledger.run("activate_license", device).result()
    ledger.run("publish_export_list", {"id": "e-1", "countries": ["SY"]}).result()
    for number, name in enumerate(names * 2):
        stop = {"id": f"s-{number}", "license": name, "reason": "x"}
        other = {"id": f"o-{number}", "license": names[1 - number % 2], "reason": "y"}
        ledger.run("suspend_license", other).result()  # so that the race is about one alone
        assert overtaken(embedded_database, ledger, "suspend_license", stop).suspended == []
        for each in names:
            back = {"id": f"b-{number}-{each[:9]}", "license": each}
            ledger.run("reinstate_license", back).result()
    raced = refusals(embedded_database)
    assert len(set(raced)) == len(raced) == 4
    assert sorted(swept(embedded_database, ledger).suspended) == sorted(names)
    for name in names:
        ledger.run("reinstate_license", {"id": f"b-{name[:9]}", "license": name}).result()
    head = ledger.store.head().position
    assert swept(embedded_database, ledger).suspended == []  # somebody has looked into it
    assert ledger.store.head().position == head
    assert refusals(embedded_database) == raced


def test_an_id_that_somebody_else_has_used_stops_no_housekeeping(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    end = end_in(ledger, 2.0)  # three commands come before it
    issue(ledger, "mine", expires_at=end)
    issue(ledger, "other")
    early = ledger.run("expire_license", {"id": "expire-1-mine", "license": "mine"})
    assert early.code == "license_not_expired"
    ledger.run("expire_license", {"id": "expire-1-mine.1", "license": "other"})
    wait_until(ledger, end)
    assert swept(embedded_database, ledger).expired == ["mine"]


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


def test_who_stops_does_not_wait_for_a_sweep_that_hangs(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    catch_up(embedded_database.parts, ledger.store.head().position)
    hung = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND query LIKE %s AND datname = current_database()"
    )
    with closing(connect(embedded_database.super_url)) as locking:
        locking.execute("BEGIN")
        locking.execute(f"LOCK TABLE {SCHEMA}.licenses")
        house = Housekeeping(ledger, embedded_database.parts)
        try:
            until = time.monotonic() + 30
            while embedded_database.query(hung, "%licenses%") == [(0,)]:
                assert time.monotonic() < until
                time.sleep(0.02)
            house.stop()
            assert embedded_database.query(hung, "%licenses%") != [(0,)], "it was waited for"
        finally:
            locking.execute("ROLLBACK")
            house.stop()


def test_the_server_does_it_without_being_asked(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    end = end_in(ledger, 1.0)
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
