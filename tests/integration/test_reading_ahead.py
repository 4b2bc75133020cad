"""Reading much at once goes on after a broken session, and after what it could not read."""

import re
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from tollbook.errors import Tampered

from adapters.event_store.reading_ahead import _QUERIES, ROWS_AT_ONCE
from adapters.event_store.store import PostgresEventStore
from application.ports import Batch, ConnectionLostError
from domain.event import Recorded
from tests.support.databases import TestDatabase
from tests.support.events import recorded

COUNT = 4 * ROWS_AT_ONCE
NAMES = ["cust-1"]
MANY = 4_000
"""So many events that reading all of them costs more than looking a few up."""
EACH = 100


@pytest.fixture
def store(embedded_database: TestDatabase) -> Iterator[PostgresEventStore]:
    """Open a ledger with more events of a customer than are read at once."""
    with closing(PostgresEventStore(embedded_database.app_url)) as opened:
        now = opened.database_time()
        made = [
            recorded(position, now, customer="cust-1", stream_version=position, sequence=position)
            for position in range(1, COUNT + 1)
        ]
        opened.append(Batch(0, made, []))
        yield opened


def begun(database: TestDatabase) -> None:
    """Have many streams of one event each; few at a time, as a time may be 250 ms off at most."""
    with closing(PostgresEventStore(database.app_url)) as store:
        for base in range(0, MANY, EACH):
            now = store.database_time()
            made = [
                recorded(n, now, sequence=n)._replace(stream=f"reservation-r-{n}", stream_version=1)
                for n in range(base + 1, base + EACH + 1)
            ]
            store.append(Batch(base, made, []))


def end_sessions(database: TestDatabase) -> None:
    """Have the server end every session but our own."""
    database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_a_session_that_the_server_ended_is_opened_again(
    store: PostgresEventStore, embedded_database: TestDatabase
) -> None:
    before = store.histories(NAMES, COUNT)
    (stream,) = {event.stream for event in store.since(0, COUNT)}
    events: list[Recorded] = list(store.streams_events([stream], COUNT))
    assert (len(before["cust-1"].facts), len(events)) == (COUNT, COUNT)
    end_sessions(embedded_database)
    assert store.histories(NAMES, COUNT) == before
    end_sessions(embedded_database)
    assert list(store.streams_events([stream], COUNT)) == events


def test_who_holds_the_head_learns_that_the_session_broke(
    store: PostgresEventStore, embedded_database: TestDatabase
) -> None:
    def read_in_a_broken_session() -> None:
        with store.locked():
            end_sessions(embedded_database)
            store.histories(NAMES, COUNT)

    with pytest.raises(ConnectionLostError):
        read_in_a_broken_session()
    assert len(store.histories(NAMES, COUNT)["cust-1"].facts) == COUNT


def test_after_an_event_that_cannot_be_read_the_others_still_can(
    store: PostgresEventStore, embedded_database: TestDatabase
) -> None:
    embedded_database.query("ALTER TABLE events DISABLE TRIGGER events_are_append_only")
    embedded_database.query("UPDATE events SET data = '{' WHERE position = 3")
    for _ in range(2):
        with pytest.raises(Tampered):
            store.histories(NAMES, COUNT)
        assert store.head().position == COUNT
    assert len(store.histories(NAMES, 2)["cust-1"].facts) == 2


def test_a_query_that_the_server_gives_up_is_not_asked_again(
    store: PostgresEventStore, embedded_database: TestDatabase
) -> None:
    store.run("SET statement_timeout = '300ms'")
    with psycopg.connect(embedded_database.super_url) as connection:
        connection.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(ConnectionLostError, match="statement timeout"):
            store.histories(NAMES, COUNT)
    assert len(store.histories(NAMES, COUNT)["cust-1"].facts) == COUNT


@pytest.mark.parametrize("statistics", ["none", "analysed"])
@pytest.mark.parametrize("name", sorted(_QUERIES))
def test_nothing_is_scanned_for_much_at_once_whatever_is_known_of_the_tables(
    embedded_database: TestDatabase, name: bytes, statistics: str
) -> None:
    """A ledger that has just been made has no statistics."""
    begun(embedded_database)
    with psycopg.connect(embedded_database.super_url, autocommit=True) as connection:
        if statistics == "analysed":
            connection.execute("ANALYZE events")
        for mode in ("force_custom_plan", "force_generic_plan"):
            connection.execute(f"SET plan_cache_mode = {mode}".encode())
            connection.execute(f"PREPARE wanted (text[], bigint) AS {_QUERIES[name]}".encode())
            wanted = ", ".join(f"'reservation-r-{n}'" for n in range(MANY // 2))
            query = f"EXPLAIN EXECUTE wanted (ARRAY[{wanted}], {MANY})"
            plan = "\n".join(line for (line,) in connection.execute(query.encode()))
            connection.execute("DEALLOCATE wanted")
            assert "Seq Scan on events " not in plan, plan
            index = "events_customer" if b"customers" in name else "events_stream"
            assert set(re.findall(r"(?:Scan on|Scan using) (events_\w+)", plan)) == {index}, plan
