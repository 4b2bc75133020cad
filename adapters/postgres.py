"""PostgreSQL: connections with the settings we rely on, and the numbered migrations."""

from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from tollbook.errors import Invalid, Unavailable

Connection = psycopg.Connection[tuple[Any, ...]]

MIGRATIONS = Path(str(resources.files("adapters"))) / "migrations"
SERVER_VERSION_MIN = 150_000
_MIGRATION_LOCK = 0x746F6C6C
"""The advisory lock under which migrations run ("toll" in ASCII)."""


def connect(url: str, *, role: str | None = None) -> Connection:
    """Open a connection that commits each statement; raises Unavailable when none is to be had.

    A URL that cannot be read is Invalid; it is not shown, since it may hold a password.
    """
    try:
        # What stands before a second @ is a part of a password, which an error would show.
        hosts = str(conninfo_to_dict(url).get("host") or "").split(",")
        if any("@" in host[1:] for host in hosts):
            raise _unreadable("a PostgreSQL URL with one @: within a password it is written %40")
        connection = psycopg.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.ProgrammingError:
        raise _unreadable("a PostgreSQL URL, such as postgresql://HOST/NAME") from None
    except psycopg.Error as error:
        raise Unavailable(f"PostgreSQL does not answer: {_first_line(error)}") from None
    if connection.info.server_version < SERVER_VERSION_MIN:
        connection.close()
        raise Unavailable("PostgreSQL 15 or newer is needed")
    connection.execute("SET TimeZone = 'UTC'")
    # Our statements are short: compiling one would take a hundred times as long as running it.
    connection.execute("SET jit = off")
    connection.execute("SET idle_in_transaction_session_timeout = '10s'")
    connection.execute("SET lock_timeout = '10s'")
    connection.execute("SET statement_timeout = '60s'")
    if role is not None and _role_exists(connection, role):
        connection.execute(f'SET ROLE "{role}"')
    return connection


def holds_password(url: str) -> bool:
    """Say whether a URL, or what stands in for one, holds a password."""
    try:
        found = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "@" in url or "password" in url  # `connect` will say that it cannot be read
    return any(found.get(name) for name in ("password", "sslpassword"))


def _unreadable(rule: str) -> Invalid:
    return Invalid(f"the database is not {rule}", field="database", rule=rule)


def _role_exists(connection: Connection, role: str) -> bool:
    row = connection.execute(
        "SELECT pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = %s", (role,)
    ).fetchone()
    return bool(row and row[0])


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def migrate(connection: Connection) -> list[str]:
    """Bring the schema up to date; return the names of the migrations that ran.

    Each runs once, in the order of its number, in a transaction of its own; two processes that
    start at the same time take turns. A database that has a migration which this program does
    not know was made by a newer program: raises Unavailable and changes nothing.
    """
    try:
        # Whoever comes second waits for as long as the first one needs.
        connection.execute("SET lock_timeout = 0")
        connection.execute("SET statement_timeout = 0")
        connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        try:
            return _run_missing(connection)
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", (_MIGRATION_LOCK,))
    except psycopg.Error as error:
        raise Unavailable(f"the database was not migrated: {_first_line(error)}") from None


def _run_missing(connection: Connection) -> list[str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations "
        "(name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    known = {row[0] for row in connection.execute("SELECT name FROM migrations")}
    files = {path.stem: path for path in sorted(MIGRATIONS.glob("[0-9]*.sql"))}
    unknown = sorted(known - files.keys())
    if unknown:
        raise Unavailable(
            f"the database is newer than this program: it has the migration {unknown[-1]}; "
            "upgrade the program"
        )
    missing = [name for name in files if name not in known]
    for name in missing:
        with connection.transaction():
            connection.execute(files[name].read_text(encoding="utf-8").encode())
            connection.execute("INSERT INTO migrations (name) VALUES (%s)", (name,))
    return missing
