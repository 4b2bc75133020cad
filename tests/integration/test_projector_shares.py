"""Catching up in several processes gives the rows that one process gives, whatever goes wrong."""

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from application.following import TooNew
from entrypoints import projecting
from entrypoints.projecting import open_projector, rebuild
from projections import runner, shares
from projections.batches import Batch
from projections.shares import Pipe
from tests.support.databases import TestDatabase
from tests.support.views import dump, project, random_rows, store_rows, without_triggers


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every way be caught up by three processes; note each time that some were started."""
    monkeypatch.setattr(runner, "SHARES_FROM", 1)
    monkeypatch.setattr(shares, "BATCH_MAX", 40)
    monkeypatch.setattr(projecting, "PROCESSES", 3)
    times: list[int] = []
    begin = projecting._crew

    @contextmanager
    def noted(*arguments: Any) -> Iterator[Sequence[Pipe]]:
        times.append(len(times))
        with begin(*arguments) as pipes:
            yield pipes

    monkeypatch.setattr(projecting, "_crew", noted)
    return times


def alone(database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the rows that one process makes."""
    monkeypatch.setattr(projecting, "PROCESSES", 1)
    rebuild(database.parts)
    return dump(database)


def test_shares_make_the_rows_that_one_process_makes(
    database: TestDatabase, seed: int, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(seed, 600)
    store_rows(database, rows)
    project(database, random.Random(seed).randint(1, len(rows) - 1))
    project(database)
    found = dump(database)
    assert len(started) == 2
    assert found["checkpoint"][0]["position"] == len(rows)
    assert alone(database, monkeypatch) == found


def test_a_row_that_the_database_refuses_is_found_by_one_process(
    database: TestDatabase, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(3)
    store_rows(database, rows)
    charges = [row[0] for row in rows if row[1] in ("reservation_settled", "usage_charged")]
    poison = charges[len(charges) // 2]
    whole = alone(database, monkeypatch)
    monkeypatch.setattr(projecting, "PROCESSES", 3)
    database.query("TRUNCATE views.charges, views.usage, views.journal, views.reservations")
    database.query("TRUNCATE views.customers, views.balances, views.balance_history")
    database.query("TRUNCATE views.parked_usage, views.tree_edges")
    database.query("UPDATE views.checkpoint SET position = 0, recorded_at = 0")
    database.query(f"ALTER TABLE views.charges ADD CHECK (position <> {poison})")
    project(database)
    found = dump(database)
    assert len(started) == 1
    (parked,) = found.pop("parked_events")
    assert (parked["position"], parked["model"]) == (poison, "charges")
    del whole["parked_events"]
    whole["charges"] = [row for row in whole["charges"] if row["position"] != poison]
    assert found == whole


def test_an_event_nobody_can_read_is_parked_once(
    database: TestDatabase, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(4)
    store_rows(database, rows)
    with without_triggers(database) as connection:
        connection.execute("UPDATE events SET data = '{}' WHERE position = 100")
    project(database)
    found = dump(database)
    assert [row["position"] for row in found["parked_events"] if row["model"] == "*"] == [100]
    assert len(started) == 1
    assert alone(database, monkeypatch) == found


def test_a_position_that_is_missing_leaves_the_work_to_one_process(
    database: TestDatabase, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(8)
    store_rows(database, rows)
    with without_triggers(database) as connection:
        connection.execute("DELETE FROM events WHERE position = 100")
    project(database)
    assert len(started) == 1
    found = dump(database)
    assert found["checkpoint"][0]["position"] == len(rows)
    assert alone(database, monkeypatch) == found


def test_nobody_waits_for_events_that_are_not_there_yet(
    database: TestDatabase, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(9)
    store_rows(database, rows)
    sizes: list[int] = []
    join = shares._joined

    def noted(given: shares.Work, parts: Sequence[shares.Part]) -> Batch:
        batch = join(given, parts)
        sizes.append(len(batch.leaves))
        return batch

    monkeypatch.setattr(shares, "_joined", noted)
    assert project(database, len(rows) + 1_000) == len(rows)
    assert len(started) == 1
    assert sum(sizes) == len(rows)


def test_an_event_of_a_newer_program_stops_it_just_as_alone(
    database: TestDatabase, started: list[int]
) -> None:
    rows = random_rows(5)
    store_rows(database, rows)
    with without_triggers(database) as connection:
        connection.execute("UPDATE events SET version = 99 WHERE position = 100")
    with open_projector(database.parts) as projector, pytest.raises(TooNew, match="upgrade"):
        projector.catch_up()
    assert len(started) == 1


def test_when_a_process_is_killed_the_projector_goes_on_alone(
    database: TestDatabase, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(6)
    store_rows(database, rows)
    killed: list[int] = []

    def kill_one(_events: int) -> None:
        if not killed:
            child = multiprocessing.active_children()[0]
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            killed.append(child.pid)

    with open_projector(database.parts) as projector:
        assert projector.catch_up(None, kill_one) == len(rows)
    assert killed
    found = dump(database)
    assert alone(database, monkeypatch) == found
    assert len(started) == 1


def test_shares_stop_when_they_are_told_to(database: TestDatabase, started: list[int]) -> None:
    rows = random_rows(7)
    store_rows(database, rows)
    stop = threading.Event()
    with open_projector(database.parts) as projector:
        reached = projector.catch_up(None, lambda _events: stop.set(), stop)
        assert 0 < reached < len(rows)
        assert dump(database)["checkpoint"][0]["position"] == reached
    assert len(started) == 1
