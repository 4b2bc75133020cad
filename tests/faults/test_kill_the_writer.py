"""kill -9 of a writing process at random points: what it had promised stands, and nothing twice."""

import random
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.invariants import assert_snapshots_agree, assert_sound
from tests.faults.load import CUSTOMERS, Diary, assert_promises_kept, assert_same_answers
from tests.faults.rounds import rounds
from tests.integration.embedded_postgres_helpers import ROOT
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger

ENOUGH = 120
"""So many commands in each of four rounds give every customer the events of a snapshot."""


def started(database: TestDatabase, diary: Diary, name: str, seed: int) -> subprocess.Popen[bytes]:
    """Start a process that loads the database, and wait until it has promised something."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.faults.load", database.owner_url, database.app_url),
            *(str(diary.path), name, str(seed)),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    before = diary.path.stat().st_size
    deadline = time.monotonic() + 60
    while diary.path.stat().st_size == before:
        assert process.poll() is None and time.monotonic() < deadline, "the writer did not start"
        time.sleep(0.005)
    return process


def written(diary: Diary, lines: int) -> None:
    """Wait until so many commands have been promised: a busy machine takes longer over them."""
    deadline = time.monotonic() + 60
    while diary.path.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < deadline, "the writers do not get on"
        time.sleep(0.02)


def killed(process: subprocess.Popen[bytes]) -> bytes:
    """Kill a process and return what it had complained about."""
    process.kill()
    return process.communicate(timeout=60)[1]


def test_a_killed_writer_loses_nothing_it_acknowledged(
    embedded_database: TestDatabase, tmp_path: Path, seed: int
) -> None:
    """Two writers are killed, one after the other, in each round; the survivor goes on."""
    chance = random.Random(seed)
    with open_ledger(embedded_database) as ledger:
        for customer in CUSTOMERS:
            a_customer(ledger, customer, amount="30")
    for number in rounds(4):
        diary = Diary(tmp_path / f"diary-{number}")
        one = started(embedded_database, diary, f"a{number}", seed)
        other = started(embedded_database, diary, f"b{number}", seed)
        time.sleep(chance.uniform(0.0, 0.6))
        written(diary, ENOUGH)
        complaints = killed(one)
        time.sleep(chance.uniform(0.0, 0.3))
        complaints += killed(other)
        assert complaints == b""
        sums = assert_sound(embedded_database.super_url)
        with open_ledger(embedded_database) as ledger:
            holds = {
                name: dict(ledger.balance_state(name).holds.items()).keys() for name in CUSTOMERS
            }
            assert holds == {name: sums[name].holds.keys() for name in CUSTOMERS}
            assert_promises_kept(embedded_database.super_url, diary.lines())
            assert_same_answers(ledger, diary.lines())
        assert_sound(embedded_database.super_url)
    assert assert_snapshots_agree(embedded_database.app_url) == len(CUSTOMERS)
