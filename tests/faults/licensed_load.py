"""Licences under load: processes that use one up, take its seats, or are killed with one."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from adapters.event_store.store import PostgresEventStore
from application.answers import Answer
from application.loading import load_balance
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database, tollbook_on
from tests.integration.embedded_postgres_helpers import ROOT
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.ledger import MODEL, reserve

EACH = 10
"""How often each thread uses the licence."""

Told = list[tuple[str, str, str, int]]
"""(kind, id, code, position) of each command."""


def issue(ledger: Tollbook, name: str = "lic", **overrides: Any) -> None:
    """Issue a licence of the professional tier to the customer of the tests."""
    terms = {"customer": "cust-1", "template": "professional", "deployment": "hybrid"}
    body = {"key_hash": f"{len(name):032x}", "key_hint": "abcd", "overrides": overrides}
    ledger.run("issue_license", {"id": name, **terms, **body}).result()


def validate(ledger: Tollbook, name: str, **more: Any) -> Answer:
    """Validate a request in development."""
    facts = {"environment": "development"}
    body = {"id": name, "license": "lic", "model": MODEL, "facts": facts}
    return ledger.run("validate_license", {**body, **more})


def hold(ledger: Tollbook, name: str, **more: Any) -> Answer:
    """Reserve under the licence."""
    facts = {"environment": "development"}
    return reserve(ledger, name, license="lic", facts=facts, **more)


def lease(ledger: Tollbook, name: str, **more: Any) -> Answer:
    """Take a seat."""
    body = {"id": name, "license": "lic", "model": MODEL, "holder": "0a" * 32}
    return ledger.run("lease_seat", {**body, **more})


def use_up(ledger: Tollbook, prefix: str, threads: int, each: int) -> Told:
    """Use the licence in every way that counts, from threads that start at the same moment.

    A thread that was to go on for longer ends when the licence is revoked.
    """
    told: Told = []
    gate = threading.Barrier(threads)

    def work(number: int) -> None:
        gate.wait(30)
        for turn in range(each):
            name = f"{prefix}-{number}-{turn}"
            use, kind = (hold, "reserve") if turn % 2 else (validate, "validate_license")
            answer = use(ledger, name)
            position = answer.recorded.position if answer.recorded else 0
            told.append((kind, name, answer.code, position))
            if turn >= EACH and answer.code == "license_revoked":
                return

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    return told


def used(database: TestDatabase) -> int:
    """Return what counts against the first limit, folded from the events."""
    store = PostgresEventStore(database.app_url)
    try:
        use = load_balance(store, "cust-1", store.head().position).uses.get("lic")
    finally:
        store.close()
    return use.counts[0].units if use else 0


def started(database: TestDatabase, *arguments: str) -> subprocess.Popen[str]:
    """Start this module as a process, and wait until it has opened the ledger."""
    urls = (database.owner_url, database.app_url)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.licensed_load", *urls, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Send a line to a process."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def told_by(processes: list[subprocess.Popen[str]]) -> Told:
    """Wait for processes, and return all that they were answered."""
    told: Told = []
    for process in processes:
        lines = json.loads(process.communicate(timeout=120)[0])
        told += [(str(kind), str(name), str(code), int(at)) for kind, name, code, at in lines]
    return told


def take_seats(ledger: Tollbook, prefix: str) -> Told:
    """Take seats and give them back from several threads."""
    told: Told = []

    def work(number: int) -> None:
        for turn in range(20):
            name = f"{prefix}-{number}-{turn}"
            answer = lease(ledger, name)
            position = answer.recorded.position if answer.recorded else 0
            told.append(("lease_seat", name, answer.code, position))
            if answer.done:
                body = {"id": f"back-{name}", "license": "lic", "lease": name}
                ledger.run("return_lease", body).result()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    return told


def main(owner_url: str, app_url: str, name: str) -> None:
    """Do in a process of its own what the first line of standard input says."""
    with tollbook_on(Database(owner_url, app_url, MASTER_KEY)) as ledger:
        print("ready", flush=True)
        what = sys.stdin.readline().strip()
        if what == "seats":
            print(json.dumps(take_seats(ledger, name)))
        elif what == "seat":
            answer = lease(ledger, name)
            print(json.dumps([answer.code, answer.result()["expires_at"]]), flush=True)
            sys.stdin.readline()
        else:
            each = 10**6 if what == "go on" else EACH
            print(json.dumps(use_up(ledger, name, 8, each)))


if __name__ == "__main__":
    assert Path.cwd() == ROOT
    main(*sys.argv[1:])
