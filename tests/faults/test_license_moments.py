"""The moment at which a licence ends, a window turns or a seat is free: exact, and the ledger's."""

import json
import time
from collections import Counter

import pytest
from tollbook.times import format_instant, parse_instant

from application.loading import load_balance
from domain.license_use import live
from tests.faults.clocks import SECOND, MonotonicClock, ledger_by
from tests.faults.invariants import assert_sound
from tests.faults.licensed_load import issue, lease, started, tell, told_by, validate
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger


def test_nothing_is_admitted_after_the_position_of_the_revocation(
    embedded_database: TestDatabase,
) -> None:
    """One writer revokes while three others, each a process, reserve and validate."""
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger, amount="1000")
        issue(ledger, limits=[])
        processes = [started(embedded_database, f"r{number}") for number in range(3)]
        for process in processes:
            tell(process, "go on")
        while ledger.store.head().position < 60:
            time.sleep(0.01)
        body = {"id": "end", "license": "lic", "reason": "not paid"}
        revoked = ledger.run("revoke_license", body)
        revoked.result()
        told = told_by(processes)
    assert revoked.recorded is not None
    position = revoked.recorded.position
    codes = Counter(code for *_, code, _ in told)
    assert codes.keys() == {"done", "license_revoked"}, codes
    for _, name, code, at in told:
        assert (code == "done") == (at < position), (name, code, at, position)
    assert_sound(embedded_database.super_url)


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [40, -40])
def test_a_clock_that_jumps_gives_nobody_another_window(
    embedded_database: TestDatabase, days: int
) -> None:
    """The window is that of the database's time, whatever the writer believes."""
    clock = MonotonicClock()
    monthly = {"id": "rate", "unit": "requests", "limit": 1, "per": "period"}
    with ledger_by(clock, embedded_database) as ledger:
        a_customer(ledger)
        issue(ledger, limits=[monthly])
        first = validate(ledger, "first")
        clock.shift += days * 24 * 3600 * SECOND
        second = validate(ledger, "second")
        events = [answer.recorded for answer in (first, second)]
        months = [format_instant(each.recorded_at)[:7] for each in events if each is not None]
        same = months[0] == months[1]  # as it is, unless one ends at this very moment
        assert (second.code == "license_limit_reached") == same
    assert_sound(embedded_database.super_url)


def test_a_clock_set_forward_neither_begins_nor_ends_a_licence_early(
    embedded_database: TestDatabase,
) -> None:
    clock = MonotonicClock()
    with ledger_by(clock, embedded_database) as ledger:
        a_customer(ledger)
        soon = format_instant(time.time_ns() // 1000 + 30 * 60 * 10**6)
        terms = {"customer": "cust-1", "template": "free", "overrides": {"watermark": "none"}}
        keys = {"key_hash": "0" * 32, "key_hint": "abcd"}
        ledger.run("issue_license", {"id": "lic", **terms, **keys, "expires_at": soon}).result()
        early = {"id": "later", **terms, "key_hash": "1" * 32, "key_hint": "abcd"}
        ledger.run("issue_license", {**early, "starts_at": soon}).result()
        clock.shift += 3600 * SECOND
        assert validate(ledger, "v").code == "done"
        assert validate(ledger, "w", license="later").code == "license_not_started"


# --- seats ----------------------------------------------------------------------------------------


def test_threads_and_processes_never_hold_more_seats_than_there_are(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        issue(ledger, seats=3, lease_seconds=300)
        processes = [started(embedded_database, f"seats{number}") for number in range(2)]
        for process in processes:
            tell(process, "seats")
        told = told_by(processes)
        codes = Counter(code for *_, code, _ in told)
        assert codes.keys() <= {"done", "license_seats_taken"}
        assert codes["license_seats_taken"] > 0
    taken: set[str] = set()
    for name, held in embedded_database.query(
        "SELECT name, data::jsonb ->> 'lease' FROM events "
        "WHERE name IN ('seat_leased', 'seat_returned') ORDER BY position"
    ):
        (taken.add if name == "seat_leased" else taken.remove)(str(held))
        assert len(taken) <= 3
    assert_sound(embedded_database.super_url)


def test_the_seat_of_a_holder_who_was_killed_is_free_when_the_lease_runs_out(
    embedded_database: TestDatabase,
) -> None:
    """Nobody tells the ledger of the crash, and nobody has to."""
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        issue(ledger, seats=1)
    process = started(embedded_database, "holder")
    tell(process, "seat")
    assert process.stdout is not None
    code, expires_at = json.loads(process.stdout.readline())
    process.kill()
    process.communicate(timeout=60)
    assert code == "done"
    with open_ledger(embedded_database) as ledger:
        assert lease(ledger, "early").code == "license_seats_taken"
        store = ledger.store
        use = load_balance(store, "cust-1", store.head().position).uses.get("lic")
        assert len(live(use, parse_instant(expires_at) - 1)) == 1
        assert live(use, parse_instant(expires_at)) == ()
    assert_sound(embedded_database.super_url)
