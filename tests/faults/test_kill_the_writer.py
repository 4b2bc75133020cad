"""kill -9 of a writing process at random points: what it had promised stands, and nothing twice."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.invariants import assert_snapshots_agree, assert_sound
from tests.faults.load import CUSTOMERS, Diary, assert_promises_kept, assert_same_answers
from tests.faults.rounds import rounds
from tests.integration.embedded_postgres_helpers import ROOT
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger
from tests.support.sizes import in_full_or

ROUNDS = in_full_or(2, 4)
ENOUGH = 120
"""So many lines at least are written in each round."""


@contextmanager
def started(
    database: TestDatabase, diary: Diary, name: str, seed: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that loads the database, from when it has promised something."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.faults.load", database.owner_url, database.app_url),
            *(str(diary.path), name, str(seed)),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            before = diary.path.stat().st_size
            deadline = time.monotonic() + 60
            while diary.path.stat().st_size == before:
                assert process.poll() is None, "the writer did not start"
                assert time.monotonic() < deadline, "the writer did not start"
                time.sleep(0.005)
            yield process
        finally:
            process.kill()


def written(diary: Diary, lines: int) -> None:
    """Wait until so many commands have been promised: a busy machine takes longer over them."""
    deadline = time.monotonic() + 60
    while diary.path.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < deadline, "the writers do not get on"
        time.sleep(0.02)


def all_have_snapshots(database: TestDatabase) -> None:
    """Wait until every customer has had the events of a snapshot; chance may favour some."""
    deadline = time.monotonic() + 60
    streams = "SELECT DISTINCT stream FROM snapshots WHERE stream LIKE 'balance-%'"
    while len(database.query(streams)) < len(CUSTOMERS):
        assert time.monotonic() < deadline, "not every customer is written to"
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
    for number in rounds(ROUNDS):
        diary = Diary(tmp_path / f"diary-{number}")
        with (
            started(embedded_database, diary, f"a{number}", seed) as one,
            started(embedded_database, diary, f"b{number}", seed) as other,
        ):
            time.sleep(chance.uniform(0.0, 0.6))
            written(diary, ENOUGH)
            if number == ROUNDS - 1:
                all_have_snapshots(embedded_database)
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
