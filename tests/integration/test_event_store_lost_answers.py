"""A broken connection around the commit: the answer is the truth, and nothing happens twice."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tollbook.errors import TollbookError, Unknown

from adapters.event_store.store import PostgresEventStore
from application import committing
from application.ports import Rider
from application.tollbook import Tollbook
from domain.commands import Release
from entrypoints.bootstrap import Database, tollbook_on
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.ledger import a_customer, open_ledger, reserve, settle
from tests.support.proxy import Loss, Proxy

APPEND = b"tollbook_append"
LOSSES: list[Loss] = ["request", "answer"]


@dataclass
class Bench:
    """A ledger whose connections pass a proxy, and a look at what is really stored."""

    ledger: Tollbook
    proxy: Proxy
    database: TestDatabase

    def reservations(self) -> list[object]:
        """Return the stream of every hold that is stored."""
        query = "SELECT stream FROM events WHERE name = 'reservation_held' ORDER BY position"
        return [stream for (stream,) in self.database.query(query)]

    def hold_the_head(self) -> None:
        """Make the next batch hold the head, as after losing it twice to another writer."""
        self.ledger.executor._committer._losses = committing.LOSSES_BEFORE_LOCK


@pytest.fixture
def bench(database: TestDatabase) -> Iterator[Bench]:
    """Open a ledger with a customer, through a proxy."""
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        proxy = Proxy(database.app_url, Path(folder))
        parts = Database(database.owner_url, proxy.url, MASTER_KEY)
        with tollbook_on(parts) as ledger:
            a_customer(ledger)
            yield Bench(ledger, proxy, database)
        proxy.close()


@pytest.mark.parametrize("what", LOSSES)
def test_a_connection_lost_during_an_append(bench: Bench, what: Loss) -> None:
    bench.proxy.lose(what, APPEND)
    answer = reserve(bench.ledger, "r-1")
    assert bench.proxy.has_lost
    assert (answer.code, answer.repeated) == ("done", False)
    assert bench.reservations() == ["reservation-r-1"]
    assert settle(bench.ledger, "r-1").done


@pytest.mark.parametrize("what", LOSSES)
def test_a_connection_lost_during_the_commit_of_a_held_head(bench: Bench, what: Loss) -> None:
    bench.hold_the_head()
    bench.proxy.lose(what, b"COMMIT")
    assert reserve(bench.ledger, "r-1").done
    assert bench.proxy.has_lost
    assert bench.reservations() == ["reservation-r-1"]
    assert settle(bench.ledger, "r-1").done


@pytest.mark.parametrize("what", LOSSES)
def test_a_connection_lost_while_the_head_is_held(bench: Bench, what: Loss) -> None:
    bench.hold_the_head()
    bench.proxy.lose(what, APPEND)
    assert reserve(bench.ledger, "r-1").done
    assert bench.proxy.has_lost
    assert bench.reservations() == ["reservation-r-1"]


def test_another_writer_was_faster_than_our_question(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is found although the head has moved on since."""
    asked = PostgresEventStore.matches

    def let_another_write_first(*arguments: object) -> bool:
        with open_ledger(bench.database) as another:
            reserve(another, "r-2").result()
        return asked(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(PostgresEventStore, "matches", let_another_write_first)
    bench.proxy.lose("answer", APPEND)
    assert reserve(bench.ledger, "r-1").code == "done"
    assert settle(bench.ledger, "r-1").done
    assert bench.reservations() == ["reservation-r-1", "reservation-r-2"]


@pytest.mark.parametrize("what", LOSSES)
def test_offsets_of_a_batch_without_events_move_once(bench: Bench, what: Loss) -> None:
    bench.proxy.lose(what, APPEND)
    rider = Rider("kafka", "usage", 0, 0, 5)
    unknown = Release(id="x", reservation="never-made")
    (answer,) = bench.ledger.executor.execute([unknown], riders=[rider])
    assert answer.code == "not_found"
    assert bench.database.query("SELECT next_offset FROM stream_offsets") == [(5,)]


@pytest.mark.parametrize("held", [False, True])
def test_a_database_that_stays_away_leaves_the_outcome_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """It may have happened: never say that nothing was done, and answer the truth afterwards."""
    monkeypatch.setattr(committing, "PATIENCE_SECONDS", 0.3)
    if held:
        bench.hold_the_head()
    bench.proxy.lose("answer", b"COMMIT" if held else APPEND, stay_down=True)
    assert reserve(bench.ledger, "r-1").code == "unknown"
    bench.proxy.down = False
    assert bench.ledger.outcome("reserve", "cust-1", "r-1").done
    assert reserve(bench.ledger, "r-1").repeated
    assert bench.reservations() == ["reservation-r-1"]


def test_a_request_that_never_left_says_that_nothing_was_done(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "PATIENCE_SECONDS", 0.3)
    bench.proxy.lose("request", b"FROM unnest(", stay_down=True)
    with pytest.raises(TollbookError) as raised:
        bench.ledger.outcome("reserve", "cust-1", "r-1")
    assert (raised.value.code, isinstance(raised.value, Unknown)) == ("unavailable", False)


def test_sessions_that_the_server_ended_are_opened_again(bench: Bench) -> None:
    reserve(bench.ledger, "r-1").result()
    bench.database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert settle(bench.ledger, "r-1").done
    assert bench.ledger.outcome("settle", "cust-1", "settle-r-1").done
    query = "SELECT count(*) FROM events WHERE name = 'reservation_settled'"
    assert bench.database.query(query) == [(1,)]


def test_a_disk_that_is_full_fails_the_command_and_leaves_its_id_free(bench: Bench) -> None:
    bench.database.query(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION ''no space left on device'' USING ERRCODE = ''53100''; END'"
    )
    bench.database.query(
        "CREATE TRIGGER full_disk BEFORE INSERT ON events EXECUTE FUNCTION full_disk()"
    )
    answer = reserve(bench.ledger, "r-1")
    assert (answer.code, "nothing was written" in str(answer.error)) == ("unavailable", True)
    bench.database.query("DROP TRIGGER full_disk ON events")
    assert reserve(bench.ledger, "r-1").done
