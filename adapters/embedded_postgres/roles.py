"""The roles and the database of a cluster: an owner of tables, and an application that is not."""

import psycopg
from psycopg import sql

from adapters.embedded_postgres.cluster import APP_ROLE, DATABASE, OWNER_ROLE, PROJECTOR_ROLE

_PREPARED = "prepared by Tollbook: owner, application, projector"
_CONNECT_SECONDS = 5
_QUESTION = """
    SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s
"""
# Sessions are told of their own errors; the log keeps the server's own (and stays small).
_ROLE = """
    CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION
"""


def prepare(maintenance_url: str, database_url: str) -> None:
    """Make the roles and the database unless they are there; safe to repeat after a crash."""
    with psycopg.connect(
        maintenance_url, autocommit=True, connect_timeout=_CONNECT_SECONDS
    ) as connection:
        found = connection.execute(_QUESTION, (DATABASE,)).fetchone()
        if found == (_PREPARED,):
            return
        _make_roles(connection)
        if found is None:
            _run(connection, "CREATE DATABASE {database} OWNER {owner} TEMPLATE template0")
        for database in ("postgres", "template1", DATABASE):
            revoke = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC")
            connection.execute(revoke.format(sql.Identifier(database)))
        _run(connection, "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {app}")
        with psycopg.connect(
            database_url, autocommit=True, connect_timeout=_CONNECT_SECONDS
        ) as inside:
            _run(inside, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            _run(inside, "GRANT USAGE ON SCHEMA public TO {app}")
            _run(inside, "GRANT USAGE, CREATE ON SCHEMA public TO {owner}")
        # The mark comes last: without it, everything above is done again.
        _run(connection, f"COMMENT ON DATABASE {{database}} IS '{_PREPARED}'")


def _make_roles(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    present = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
    for name in (OWNER_ROLE, APP_ROLE):
        role = sql.Identifier(name)
        if name not in present:
            connection.execute(sql.SQL(_ROLE).format(role=role))
        quiet = sql.SQL("ALTER ROLE {} SET log_min_messages = 'log'")
        connection.execute(quiet.format(role))
    # Nobody connects as the projector: a session of the owner's steps down to it.
    if PROJECTOR_ROLE not in present:
        _run(connection, "CREATE ROLE {projector} NOLOGIN NOINHERIT")
    _run(connection, "GRANT {projector} TO {owner}")


def _run(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> None:
    names = {
        "database": DATABASE,
        "owner": OWNER_ROLE,
        "app": APP_ROLE,
        "projector": PROJECTOR_ROLE,
    }
    filled = statement.format(**{key: f'"{name}"' for key, name in names.items()})
    connection.execute(filled.encode())
