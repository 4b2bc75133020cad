"""The projector: every model's rows follow the ledger, and are the same however they came about."""

import random
import threading

import pytest
from tollbook.errors import Unavailable
from tollbook.merkle import root_of

from adapters.event_store.store import PostgresEventStore
from application.following import TooNew
from entrypoints.projecting import Following, catch_up, open_projector, rebuild
from projections import balances, checkpoint, runner, states
from projections.model import Connection
from projections.transparency_log import root_at
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger, reserve, settle
from tests.support.views import dump, folded, project, random_rows, run_of, store_rows


def test_rows_are_the_same_in_batches_of_any_size_and_from_a_rebuild(
    database: TestDatabase, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(seed)
    store_rows(database, rows)
    chance = random.Random(seed)
    position = 0
    while position < len(rows):  # each time a projector that remembers nothing
        position = project(database, min(len(rows), position + chance.randint(1, 90)))
    pieces = dump(database)
    monkeypatch.setattr(runner, "BATCH_MAX", 7)
    rebuild(database.parts)
    assert dump(database) == pieces
    monkeypatch.setattr(runner, "BATCH_MAX", 5_000)
    rebuild(database.parts)
    assert dump(database) == pieces
    assert pieces["parked_events"] == []
    assert pieces["checkpoint"][0]["position"] == len(rows)


def test_customers_who_left_memory_come_back_as_they_were(
    database: TestDatabase, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(seed, 600)
    store_rows(database, rows)
    project(database)
    wanted = dump(database)
    monkeypatch.setattr(runner, "BATCH_MAX", 10)
    monkeypatch.setattr(states, "CUSTOMERS_MAX", 1)
    rebuild(database.parts)
    found = dump(database)
    assert len(found["balance_history"]) > len(wanted["balance_history"])
    for tables in (wanted, found):
        del tables["balance_history"]
    assert found == wanted


def test_a_customers_row_says_what_a_whole_fold_says(database: TestDatabase, seed: int) -> None:
    rows = random_rows(seed)
    store_rows(database, rows)
    project(database)
    store = PostgresEventStore(database.app_url)
    page = balances.page(store.run, limit=1000)
    assert {item["id"] for item in page.items} == {row[5] for row in rows if row[5]}
    for item in page.items:
        state = folded(rows, item["id"], len(rows))
        assert item["spent"]["amount"] == f"{state.spent // 10**12}.{state.spent % 10**12:012d}"
        assert state.customer is not None
        assert item["plan"] == state.customer.plan
    first = balances.page(store.run, limit=1)
    rest = balances.page(store.run, after=first.next)
    assert first.items + rest.items == page.items
    store.close()


def test_the_root_at_any_position_is_that_of_its_leaves(
    database: TestDatabase, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.transparency_log.KEPT_EVERY", 64)
    monkeypatch.setattr("projections.transparency_log._LEAVES_AT_ONCE", 10)
    monkeypatch.setattr(runner, "BATCH_MAX", 50)
    store_rows(database, random_rows(seed))
    store = PostgresEventStore(database.app_url)
    leaves = [row[0] for row in store.run("SELECT leaf FROM events ORDER BY position")]
    for _ in range(2):  # before anything is projected, and afterwards
        for position in (0, 1, 63, 64, 65, 128, 200, len(leaves)):
            assert root_at(store.run, position) == root_of(leaves[:position]), position
        project(database)
    store.close()


def test_who_wrote_reads_it_as_soon_as_the_views_are_there(database: TestDatabase) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
        with pytest.raises(Unavailable, match="is a projector running"):
            checkpoint.wait_for(run_of(ledger), 1, timeout=0.05)
        following = Following(database.parts)
        try:
            for number in range(5):
                position = reserve(ledger, f"r{number}").result()["position"]
                checkpoint.wait_for(run_of(ledger), position, timeout=30)
                (item,) = balances.page(run_of(ledger)).items
                assert item["position"] == position
        finally:
            following.stop()


def test_the_lag_counts_events_seconds_and_what_was_left_aside(database: TestDatabase) -> None:
    store_rows(database, random_rows(1))
    store = PostgresEventStore(database.app_url)
    before = checkpoint.lag(store.run)
    assert (before["position"], before["events_behind"]) == (0, before["head"])
    project(database, before["head"] - 5)
    behind = checkpoint.lag(store.run)
    ((seconds,),) = database.query(
        "SELECT (max(recorded_at) - min(recorded_at)) FROM events WHERE position IN (%s, %s)",
        behind["position"],
        behind["head"],
    )
    assert behind["events_behind"] == 5
    assert int(behind["seconds_behind"].replace(".", "")) == seconds
    project(database)
    after = checkpoint.lag(store.run)
    assert (after["events_behind"], after["seconds_behind"], after["parked"]) == (0, "0.000000", 0)
    store.close()


def test_a_second_projector_stands_by_and_takes_over(database: TestDatabase) -> None:
    stop = threading.Event()
    with open_ledger(database) as ledger:
        a_customer(ledger)
        with open_projector(database.parts) as first, open_projector(database.parts) as second:
            assert first.lead()
            assert not second.lead()
            taking_over = threading.Thread(target=second.follow, args=(stop,))
            taking_over.start()
            try:
                assert first.catch_up() == ledger.store.head().position
                first._connection.close()
                position = reserve(ledger, "r1").result()["position"]
                checkpoint.wait_for(run_of(ledger), position, timeout=30)
            finally:
                stop.set()
                taking_over.join()


def test_two_projectors_that_ignore_the_lock_write_no_row_twice(
    database: TestDatabase, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "BATCH_MAX", 20)
    store_rows(database, random_rows(seed))
    lost: list[int] = []
    meeting, here = threading.Barrier(2, timeout=60), threading.local()
    read = checkpoint.read_mark

    def read_together(connection: Connection) -> checkpoint.Mark:
        """Let both begin at one position, so that one of them finds it taken.

        A server of other tests may have a projector in this process as well: it passes by.
        """
        mark = read(connection)
        if threading.current_thread() in threads and not hasattr(here, "met"):
            here.met = meeting.wait()
        return mark

    monkeypatch.setattr("projections.runner.read_mark", read_together)

    def work(number: int) -> None:
        with open_projector(database.parts) as projector:
            while True:
                try:
                    projector.catch_up()
                    return
                except checkpoint.MovedError:
                    lost.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.setattr("projections.runner.read_mark", read)
    together = dump(database)
    rebuild(database.parts)
    assert dump(database) == together
    assert lost, "the two never met"


def test_an_event_of_a_newer_program_stops_the_projector_before_it(
    database: TestDatabase,
) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
        reserve(ledger, "r1").result()
        head = ledger.store.head().position
        database.query(
            "INSERT INTO events SELECT position + 1, customer_sequence + 1, occurred_at, "
            "recorded_at, 1, 99, name, 'reservation-new', customer, command, causation, "
            "correlation, actor, data, leaf FROM events WHERE position = %s",
            head,
        )
        with (
            open_projector(database.parts) as projector,
            pytest.raises(TooNew, match="reservation_held version 99 is newer"),
        ):
            projector.catch_up()
        lag = checkpoint.lag(run_of(ledger))
        assert (lag["position"], lag["parked"]) == (head, 0)


def test_catching_up_leaves_the_work_to_the_projector_that_runs(database: TestDatabase) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
        following = Following(database.parts)
        try:
            for number in range(20):
                reserve(ledger, f"r{number}").result()
                settle(ledger, f"r{number}").result()
                catch_up(database.parts, ledger.store.head().position)
                assert checkpoint.position(run_of(ledger)) == ledger.store.head().position
        finally:
            following.stop()
