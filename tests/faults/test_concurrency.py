"""Many threads and several processes on one balance: the floor holds and every id is answered."""

import json
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from application.tollbook import Tollbook
from entrypoints.bootstrap import Database, tollbook_on
from tests.faults.invariants import assert_sound
from tests.integration.embedded_postgres_helpers import ROOT
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.ledger import a_customer, open_ledger, reserve

THREADS = 32
PROCESSES = 4
HOLD = 25 * 10**9
"""What one reservation of these tests holds: 0.025 USD, in 10^-12."""

Answers = list[tuple[str, str, int]]
"""(id, code, position) of each command."""


def reserve_many(ledger: Tollbook, ids: list[str], threads: int) -> Answers:
    """Reserve under every id, shared out among threads that start at the same moment."""
    answers: Answers = []
    gate = threading.Barrier(threads)

    def work(mine: list[str]) -> None:
        gate.wait(30)
        for name in mine:
            answer = reserve(ledger, name)
            position = answer.recorded.position if answer.recorded else 0
            answers.append((name, answer.code, position))

    workers = [threading.Thread(target=work, args=(ids[n::threads],)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return answers


def assert_exactly_as_many_as_fit(database: TestDatabase, answers: Answers, fit: int) -> None:
    """Check the answers against the money: every hold that fits is admitted, and no other."""
    codes = Counter(code for _, code, _ in answers)
    assert codes == {"done": fit, "insufficient_balance": len(answers) - fit}
    assert len({name for name, _, _ in answers}) == len(answers)
    assert len({position for _, _, position in answers}) == len(answers)
    money = assert_sound(database.super_url)["cust-1"]
    assert (len(money.holds), money.held) == (fit, fit * HOLD)
    held = database.query(
        "SELECT count(*), sum((data::jsonb ->> 'held')::numeric) FROM events "
        "WHERE name = 'reservation_held'"
    )
    assert [(count, int(str(total).replace(".", ""))) for count, total in held] == [
        (fit, fit * HOLD)
    ]
    stored = database.query("SELECT id, position FROM command_ids WHERE kind = 'reserve'")
    assert sorted(stored) == sorted((name, position) for name, _, position in answers)


def test_threads_on_one_balance_never_pass_the_floor(embedded_database: TestDatabase) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger, amount="5.009")  # 200 holds of 0.025, and a rest that holds none
        answers = reserve_many(ledger, [f"r-{n}" for n in range(THREADS * 20)], THREADS)
        assert_exactly_as_many_as_fit(embedded_database, answers, 200)
        assert ledger.balance("cust-1").available == 9 * 10**9


def test_processes_on_one_balance_never_pass_the_floor(embedded_database: TestDatabase) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger, amount="5.009")
    command = [sys.executable, "-m", "tests.faults.test_concurrency", embedded_database.owner_url]
    processes = [
        subprocess.Popen(
            [*command, embedded_database.app_url, f"p{number}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [
        (name, code, position)
        for process in processes
        for name, code, position in json.loads(process.communicate(timeout=120)[0])
    ]
    assert len(answers) == PROCESSES * 160
    assert_exactly_as_many_as_fit(embedded_database, answers, 200)


def main(owner_url: str, app_url: str, name: str) -> None:
    """Reserve from several threads of a process of its own, once told to go."""
    with tollbook_on(Database(owner_url, app_url, MASTER_KEY)) as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(reserve_many(ledger, [f"{name}-{n}" for n in range(160)], 8)))


if __name__ == "__main__":
    assert Path.cwd() == ROOT
    main(*sys.argv[1:])
