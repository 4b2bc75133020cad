"""kill -9 of `tollbook project` at random points, and of PostgreSQL below it: no row doubles."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from application.tollbook import Tollbook
from entrypoints import projecting
from entrypoints.bootstrap import prepare_views, tollbook_on
from entrypoints.projecting import Following, rebuild
from projections import checkpoint
from tests.faults.own_server import OwnServer
from tests.faults.rounds import rounds
from tests.integration.embedded_postgres_helpers import ROOT
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger, reserve, settle
from tests.support.sizes import in_full_or
from tests.support.triton import wait_until
from tests.support.views import dump, project, run_of

CUSTOMERS = ("cust-1", "cust-2", "cust-3")


@contextmanager
def loaded(ledger: Tollbook, prefix: str) -> Iterator[None]:
    """Reserve and settle for several customers, all through the block."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        number = 0
        try:
            while not stop.is_set():
                name = f"{prefix}-{number}"
                reserve(ledger, name, CUSTOMERS[number % len(CUSTOMERS)]).result()
                settle(ledger, name).result()
                number += 1
        except BaseException as error:
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()
    assert failures == []


def started(database: TestDatabase) -> subprocess.Popen[bytes]:
    """Start `tollbook project` on a database."""
    return subprocess.Popen(
        [sys.executable, "-m", "tollbook", "project", "--database", database.owner_url],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_a_killed_projector_doubles_and_loses_no_row(
    embedded_database: TestDatabase, seed: int
) -> None:
    chance = random.Random(seed)
    with open_ledger(embedded_database) as ledger:
        for customer in CUSTOMERS:
            a_customer(ledger, customer, amount="100")
        reached = []
        for number in rounds(in_full_or(2, 4)):
            before = checkpoint.position(run_of(ledger))
            with loaded(ledger, f"k{number}"):
                process = started(embedded_database)
                deadline = time.monotonic() + 60
                while checkpoint.position(run_of(ledger)) == before:
                    assert process.poll() is None, process.communicate()
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                time.sleep(chance.uniform(0.0, 0.3))
                process.kill()
                assert process.communicate(timeout=60)[1] == b""
            reached.append(checkpoint.position(run_of(ledger)))
        assert reached == sorted(set(reached))
    project(embedded_database)
    found = dump(embedded_database)
    assert found["parked_events"] == []
    rebuild(embedded_database.parts)
    assert dump(embedded_database) == found


def test_the_projector_goes_on_after_its_server_was_killed(own_server: OwnServer) -> None:
    prepare_views(own_server.parts.owner_url)
    with tollbook_on(own_server.parts) as ledger:
        a_customer(ledger)
        following = Following(own_server.parts)
        try:
            checkpoint.wait_for(run_of(ledger), ledger.store.head().position, timeout=60)
            own_server.kill_everything()
            own_server.revive()
            position = reserve(ledger, "after").result()["position"]
            checkpoint.wait_for(run_of(ledger), position, timeout=60)
        finally:
            following.stop()


def test_a_projector_whose_server_hangs_does_not_hold_up_its_process(
    own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "STOP_SECONDS", 0.2)
    prepare_views(own_server.parts.owner_url)
    with tollbook_on(own_server.parts) as ledger:
        a_customer(ledger)
        following = Following(own_server.parts)
        checkpoint.wait_for(run_of(ledger), ledger.store.head().position, timeout=60)
        with own_server.paused():
            time.sleep(1)  # longer than it rests: it is asking by now
            following.stop()
            assert following.is_alive()
        wait_until(lambda: not following.is_alive())
