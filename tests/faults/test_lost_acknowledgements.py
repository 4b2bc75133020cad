"""The commit is done and its answer lost: found again, answered as success, never done twice."""

import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tollbook.errors import Conflict

from application import committing
from application.jobs import Item, Job
from application.ports import Rider
from application.tollbook import Tollbook
from domain.commands import ChargeUsage, Reserve
from entrypoints.bootstrap import Database, tollbook_on
from tests.faults.cutting_proxy import CUTS, CuttingProxy
from tests.faults.invariants import assert_sound
from tests.faults.load import (
    CUSTOMERS,
    Diary,
    Load,
    assert_promises_kept,
    assert_same_answers,
)
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.ledger import MODEL, USAGE, a_customer, open_ledger, reserve


@contextmanager
def proxied(database: TestDatabase) -> Iterator[tuple[CuttingProxy, Tollbook]]:
    """Open a Tollbook through a proxy that lets everything pass until told otherwise."""
    with tempfile.TemporaryDirectory(prefix="tollbook-cut-") as folder:
        proxy = CuttingProxy(database.app_url, Path(folder) / "socket", lambda: None)
        try:
            with tollbook_on(Database(database.owner_url, proxy.url, MASTER_KEY)) as ledger:
                yield proxy, ledger
                proxy.refusing, proxy.choose = False, lambda: None
        finally:
            proxy.close()


def once(cut: str) -> Iterator[str | None]:
    """Cut the first commit, and no other."""
    yield cut
    while True:
        yield None


def cut_next(proxy: CuttingProxy, cut: str) -> None:
    """Cut the next commit."""
    cuts = once(cut)
    proxy.choose = lambda: next(cuts)


