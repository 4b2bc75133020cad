"""Migrations: numbered, each run once and whole, by one process at a time, never backwards."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from tollbook.errors import Unavailable

from adapters import postgres
from adapters.postgres import MIGRATIONS, Connection, connect, migrate
from tests.support.databases import TestDatabase, fresh_database, query, server_of

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in MIGRATIONS.glob("*.sql"))

TABLES = {
    *("ledger_head", "events", "command_ids", "stream_offsets", "snapshots", "customer_keys"),
    "migrations",
}

MIGRATE = """
import sys
from adapters.postgres import connect, migrate
print(len(migrate(connect(sys.argv[1]))))
"""


@pytest.fixture(params=["embedded", "plain"])
def empty(request: pytest.FixtureRequest) -> Iterator[TestDatabase]:
    """Give the test a database without any table; the test runs on both servers."""
    with fresh_database(server_of(request), migrated=False) as made:
        yield made


@pytest.fixture
def owner(empty: TestDatabase) -> Iterator[Connection]:
    """Connect to the empty database as its owner."""
    connection = connect(empty.owner_url)
    yield connection
    connection.close()


def after_ledger(made: TestDatabase) -> None:
    """Check what 0001 brings: every table, and a head that stands at nothing."""
    found = made.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {name for (name,) in found} >= TABLES
    assert made.query("SELECT position, recorded_at, clock FROM ledger_head") == [
        (0, 0, "database")
    ]


def after_application_role(made: TestDatabase) -> None:
    """Check what 0002 brings: the application may read everything where it has a role."""
    if made.kind == "embedded":
        assert query(made.app_url, "SELECT count(*) FROM events") == [(0,)]


def after_api_keys(made: TestDatabase) -> None:
    """Check what 0003 brings: no key yet, and a version for those that come."""
    assert query(made.app_url, "SELECT count(*) FROM api_keys") == [(0,)]
    assert query(made.app_url, "SELECT version FROM api_key_state") == [(0,)]


def after_views(made: TestDatabase) -> None:
    """Check what 0004 brings: a place for views, and the newest position at an instant."""
    assert made.query("SELECT to_regnamespace('views') IS NOT NULL") == [(True,)]
    assert query(made.app_url, "SELECT position_at(0)") == [(0,)]


def after_fraud(made: TestDatabase) -> None:
    """Check what 0005 brings: nothing scored yet, nobody known, nothing delivered."""
    assert query(made.app_url, "SELECT rule, position, silent_until FROM fraud_watch") == [
        (0, 0, 0)
    ]
    assert query(made.app_url, "SELECT count(*) FROM fraud_habits") == [(0,)]
    assert query(made.app_url, "SELECT count(*) FROM webhook_cursors") == [(0,)]


def after_offsets(made: TestDatabase) -> None:
    """Check what 0006 brings: an offset that may go forward and not back."""
    made.query("INSERT INTO stream_offsets VALUES ('kafka', 'usage', 0, 5)")
    made.query("UPDATE stream_offsets SET next_offset = 9")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="from 9 to 8 is refused"):
        made.query("UPDATE stream_offsets SET next_offset = 8")


def after_search_path(made: TestDatabase) -> None:
    """Check what 0007 brings: functions of the owner that find nothing by their caller's path."""
    path = "SELECT proconfig FROM pg_proc WHERE proname = 'lock_head'"
    assert made.query(path) == [(["search_path=pg_catalog, pg_temp"],)]
    assert query(made.app_url, "SELECT position FROM lock_head()") == [(0,)]


UP_TESTS = {
    "0001_ledger": after_ledger,
    "0002_application_role": after_application_role,
    "0003_api_keys": after_api_keys,
    "0004_views": after_views,
    "0005_fraud": after_fraud,
    "0006_offsets": after_offsets,
    "0007_search_path": after_search_path,
}


def test_every_migration_has_an_up_test() -> None:
    assert sorted(UP_TESTS) == NAMES


