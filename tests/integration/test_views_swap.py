"""Building the views anew: readers see the old ones or the new ones, whole, and nothing between."""

import threading

import psycopg
import pytest
from tollbook.errors import Unavailable

from adapters.event_store.store import PostgresEventStore
from adapters.postgres import connect
from application.following import TooNew
from entrypoints.projecting import (
    Following,
    bring_up_to_date,
    open_projector,
    rebuild,
)
from projections import balances, checkpoint, registry
from projections.balances import Balances
from projections.building import NEXT, Build
from projections.model import SCHEMA
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger, reserve
from tests.support.views import (
    dump,
    eventually_current,
    project,
    random_rows,
    run_of,
    store_rows,
)


class Renamed(Balances):
    """Balances as a newer program keeps them."""

    VERSION = Balances.VERSION + 1


def test_readers_never_see_half_built_views(database: TestDatabase) -> None:
    store_rows(database, random_rows(5))
    project(database)
    store = PostgresEventStore(database.app_url)
    wanted = (balances.page(store.run, limit=1000), checkpoint.position(store.run))
    stop = threading.Event()
    seen: list[object] = []

    def read() -> None:
        while not stop.is_set():
            try:
                found = balances.page(store.run, limit=1000), checkpoint.position(store.run)
                seen.append(found == wanted)
            except Exception as error:
                seen.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    builds = set()
    for _ in range(4):
        rebuild(database.parts)
        builds.add(database.query("SELECT build FROM views.checkpoint")[0])
    stop.set()
    reader.join()
    store.close()
    assert len(builds) == 4
    assert len(seen) > 10
    assert set(seen) == {True}


def test_a_transaction_that_read_the_checkpoint_keeps_its_build_to_the_end(
    database: TestDatabase,
) -> None:
    store_rows(database, random_rows(6))
    project(database)
    with psycopg.connect(database.app_url) as reader:
        first = reader.execute("SELECT build FROM views.checkpoint").fetchone()
        rebuilding = threading.Thread(target=rebuild, args=(database.parts,))
        rebuilding.start()
        rebuilding.join(timeout=1.0)
        assert rebuilding.is_alive(), "it did not wait for the reader"
        assert reader.execute("SELECT build FROM views.checkpoint").fetchone() == first
        reader.rollback()
        rebuilding.join()
        assert reader.execute("SELECT build FROM views.checkpoint").fetchone() != first


def test_the_live_views_are_kept_up_meanwhile_and_the_projector_goes_on_with_the_new_ones(
    database: TestDatabase,
) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
        following = Following(database.parts)
        rebuilding = threading.Thread(target=rebuild, args=(database.parts,))
        try:
            rebuilding.start()
            for number in range(60):
                position = reserve(ledger, f"r{number}").result()["position"]
                checkpoint.wait_for(run_of(ledger), position, timeout=30)
            rebuilding.join()
            position = reserve(ledger, "last").result()["position"]
            checkpoint.wait_for(run_of(ledger), position, timeout=30)
        finally:
            following.stop()
    found = dump(database)
    rebuild(database.parts)
    assert dump(database) == found


def test_other_tables_are_built_anew_when_a_program_starts(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_rows(database, random_rows(7))
    project(database)
    before = dump(database)
    bring_up_to_date(database.parts)
    assert dump(database) == before
    with open_projector(database.parts) as older:
        older.catch_up()
        monkeypatch.setattr(registry, "MODELS", (Renamed, *registry.MODELS[1:]))
        bring_up_to_date(database.parts)
        monkeypatch.undo()
        with pytest.raises(TooNew, match="another version"):
            older.catch_up()
    after = dump(database)
    assert after.pop("checkpoint") != before.pop("checkpoint")
    assert after == before


def test_who_follows_builds_other_tables_anew_as_it_begins_and_an_older_one_ends(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
        older = Following(database.parts)
        checkpoint.wait_for(run_of(ledger), ledger.store.head().position, timeout=30)
        monkeypatch.setattr(registry, "MODELS", (Renamed, *registry.MODELS[1:]))
        newer = Following(database.parts)
        try:
            eventually_current(database)
            position = reserve(ledger, "r1").result()["position"]
            checkpoint.wait_for(run_of(ledger), position, timeout=30)
            older._thread.join(timeout=30)
            assert (older.is_alive(), newer.is_alive()) == (False, True)
        finally:
            older.stop()
            newer.stop()


def test_who_follows_waits_for_whoever_builds_already(database: TestDatabase) -> None:
    store_rows(database, random_rows(11))
    project(database)
    before = dump(database)
    database.query("UPDATE views.checkpoint SET fingerprint = 'older'")
    with connect(database.owner_url) as owner, connect(database.owner_url) as other:
        Build(owner, other).begin()
        following = Following(database.parts)
        try:
            following._thread.join(timeout=0.5)
            assert following.is_alive()
            owner.close()
            eventually_current(database)
        finally:
            following.stop()
    assert dump(database) == before


def test_what_an_interrupted_build_left_goes_away(database: TestDatabase) -> None:
    store_rows(database, random_rows(8))
    project(database)
    before = dump(database)
    with connect(database.owner_url) as owner, connect(database.owner_url) as other:
        Build(owner, other).begin()
        store = PostgresEventStore(database.app_url)
        assert checkpoint.lag(store.run)["building"]
        with pytest.raises(Unavailable, match="being built anew already"):
            rebuild(database.parts)
    rebuild(database.parts)
    assert not checkpoint.lag(store.run)["building"]
    store.close()
    assert dump(database) == before
    schemas = database.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'views%%'")
    assert schemas == [(SCHEMA,)]


def test_tables_are_vacuumed_once_they_are_whole_and_not_while_they_are_filled(
    database: TestDatabase,
) -> None:
    options = (
        "SELECT DISTINCT reloptions::text LIKE '%%autovacuum_enabled=off%%' FROM pg_class "
        "WHERE relnamespace = %s::text::regnamespace AND relkind = 'r'"
    )
    store_rows(database, random_rows(10))
    project(database)
    with connect(database.owner_url) as owner, connect(database.owner_url) as other:
        Build(owner, other).begin()
        assert database.query(options, NEXT) == [(True,)]
    rebuild(database.parts)
    assert (True,) not in database.query(options, SCHEMA)


def test_a_build_that_is_told_to_stop_leaves_the_live_views(database: TestDatabase) -> None:
    store_rows(database, random_rows(9))
    build = database.query("SELECT build FROM views.checkpoint")
    stop = threading.Event()
    stop.set()
    assert not rebuild(database.parts, stop=stop)
    assert database.query("SELECT build FROM views.checkpoint") == build