@pytest.fixture(params=["optimistic", "locked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Commit optimistically, or as a writer does that has lost the race too often."""
    if request.param == "locked":
        monkeypatch.setattr(committing, "LOSSES_BEFORE_LOCK", 0)
    return str(request.param)


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_commit_has_its_effect_once(
    embedded_database: TestDatabase, way: str, cut: str
) -> None:
    with proxied(embedded_database) as (proxy, ledger):
        a_customer(ledger)
        cut_next(proxy, cut)
        answer = reserve(ledger, "r-1")
        assert proxy.cuts == 1
        assert answer.code == "done"
        assert reserve(ledger, "r-1").recorded == answer.recorded
        assert len(assert_sound(embedded_database.super_url)["cust-1"].holds) == 1


def test_an_error_at_the_commit_itself_is_not_taken_for_success(
    embedded_database: TestDatabase,
) -> None:
    """The row with the function's `ok` comes before the commit, which may still fail."""
    with proxied(embedded_database) as (proxy, ledger):
        a_customer(ledger)
        cut_next(proxy, "error")
        assert reserve(ledger, "r-1").code == "unavailable"
        assert proxy.cuts == 1
        assert assert_sound(embedded_database.super_url)["cust-1"].holds == {}
        assert reserve(ledger, "r-1").code == "done"
    assert len(assert_sound(embedded_database.super_url)["cust-1"].holds) == 1


def worked(load: Load) -> None:
    """Send commands from four threads, to the end of the last."""
    threads = [
        threading.Thread(target=load.work, args=(n, threading.Event(), 40)) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)


@pytest.mark.parametrize("lock", [2, 0], ids=["optimistic", "locked"])
def test_random_cuts_lose_nothing_and_double_nothing(
    embedded_database: TestDatabase,
    tmp_path: Path,
    seed: int,
    lock: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database is there again at once, so every command must get its real answer."""
    monkeypatch.setattr(committing, "LOSSES_BEFORE_LOCK", lock)
    chance = random.Random(seed)
    diary = Diary(tmp_path / "diary")
    with proxied(embedded_database) as (proxy, ledger):
        for customer in CUSTOMERS:
            a_customer(ledger, customer, amount="50")
        proxy.choose = lambda: chance.choice(CUTS) if chance.random() < 0.2 else None
        for number in range(20):  # chance may spare nearly every commit of one load
            worked(Load(ledger, diary, f"x{number}", seed))
            if proxy.cuts > 5:
                break
        assert proxy.cuts > 5
    lines = diary.lines()
    assert not {line["code"] for line in lines if "code" in line} & {"unavailable", "unknown"}
    assert_sound(embedded_database.super_url)
    assert_promises_kept(embedded_database.super_url, lines)
    with open_ledger(embedded_database) as fresh:
        assert_same_answers(fresh, lines)


@pytest.mark.parametrize("cut", ["during", "after"])
def test_an_outcome_that_nobody_can_look_up_is_unknown(
    embedded_database: TestDatabase, way: str, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stays away after the commit: `unavailable` would say that nothing was done."""
    monkeypatch.setattr(committing, "PATIENCE_SECONDS", 0.5)
    with proxied(embedded_database) as (proxy, ledger):
        a_customer(ledger)

        def cut_and_refuse() -> str:
            proxy.refusing = True
            return cut

        proxy.choose = cut_and_refuse
        assert reserve(ledger, "r-1").code == "unknown"
        proxy.choose, proxy.refusing = lambda: None, False
        again = reserve(ledger, "r-1")
        assert again.code == "done"
        assert ledger.outcome("reserve", "cust-1", "r-1").recorded == again.recorded
    assert len(assert_sound(embedded_database.super_url)["cust-1"].holds) == 1


def queued(ledger: Tollbook, name: str) -> str:
    """Reserve through the executor's own thread, as under load; return the code of the answer."""
    command = Reserve(id=name, customer="cust-1", model=MODEL, estimate=USAGE)
    job = Job([Item(command)])
    job.expect_wait()
    ledger.executor.submit(job)
    assert job.wait(15), "the executor answers nobody any longer"
    return job.answers()[0].code


def test_the_executor_outlives_a_database_that_is_away(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "PATIENCE_SECONDS", 0.5)
    with proxied(embedded_database) as (proxy, ledger):
        a_customer(ledger)
        assert queued(ledger, "r-1") == "done"
        proxy.refusing = True
        proxy.cut_everybody()
        codes = [queued(ledger, f"away-{number}") for number in range(3)]
        assert set(codes) <= {"unavailable", "unknown"}
        proxy.refusing = False
        assert [queued(ledger, f"back-{number}") for number in range(3)] == ["done"] * 3
    assert_sound(embedded_database.super_url)


def settling(ledger: Tollbook, name: str, reservation: str) -> ChargeUsage:
    """Return the usage record of a reservation, as a stream worker sends it again and again."""
    return ChargeUsage(
        id=name,
        source="//meter",
        customer="cust-1",
        model=MODEL,
        usage=USAGE,
        occurred_at=ledger.reservation(reservation).opened_at,
        reservation=reservation,
    )


def settled(ledger: Tollbook, expected: int, following: int) -> str:
    """Settle r-1 as a stream worker does, moving its offset; return the code of the answer."""
    record = settling(ledger, "m-1", "r-1")
    rider = Rider("kafka", "usage", 0, expected, following)
    try:
        return ledger.executor.execute((record,), riders=(rider,))[0].code
    except Conflict as error:
        return error.code


@pytest.mark.parametrize("cut", CUTS)
def test_a_worker_whose_offset_moved_is_not_taken_for_a_zombie(
    embedded_database: TestDatabase, way: str, cut: str
) -> None:
    """Its own commit moved the offset: deciding again must not fence it."""
    with proxied(embedded_database) as (proxy, ledger):
        a_customer(ledger)
        reserve(ledger, "r-1").result()
        assert settled(ledger, 0, 5) == "done"
        cut_next(proxy, cut)
        assert settled(ledger, 5, 9) == "done", "a batch of repeats moves the offset alone"
        assert embedded_database.query("SELECT next_offset FROM stream_offsets") == [(9,)]


@pytest.mark.parametrize("cut", CUTS)
def test_a_first_settlement_and_its_offset_survive_a_cut(
    embedded_database: TestDatabase, way: str, cut: str
) -> None:
    with proxied(embedded_database) as (proxy, ledger):
        a_customer(ledger)
        reserve(ledger, "r-1").result()
        reserve(ledger, "r-2").result()
        assert settled(ledger, 0, 5) == "done"
        record = settling(ledger, "m-2", "r-2")
        cut_next(proxy, cut)
        rider = Rider("kafka", "usage", 0, 5, 9)
        assert ledger.executor.execute((record,), riders=(rider,))[0].code == "done"
        assert embedded_database.query("SELECT next_offset FROM stream_offsets") == [(9,)]
    assert assert_sound(embedded_database.super_url)["cust-1"].spent == 2 * 25 * 10**9
