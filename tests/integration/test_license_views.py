"""Licences: one row each, as a fold of its life says, with its use; and those that soon end."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tollbook.errors import Invalid
from tollbook.times import format_instant, parse_instant

from adapters.event_store.store import PostgresEventStore
from domain.allocation import NEVER
from domain.license_state import license_from_wire, license_to_wire
from entrypoints import projecting
from entrypoints.projecting import rebuild
from projections import devices, licenses, runner
from projections.model import Run
from tests.integration.audit_workload import Rows
from tests.integration.guarded_ledger import HOUR, MINUTE, NOON, SECOND, Guarded, guarded
from tests.integration.license_lives import random_lives
from tests.integration.license_reading import expected_licenses, histories, projected
from tests.integration.view_reading import every
from tests.support.databases import TestDatabase
from tests.support.views import dump, project, run_of, store_rows

KEY = "0123456789abcdef0123456789abcdef"
NEW_KEY = "f" * 32

SCREENED: tuple[tuple[str | None, dict[str, Any] | None], ...] = (
    ("kp", {"countries": {}}),
    ("DE", {"countries": {}}),
    ("KP", None),
    (None, {"countries": {}}),
    ("KP", {"countries": {"deny": ["FR"]}}),
    ("KP", {"countries": {}}),
)
"""Countries of activations, and overrides of the licences activated."""


@pytest.fixture
def rows(seed: int) -> Rows:
    """Return the events of a random ledger of licences."""
    return random_lives(seed)


@pytest.fixture
def run(database: TestDatabase, rows: Rows, seed: int) -> Iterator[Run]:
    """Store the random ledger, project it, and give what runs queries."""
    with projected(database, rows, seed) as found:
        yield found


def test_a_licence_is_read_back_from_the_state_format_as_it_was(rows: Rows) -> None:
    for _, state in histories(rows):
        written = json.loads(json.dumps(license_to_wire(state)))
        assert license_from_wire(state.id, written) == state


def test_there_is_one_row_for_each_licence(run: Run, rows: Rows) -> None:
    expected = expected_licenses(rows)
    assert every(licenses.page, run) == expected
    assert every(licenses.page, run, newest_first=True) == expected[::-1]
    for status in licenses.STATUSES:
        wanted = [item for item in expected if item["status"] == status]
        assert every(licenses.page, run, status=status) == wanted
    some = expected[len(expected) // 2]
    wanted = [item for item in expected if item["customer"] == some["customer"]]
    assert every(licenses.page, run, customer=some["customer"]) == wanted
    assert licenses.one(run, some["license"]) == some
    assert licenses.one(run, "nobody") is None


def end_of(item: dict[str, str], column: str) -> int:
    """Return an end of a licence as an instant."""
    return parse_instant(item[column]) if column in item else NEVER


def test_an_active_licence_reads_as_expired_from_its_end_on(run: Run, rows: Rows) -> None:
    plain = expected_licenses(rows)
    ends = sorted({end_of(item, "ends_at") for item in plain} - {NEVER})
    assert ends
    for now in {ends[0] - 1, ends[0], ends[len(ends) // 2], ends[-1]}:
        expected = [
            {**item, "status": "expired", "since": item["ends_at"]}
            if item["status"] == "active" and end_of(item, "ends_at") <= now
            else item
            for item in plain
        ]
        assert every(licenses.page, run, now=now) == expected
        for status in licenses.STATUSES:
            wanted = [item for item in expected if item["status"] == status]
            assert every(licenses.page, run, now=now, status=status) == wanted
        assert licenses.one(run, expected[0]["license"], now=now) == expected[0]


def test_active_licences_are_found_by_the_end_that_comes_first(run: Run, rows: Rows) -> None:
    active = [item for item in expected_licenses(rows) if item["status"] == "active"]
    by_expiry = sorted(active, key=lambda item: (end_of(item, "expires_at"), item["license"]))
    by_end = sorted(active, key=lambda item: (end_of(item, "ends_at"), item["license"]))
    last = rows[-1][12]
    for instant in (last, last + MINUTE, last + 30 * 24 * HOUR):
        wanted = [item for item in by_expiry if end_of(item, "expires_at") < instant]
        assert every(licenses.expiring, run, before=instant) == wanted
        wanted = [item for item in by_end if end_of(item, "ends_at") <= instant]
        assert every(licenses.ended, run, at=instant) == wanted


@pytest.mark.parametrize("after", ["", " lic", "12", "x lic", "12 \x00", "9" * 20 + " lic"])
def test_a_cursor_of_another_list_is_refused(after: str) -> None:
    with pytest.raises(Invalid):
        licenses.expiring(lambda *_: [], before=1, after=after)


def test_a_status_that_no_licence_has_is_refused() -> None:
    with pytest.raises(Invalid):
        licenses.page(lambda *_: [], status="lost")


def test_a_rebuild_in_one_process_or_several_gives_the_same_rows(
    database: TestDatabase, rows: Rows, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(rows) > 80
    found = dump(database)
    assert not found["parked_events"]
    monkeypatch.setattr(projecting, "PROCESSES", 1)
    rebuild(database.parts)
    assert dump(database) == found
    monkeypatch.setattr(runner, "SHARES_FROM", 1)
    monkeypatch.setattr(runner, "BATCH_MAX", 40)
    monkeypatch.setattr(projecting, "PROCESSES", 2)
    rebuild(database.parts)
    assert dump(database) == found


def test_a_licence_whose_issue_was_put_aside_stops_no_other(database: TestDatabase) -> None:
    rows = random_lives(3, 120)
    begun = next(index for index, row in enumerate(rows) if row[1] == "license_issued")
    name = json.loads(rows[begun][13])["license"]
    rows[begun] = (*rows[begun][:13], "{}")
    store_rows(database, rows)
    project(database)
    assert database.query("SELECT position, model FROM views.parked_events") == [(begun + 1, "*")]
    with closing(PostgresEventStore(database.app_url)) as store:
        assert licenses.one(store.run, name) is None
        assert every(licenses.page, store.run)


def issue(acme: Guarded, at: int, name: str, **more: object) -> None:
    """Issue a licence of the professional tier."""
    terms = {"template": "professional", "key_hash": KEY, "key_hint": "abcd", **more}
    acme.one(at, "issue_license", id=name, **terms).result()


def test_a_key_tells_when_it_was_last_of_use(database: TestDatabase) -> None:
    with guarded(database) as acme:
        issue(acme, NOON, "lic")
        new = {"key_hash": NEW_KEY, "key_hint": "wxyz", "overlap_seconds": 3600}
        acme.one(NOON, "rotate_license_key", license="lic", **new).result()
        acme.reserve(NOON + SECOND, license="lic", license_key=KEY).result()
        acme.reserve(NOON + MINUTE, license="lic").result()
        assert acme.reserve(NOON + HOUR, license="lic", license_key=KEY).code
        project(database)
        found = licenses.one(run_of(acme.ledger), "lic")
    assert found is not None
    assert found["keys"] == [
        {
            "hint": "abcd",
            "ends_at": format_instant(NOON + HOUR),
            "last_used_at": format_instant(NOON + SECOND),
        },
        {"hint": "wxyz"},
    ]
    assert (found["admitted"], found["denied"]) == (2, 1)
    assert found["last_used_at"] == format_instant(NOON + MINUTE)


def test_an_export_list_finds_the_licences_that_ask_for_a_country_it_names(
    database: TestDatabase,
) -> None:
    with guarded(database) as acme:
        for number, (country, overrides) in enumerate(SCREENED):
            name, key = f"lic-{number}", f"{number:032x}"
            issue(acme, NOON, name, key_hash=key, deployment="on_premise", overrides=overrides)
            for named in ("SY", country, None):
                facts = {} if named is None else {"country": named}
                acme.one(NOON, "activate_license", license=name, facts=facts).result()
        acme.one(NOON, "suspend_license", license="lic-5", reason="no").result()
        project(database)
        run = run_of(acme.ledger)
        found = licenses.in_countries(run, {"KP", "IR"}, limit=1)
        assert found.items == [{"license": "lic-0", "customer": "acme", "country": "KP"}]
        following = licenses.in_countries(run, {"KP", "IR"}, after=found.next)
        assert [item["license"] for item in following.items] == ["lic-4"]
        assert following.next is None
        assert devices.page(run, "lic-1").items[1]["facts"] == {"country": "DE"}
