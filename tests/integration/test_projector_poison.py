"""An event that a model or the database refuses is put aside, and everything else goes on."""

from typing import ClassVar

import pytest

from adapters.event_store.store import PostgresEventStore
from entrypoints.projecting import rebuild
from projections import checkpoint, registry
from projections.balances import Balances
from projections.model import Change, Connection, Wanted
from tests.support.databases import TestDatabase
from tests.support.views import dump, project, random_rows, store_rows, without_triggers


class Numbers:
    """A model whose table holds every position but those it chokes on."""

    NAME = "numbers"
    VERSION = 1
    EVENTS: Wanted = None
    TABLES = "CREATE TABLE numbers (n bigint PRIMARY KEY CHECK (n NOT IN (17, 200, 201)), t text);"
    raises: ClassVar[set[int]] = {5, 300}

    def __init__(self) -> None:
        """Start without rows."""
        self._rows: list[tuple[int, str]] = []

    def collect(self, change: Change) -> None:
        """Choke, or keep the position."""
        position = change.recorded.position
        if position in self.raises:
            raise LookupError(f"nothing fits {position}")
        self._rows.append((position, "a\0b" if position == 30 else "ab"))

    def write(self, connection: Connection) -> None:
        """Write the positions one by one."""
        rows, self._rows = self._rows, []
        connection.cursor().executemany("INSERT INTO numbers VALUES (%s, %s)", rows)

    def discard(self) -> None:
        """Forget the positions."""
        self._rows = []


POISON = {5, 17, 30, 200, 201, 300}


def test_poison_is_parked_with_its_traceback_and_the_rest_is_right(
    database: TestDatabase, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = random_rows(seed, 800)  # more than there are positions in POISON, whatever the seed
    store_rows(database, rows)
    project(database)
    healthy = dump(database)
    monkeypatch.setattr(registry, "MODELS", (Numbers, *registry.MODELS))
    rebuild(database.parts)
    found = dump(database)
    parked = {row["position"]: row for row in found.pop("parked_events")}
    assert parked.keys() == POISON
    assert {row["model"] for row in parked.values()} == {"numbers"}
    assert parked[5]["error"] == "LookupError: nothing fits 5"
    assert "numbers_n_check" in parked[200]["error"]
    kept = {row["n"] for row in found.pop("numbers")}
    assert kept == set(range(1, len(rows) + 1)) - POISON
    del healthy["parked_events"]
    for tables in (healthy, found):
        for row in tables["checkpoint"]:
            del row["fingerprint"]
    assert found == healthy
    ((traceback,),) = database.query("SELECT traceback FROM views.parked_events WHERE position = 5")
    assert "in collect" in str(traceback)


def test_a_rebuild_after_the_repair_clears_what_was_parked(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_rows(database, random_rows(2))
    monkeypatch.setattr(registry, "MODELS", (Numbers, Balances))
    rebuild(database.parts)
    store = PostgresEventStore(database.app_url)
    assert checkpoint.lag(store.run)["parked"] == len(POISON)
    monkeypatch.setattr(Numbers, "raises", set())
    rebuild(database.parts)
    assert checkpoint.lag(store.run)["parked"] == len(POISON) - 2
    store.close()


def test_an_event_nobody_can_read_is_parked_for_all_and_later_ones_go_on(
    database: TestDatabase, seed: int
) -> None:
    rows = random_rows(seed)
    store_rows(database, rows)
    held = next(row for row in rows if row[1] == "reservation_held" and row[0] > 50)
    with without_triggers(database) as connection:
        connection.execute("UPDATE events SET data = '{}' WHERE position = %s", (held[0],))
    project(database)
    found = dump(database)
    assert found["checkpoint"][0]["position"] == len(rows)
    first = found["parked_events"][0]
    assert (first["position"], first["model"], first["name"]) == (held[0], "*", held[1])
    (balance,) = [row for row in found["balances"] if row["customer"] == held[5]]
    assert balance["sequence"] == max(row[6] for row in rows if row[5] == held[5])


def test_a_missing_table_stops_the_projector_instead_of_parking_everything(
    database: TestDatabase,
) -> None:
    store_rows(database, random_rows(3))
    database.query("DROP TABLE views.customers")
    with pytest.raises(Exception, match="customers"):
        project(database)
    assert dump(database)["parked_events"] == []
    assert dump(database)["checkpoint"][0]["position"] == 0
