"""`tollbook audit` on a clean ledger: what it prints, how it ends, and what it compares."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest
from tollbook import cli
from tollbook.errors import NotFound

from adapters.event_store.audit_reader import audit_reader
from application.ports import Snapshot
from application.replaying import Target, replay
from domain.balance import Balance
from domain.folding import evolve
from domain.state import balance_from_wire
from entrypoints.cli.audit import run_audit, run_replay
from entrypoints.folding import fold_in_processes
from tests.integration.audit_fixtures import audited, fill, rewrite, roots
from tests.support.databases import TestDatabase
from tests.support.ledger import open_ledger, reserve
from tests.support.shell import run_here

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ledger(database: TestDatabase) -> TestDatabase:
    """Give the test a small ledger, on the embedded server and on a plain one."""
    fill(database)
    return database


def command(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command with --json, whatever ledger the environment names."""
    with mock.patch.dict(os.environ, {"TOLLBOOK_DATA": "", "TOLLBOOK_DATABASE": ""}):
        ended = run_here(*arguments, "--json")
    document: dict[str, Any] = json.loads(ended.out)
    return ended.code, document


def test_a_clean_ledger_has_no_difference(ledger: TestDatabase) -> None:
    status, document = command("audit", "verify", "--database", ledger.owner_url)
    known = roots(ledger)
    assert status == 0
    assert document.pop("state_hash") == run_replay(ledger.parts).state_hash
    assert document == {
        "ok": True,
        "position": max(known),
        "root": known[max(known)],
        "events": max(known),
        "customers": 2,
        "differences": [],
        "differences_total": 0,
    }


def test_an_empty_ledger_has_no_difference(database: TestDatabase) -> None:
    report = audited(database)
    assert (report.ok, report.position, report.events) == (True, 0, 0)
    assert report.root == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_difference_is_listed_and_ends_with_exit_code_1(ledger: TestDatabase) -> None:
    rewrite(ledger, 4, "cust-1", "cust-9")
    status, document = command("audit", "verify", "--database", ledger.owner_url)
    assert (status, document["ok"]) == (1, False)
    assert document["differences_total"] == len(document["differences"]) > 0
    first = document["differences"][0]
    assert (first["position"], first["what"]) == (4, "leaf")
    assert set(first) == {"position", "what", "expected", "found"}


def test_the_roots_that_it_printed_before_are_confirmed(ledger: TestDatabase) -> None:
    before = roots(ledger)
    assert audited(ledger, *before.items()).ok
    with open_ledger(ledger) as tollbook:
        reserve(tollbook, "one-more").result()
    assert audited(ledger, *before.items()).ok


def test_a_root_beyond_the_end_is_a_difference(ledger: TestDatabase) -> None:
    (difference,) = audited(ledger, (999, "00" * 32)).differences
    assert (difference.position, difference.what) == (999, "root at 999")
    assert "ends at" in difference.found


@pytest.mark.parametrize("expect", ["", "7", "7:", "x:00", f"7:{'0' * 63}", f"-1:{'0' * 64}"])
def test_an_expectation_of_another_form_is_wrong_usage(expect: str, tmp_path: Path) -> None:
    arguments = ["audit", "verify", "--data", str(tmp_path), f"--expect={expect}"]
    assert cli.main(arguments) == 2


def test_a_folder_without_a_ledger_is_wrong_usage(tmp_path: Path) -> None:
    status, problem = command("audit", "verify", "--data", str(tmp_path / "none"))
    assert (status, problem["code"]) == (2, "invalid")
    assert not (tmp_path / "none").exists()


def test_a_database_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    url = f"postgresql:///tollbook?host={tmp_path}"
    status, problem = command("audit", "verify", "--database", url)
    assert (status, problem["code"]) == (4, "unavailable")


def test_a_replay_to_the_head_ends_where_the_audit_does(ledger: TestDatabase) -> None:
    status, document = command("audit", "replay", "--database", ledger.owner_url)
    report = run_audit(ledger.parts)
    assert status == 0
    assert document["position"] == report.position
    assert (document["root"], document["state_hash"]) == (report.root, report.state_hash)
    assert document["customers"] == 2
    assert document["price_books"] == 1
    assert document["open_reservations"] == 2


def test_several_processes_come_to_the_same_state_as_one(ledger: TestDatabase) -> None:
    url = ledger.parts.app_url
    with audit_reader(url) as reader:
        together = replay(reader, fold=fold_in_processes(url, lambda _: None))
    assert together == run_replay(ledger.parts)


def test_a_replay_ends_at_a_position_or_at_an_instant(ledger: TestDatabase) -> None:
    known = roots(ledger)
    times: dict[Any, Any] = {
        row[0]: row[1] for row in ledger.query("SELECT position, recorded_at FROM events")
    }
    for position in known:
        there = run_replay(ledger.parts, Target(position=position))
        assert (there.position, there.root) == (position, known[position])
        assert there.recorded_at == times[position]
        instant = run_replay(ledger.parts, Target(instant=there.recorded_at))
        last = max(each for each, at in times.items() if at == there.recorded_at)
        assert instant.position == last
    assert run_replay(ledger.parts, Target(position=0)).position == 0


def test_a_replay_beyond_the_end_is_refused(ledger: TestDatabase) -> None:
    with pytest.raises(NotFound):
        run_replay(ledger.parts, Target(position=999))
    status, problem = command("audit", "replay", "--to", "soon", "--database", ledger.owner_url)
    assert (status, problem["field"]) == (2, "to")


def test_the_state_hash_does_not_depend_on_snapshots_or_on_the_process(
    ledger: TestDatabase,
) -> None:
    before = run_replay(ledger.parts)
    with open_ledger(ledger) as tollbook:
        balance = tollbook.balance_state("cust-1")
        snapshot = balance._replace(granted=7), before.position
        tollbook.store.save_snapshots([Snapshot(*snapshot)])
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "tollbook", "audit", "replay", "--json"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "TOLLBOOK_DATABASE": ledger.owner_url,
            },
        )
        assert json.loads(done.stdout)["state_hash"] == before.state_hash


def test_a_snapshot_equals_the_fold_at_its_event(ledger: TestDatabase) -> None:
    """The snapshot lies behind the head, so that it is compared with the past."""
    with open_ledger(ledger) as tollbook:
        events = list(tollbook.store.customer_events("cust-1", 0, 9))
        balance, position = Balance(), events[-1].position
        for recorded in events:
            balance = evolve(balance, recorded.event, recorded.recorded_at)
        tollbook.store.save_snapshots([Snapshot(balance, position)])
    assert audited(ledger).ok
    ((text,),) = ledger.query("SELECT data FROM snapshots")
    stored = json.loads(str(text))
    stored["balance"]["granted"] = "7.000000000000"
    assert balance_from_wire(stored["balance"]).granted == 7 * 10**12
    ledger.query("UPDATE snapshots SET data = %s", json.dumps(stored))
    (difference,) = audited(ledger).differences
    assert (difference.position, difference.what) == (position, "snapshot of cust-1: granted")


def test_an_audit_sees_one_instant_while_others_write(ledger: TestDatabase) -> None:
    with audit_reader(ledger.app_url) as reader:
        before = replay(reader)
        with open_ledger(ledger) as tollbook:
            reserve(tollbook, "meanwhile").result()
        assert replay(reader) == before
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader._connection.execute("CREATE TABLE anything ()")
