"""kill -9 of PostgreSQL at random points under load: a Tollbook on it goes on when it is back."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tollbook.errors import Unavailable

from application.tollbook import Tollbook
from entrypoints.bootstrap import tollbook_on
from tests.faults.invariants import assert_sound
from tests.faults.load import CUSTOMERS, Diary, Load, assert_promises_kept, assert_same_answers
from tests.faults.own_server import OwnServer
from tests.faults.rounds import rounds
from tests.support.ledger import a_customer, reserve
from tests.support.sizes import in_full_or

THREADS = 8
KILLS = {
    "postmaster": OwnServer.kill_postmaster,
    "everything": OwnServer.kill_everything,
    "writer": OwnServer.kill_a_writer,
}


@contextmanager
def under_load(ledger: Tollbook, diary: Diary, name: str, seed: int) -> Iterator[None]:
    """Load a ledger from several threads while the block runs."""
    stop = threading.Event()
    load = Load(ledger, diary, name, seed)
    threads = [threading.Thread(target=load.work, args=(n, stop)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(120)
    assert not any(thread.is_alive() for thread in threads), "somebody waits for an answer for ever"


def acknowledged(diary: Diary) -> int:
    """Count the promises in a diary."""
    return sum(line.get("position") is not None for line in diary.lines())


@pytest.mark.parametrize("victim", KILLS)
def test_a_killed_server_loses_nothing_it_acknowledged(
    own_server: OwnServer, tmp_path: Path, seed: int, victim: str
) -> None:
    """The same executor goes on by itself; a fresh one gives the same answers."""
    chance = random.Random(f"{seed}-{victim}")
    with tollbook_on(own_server.parts) as ledger:
        for customer in CUSTOMERS:
            a_customer(ledger, customer, amount="50")
        for number in rounds(in_full_or(1, 2)):
            diary = Diary(tmp_path / f"diary-{number}")
            with under_load(ledger, diary, f"n{number}", seed):
                time.sleep(chance.uniform(0.05, 0.4))
                KILLS[victim](own_server)
                time.sleep(chance.uniform(0.0, 0.2))
                own_server.revive()
                before = acknowledged(diary)
                deadline = time.monotonic() + 60
                while acknowledged(diary) < before + 50:
                    assert time.monotonic() < deadline, "the ledger did not go on"
                    time.sleep(0.02)
            assert_sound(own_server.super_url)
            assert_promises_kept(own_server.super_url, diary.lines())
            assert_same_answers(ledger, diary.lines())
            with tollbook_on(own_server.parts) as fresh:
                assert_same_answers(fresh, diary.lines())
            assert_sound(own_server.super_url)


def test_a_read_without_a_server_says_unavailable(own_server: OwnServer) -> None:
    with tollbook_on(own_server.parts) as ledger:
        a_customer(ledger)
        own_server.kill_everything()
        for _ in range(2):
            with pytest.raises(Unavailable):
                ledger.balance("cust-1")
        own_server.revive()
        assert ledger.balance("cust-1").available == 100 * 10**12


def test_a_restart_between_two_reads_is_not_noticed(own_server: OwnServer) -> None:
    with tollbook_on(own_server.parts) as ledger:
        a_customer(ledger)
        reserve(ledger, "r-1").result()
        own_server.kill_everything()
        own_server.revive()
        assert ledger.reservation("r-1").status == "open"
