"""Building the views: the first time in place, later beside the live ones, which are then swapped.

The live views stay readable, and are kept up, until the new ones have caught up with them. Then
the schema's name moves over in one transaction, so that nobody ever sees half-built rows.
"""

import threading
import time
from collections.abc import Callable

import psycopg
from tollbook.errors import Unavailable

from projections.checkpoint import read_mark
from projections.model import SCHEMA, Connection
from projections.registry import OWN_TABLES, Models, fingerprint, new_models

NEXT = "views_next"
OLD = "views_old"

_BUILD_LOCK = 0x6275696C
"""The advisory lock of whoever builds ("buil")."""

NEAR = 5_000
"""The live views wait while the last events are added, so there may be only so many of them."""

_FIRST_MARK = """
INSERT INTO checkpoint (position, recorded_at, build, fingerprint)
VALUES (0, 0, gen_random_uuid()::text, %s)
"""
_TENDED = """
DO $$
DECLARE
    made text;
BEGIN
    FOR made IN SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' LOOP
        EXECUTE format('ALTER TABLE {schema}.%I {how} (autovacuum_enabled{value})', made);
    END LOOP;
END $$
"""
_READABLE = """
DO $$
BEGIN
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO %I',
        (SELECT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename = 'events'));
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollbook_app') THEN
        GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO tollbook_app;
    END IF;
END $$
"""
_NEW_SCHEMA = """
CREATE SCHEMA {schema};
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollbook_app') THEN
        GRANT USAGE ON SCHEMA {schema} TO tollbook_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollbook_projector') THEN
        GRANT USAGE, CREATE ON SCHEMA {schema} TO tollbook_projector;
    END IF;
END $$
"""


def make_tables(connection: Connection, schema: str, models: Models) -> None:
    """Make every table of a build, and its checkpoint before the first event."""
    with connection.transaction():
        connection.execute(f"SET LOCAL search_path = {schema}, public".encode())
        lay_tables(connection, models)
        connection.execute(_READABLE.format(schema=schema).encode())


def lay_tables(connection: Connection, models: Models) -> None:
    """Make the tables of a build where the connection's path leads, for whoever makes them."""
    connection.execute(OWN_TABLES.encode())
    for model in models:
        connection.execute(model.TABLES.encode())
    connection.execute(_FIRST_MARK, (fingerprint(models),))


def ensure_tables(connection: Connection) -> None:
    """Make the tables of a ledger that never had any, so that every query has something to read.

    Tables that stand are left alone, also those of another version.
    """
    row = connection.execute("SELECT to_regclass('views.checkpoint')").fetchone()
    if row != (None,):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_BUILD_LOCK + 1,))
        row = connection.execute("SELECT to_regclass('views.checkpoint')").fetchone()
        if row == (None,):
            make_tables(connection, SCHEMA, new_models())


def is_current(connection: Connection) -> bool:
    """Say whether the live views are those that this program would build."""
    row = connection.execute("SELECT fingerprint FROM views.checkpoint").fetchone()
    return row == (fingerprint(new_models()),)


def _tended(schema: str, how: str, value: str = "") -> bytes:
    """Return what sets or resets whether the autovacuum looks after the tables of a build."""
    return _TENDED.format(schema=schema, how=how, value=value).encode()


class Build:
    """A build beside the live one. Schemas are the owner's, their tables are the projector's."""

    def __init__(self, owner: Connection, connection: Connection) -> None:
        """Use a connection as the owner, and one as the projector."""
        self._owner = owner
        self._connection = connection

    def begin(self) -> None:
        """Start from nothing; what an interrupted build has left goes away."""
        row = self._owner.execute("SELECT pg_try_advisory_lock(%s)", (_BUILD_LOCK,)).fetchone()
        if row != (True,):
            raise Unavailable("the views are being built anew already: wait until that is done")
        self._drop(OLD)
        self._drop(NEXT)
        self._owner.execute(_NEW_SCHEMA.format(schema=NEXT).encode())
        make_tables(self._connection, NEXT, new_models())
        # What is still being filled is vacuumed in vain, and again when it is whole.
        self._connection.execute(_tended(NEXT, "SET", " = off"))

    def swap(self, catch_up: Callable[[int | None], int], stop: threading.Event) -> bool:
        """Let the new build take the place of the live one, as soon as it has caught up with it.

        `catch_up` brings the new build up to a position, or to the head. Returns whether it was
        done: not when it was told to stop before.
        """
        while not stop.is_set():
            reached = catch_up(None)
            with self._connection.transaction():
                if self._hold_live() and self._close_the_gap(reached, catch_up):
                    self._connection.execute(_tended(NEXT, "RESET"))
                    with self._owner.transaction():
                        self._owner.execute(f"ALTER SCHEMA {SCHEMA} RENAME TO {OLD}".encode())
                        self._owner.execute(f"ALTER SCHEMA {NEXT} RENAME TO {SCHEMA}".encode())
                    break
        else:
            return False
        self._drop(OLD)
        self._owner.execute("SELECT pg_advisory_unlock(%s)", (_BUILD_LOCK,))
        return True

    def _close_the_gap(self, reached: int, catch_up: Callable[[int | None], int]) -> bool:
        """Add what the live views have and the new ones do not, if that is not much."""
        self._connection.execute(f"SET LOCAL search_path = {SCHEMA}".encode())
        live = read_mark(self._connection).position
        if live - reached > NEAR:
            return False
        return live <= reached or catch_up(live) >= live

    def _hold_live(self) -> bool:
        """Hold the live checkpoint, so that it neither moves nor is being read; briefly, or not.

        Who reads it first in a transaction keeps the old build until the end of that.
        """
        try:
            with self._connection.transaction():
                self._connection.execute("SET LOCAL lock_timeout = '200ms'")
                self._connection.execute(
                    f"LOCK TABLE {SCHEMA}.checkpoint IN ACCESS EXCLUSIVE MODE".encode()
                )
        except psycopg.errors.LockNotAvailable:
            time.sleep(0.05)
            return False
        return True

    def _drop(self, schema: str) -> None:
        """Drop a schema that nobody looks into any more, waiting for those who still do."""
        while True:
            try:
                self._owner.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())
                return
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                time.sleep(1)