def test_numbers_have_no_gap_and_no_twin() -> None:
    assert [int(name[:4]) for name in NAMES] == list(range(1, len(NAMES) + 1))
    assert all(name[4] == "_" for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_brings_what_it_says(
    name: str,
    empty: TestDatabase,
    owner: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "MIGRATIONS", tmp_path)
    earlier = NAMES[: NAMES.index(name)]
    for each in earlier:
        (tmp_path / f"{each}.sql").write_text((MIGRATIONS / f"{each}.sql").read_text())
    assert migrate(owner) == earlier
    (tmp_path / f"{name}.sql").write_text((MIGRATIONS / f"{name}.sql").read_text())
    assert migrate(owner) == [name]
    UP_TESTS[name](empty)


def test_what_was_there_before_scoring_flags_nobody(
    empty: TestDatabase, owner: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "MIGRATIONS", tmp_path)
    for name in NAMES[: NAMES.index("0005_fraud") + 1]:
        if name == "0005_fraud":
            migrate(owner)
            owner.execute("UPDATE ledger_head SET position = 41")
        (tmp_path / f"{name}.sql").write_text((MIGRATIONS / f"{name}.sql").read_text())
    assert migrate(owner) == ["0005_fraud"]
    seen = empty.query("SELECT rule, position, silent_until FROM fraud_watch")
    assert seen == [(0, 0, 41)]


def test_a_second_run_does_nothing(empty: TestDatabase, owner: Connection) -> None:
    assert migrate(owner) == NAMES
    before = empty.query("SELECT name, applied_at FROM migrations ORDER BY name")
    assert migrate(owner) == []
    assert empty.query("SELECT name, applied_at FROM migrations ORDER BY name") == before


def test_processes_that_start_together_take_turns(empty: TestDatabase) -> None:
    command = [sys.executable, "-c", MIGRATE, empty.owner_url]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    counts = [int(process.communicate(timeout=120)[0]) for process in started]
    assert sorted(counts) == [0, 0, 0, len(NAMES)]


def test_a_migration_that_fails_leaves_nothing_behind(
    empty: TestDatabase, owner: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(owner)
    for name in NAMES:
        (tmp_path / f"{name}.sql").write_text("SELECT 'was run before'")
    (tmp_path / "0099_broken.sql").write_text("CREATE TABLE half (n int); SELECT 1 / 0;")
    monkeypatch.setattr(postgres, "MIGRATIONS", tmp_path)
    with pytest.raises(Unavailable, match="not migrated: division by zero"):
        migrate(owner)
    assert empty.query("SELECT to_regclass('half')") == [(None,)]
    assert empty.query("SELECT count(*) FROM migrations") == [(len(NAMES),)]


def test_a_newer_database_is_refused_and_left_alone(empty: TestDatabase, owner: Connection) -> None:
    migrate(owner)
    empty.query("INSERT INTO migrations (name) VALUES ('9999_from_the_future')")
    with pytest.raises(Unavailable, match="it has the migration 9999_from_the_future"):
        migrate(owner)
    # The lock was given back: another process gets the same answer instead of waiting.
    with (
        closing(connect(empty.owner_url)) as another,
        pytest.raises(Unavailable, match="newer than this program"),
    ):
        migrate(another)


def test_a_role_that_may_make_nothing_is_told_so(embedded_database: TestDatabase) -> None:
    embedded_database.query("DROP TABLE migrations")
    with (
        closing(connect(embedded_database.app_url)) as application,
        pytest.raises(Unavailable, match="not migrated: permission denied"),
    ):
        migrate(application)


def test_an_older_postgresql_is_refused(
    plain_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SERVER_VERSION_MIN", 990_000)
    with pytest.raises(Unavailable, match="or newer is needed"):
        connect(plain_database.owner_url)


def test_sessions_have_the_settings_we_rely_on(database: TestDatabase) -> None:
    connection = connect(database.app_url)
    settings = ("TimeZone", "jit", "lock_timeout", "statement_timeout", "synchronous_commit")
    found = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in settings]
    connection.close()
    assert found == [("UTC",), ("off",), ("10s",), ("1min",), ("on",)]


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        connect(f"postgresql:///nothing?host={tmp_path}")


def test_a_transaction_that_idles_is_ended_by_the_server(database: TestDatabase) -> None:
    """A process that stops while it holds the head does not stop the others for ever."""
    connection = connect(database.app_url)
    connection.execute("SET idle_in_transaction_session_timeout = '50ms'")
    connection.execute("BEGIN")
    connection.execute("SELECT lock_head()")
    query(database.app_url, "SELECT pg_sleep(0.5)")
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT 1")
    connection.close()
