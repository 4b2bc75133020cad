"""Who may do what with the views: the projector writes them and no event, the application reads."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.embedded_postgres.cluster import PROJECTOR_ROLE
from adapters.embedded_postgres.server import join
from adapters.postgres import Connection, connect
from entrypoints.projecting import rebuild
from tests.support.databases import TestDatabase
from tests.support.views import project, random_rows, store_rows

APPEND_NOTHING = f"SELECT append_events(0, {', '.join(['NULL'] * 18)}, NULL)"


@pytest.fixture
def filled(embedded_database: TestDatabase) -> TestDatabase:
    """Give the test a ledger whose views were built, and built anew."""
    store_rows(embedded_database, random_rows(1, 60))
    project(embedded_database)
    rebuild(embedded_database.parts)
    return embedded_database


@pytest.fixture
def projector(filled: TestDatabase) -> Iterator[Connection]:
    """Connect as the projector does."""
    with connect(filled.owner_url, role=PROJECTOR_ROLE) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (PROJECTOR_ROLE,)
        yield connection


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO views.balances SELECT * FROM views.balances",
        "UPDATE views.checkpoint SET position = 0",
        "DELETE FROM views.parked_events",
        "TRUNCATE views.charges",
        "DROP TABLE views.balances",
        "CREATE TABLE views.mine (n int)",
        "CREATE SCHEMA views_next",
        "ALTER SCHEMA views RENAME TO views_old",
        "DROP SCHEMA views CASCADE",
        "SET ROLE tollbook_projector",
    ],
)
def test_the_application_may_not(filled: TestDatabase, statement: str) -> None:
    with (
        psycopg.connect(filled.app_url, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_the_application_reads_every_view(filled: TestDatabase) -> None:
    tables = filled.query("SELECT tablename FROM pg_tables WHERE schemaname = 'views'")
    assert len(tables) > 5
    with psycopg.connect(filled.app_url) as connection:
        for (table,) in tables:
            connection.execute(f"SELECT count(*) FROM views.{table}".encode())


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO events SELECT * FROM events",
        "UPDATE events SET data = data",
        "DELETE FROM events",
        "TRUNCATE events",
        "UPDATE ledger_head SET position = 0",
        "SELECT lock_head()",
        "SELECT clock_us()",
        "INSERT INTO command_ids VALUES (1, 'a', 'b', 'c')",
        "SELECT * FROM command_ids",
        "SELECT * FROM customer_keys",
        "SELECT * FROM api_keys",
        "INSERT INTO snapshots VALUES ('s', 1, 1, '{}')",
        APPEND_NOTHING,
        "CREATE TABLE public.mine (n int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE events DISABLE TRIGGER events_are_append_only",
        "SELECT * FROM pg_authid",
    ],
)
def test_the_projector_may_not(projector: Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        projector.execute(statement.encode())


def test_nobody_connects_as_the_projector(filled: TestDatabase) -> None:
    server = filled.server
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.as_role(PROJECTOR_ROLE, filled.name))


def test_a_cluster_of_an_earlier_release_gets_the_role(tmp_path: Path) -> None:
    first = join(tmp_path / "ledger")
    try:
        with psycopg.connect(first.super_url, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {PROJECTOR_ROLE}".encode())
            connection.execute("COMMENT ON DATABASE tollbook IS 'prepared by Tollbook'")
        second = join(tmp_path / "ledger", create=False)
        second.leave()
        with connect(first.owner_url, role=PROJECTOR_ROLE) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (PROJECTOR_ROLE,)
    finally:
        first.leave()
