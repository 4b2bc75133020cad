"""kill -9 of writers of pipelines: a run has all of its stages or none, and closes as a whole."""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from application.tollbook import Tollbook
from entrypoints.bootstrap import Database, tollbook_on
from tests.faults.invariants import assert_sound
from tests.faults.rounds import rounds
from tests.integration.embedded_postgres_helpers import ROOT
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.ledger import USAGE, a_customer, open_ledger
from tests.support.pipelines import (
    STAGES,
    publish_pipeline,
    release_pipeline,
    reserve_pipeline,
    settle_pipeline,
)
from tests.support.sizes import in_full_or

CUSTOMER = "cust-1"
ENDS = ("reservation_settled", "reservation_released")


def work(ledger: Tollbook, name: str, chance: random.Random) -> None:
    """Reserve runs and close them in one way or another, until killed."""
    for number in range(100_000):
        run = f"{name}-{number}"
        reserve_pipeline(ledger, run)
        ending = chance.random()
        if ending < 0.5:
            settle_pipeline(ledger, run, write=USAGE)
        elif ending < 0.8:
            release_pipeline(ledger, run)


def started(database: TestDatabase, name: str, seed: int) -> subprocess.Popen[bytes]:
    """Start a process that works, without waiting for it."""
    urls = (database.owner_url, database.app_url)
    module = "tests.faults.test_pipelines"
    return subprocess.Popen([sys.executable, "-m", module, *urls, name, str(seed)], cwd=ROOT)


def stages_of(database: TestDatabase) -> dict[str, Counter[str]]:
    """Return how many events of each kind the stages of each run have, and the run itself."""
    found: dict[str, Counter[str]] = {}
    rows: list[Any] = database.query(
        "SELECT name, stream FROM events "
        "WHERE stream LIKE 'reservation-%' OR stream LIKE 'stages-%' ORDER BY position"
    )
    for name, stream in rows:
        kind, _, whose = stream.partition("-")
        run = whose if kind == "stages" else whose.rpartition(".")[0]
        found.setdefault(run, Counter())["ended" if name in ENDS else name] += 1
    return found


def test_a_killed_writer_leaves_no_part_of_a_run(
    embedded_database: TestDatabase, seed: int
) -> None:
    chance = random.Random(seed)
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger, CUSTOMER, amount="1000")
        publish_pipeline(ledger).result()
    for number in rounds(in_full_or(2, 3)):
        before = len(stages_of(embedded_database))
        writers = [started(embedded_database, f"{side}{number}", seed) for side in "ab"]
        deadline = time.monotonic() + 60
        while len(stages_of(embedded_database)) < before + 20:
            assert time.monotonic() < deadline, "the writers do not get on"
            time.sleep(chance.uniform(0.0, 0.05))
        for writer in writers:
            time.sleep(chance.uniform(0.0, 0.1))
            writer.kill()
            writer.wait(60)
        runs = stages_of(embedded_database)
        for run, events in runs.items():
            assert events["reservation_held"] == len(STAGES), run
            assert events["pipeline_reserved"] == 1, run
            closed = events["pipeline_settled"] + events["pipeline_released"]
            assert events["ended"] == closed * len(STAGES), run
        assert_sound(embedded_database.super_url)
        with open_ledger(embedded_database) as ledger:
            for run in list(runs)[-4:]:
                assert reserve_pipeline(ledger, run).repeated
                answer = release_pipeline(ledger, run, f"late-{run}")
                assert answer.code in ("done", "already_settled", "already_released")
        assert_sound(embedded_database.super_url)


if __name__ == "__main__":
    assert Path.cwd() == ROOT
    with tollbook_on(Database(sys.argv[1], sys.argv[2], MASTER_KEY)) as opened:
        work(opened, sys.argv[3], random.Random(f"{sys.argv[4]}{sys.argv[3]}"))
