"""Habits in PostgreSQL: what scoring has seen, saved together with how far it has come."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tollbook.errors import Unavailable

from adapters.postgres import Connection
from application.fraud_watching import Watched, WatchMovedError

Run = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs one query and returns its rows."""

_LOCK = 0x66726175
"""The advisory lock of the one who scores ("frau")."""

_MOVE = """
UPDATE fraud_watch SET rule = %s, position = %s, silent_until = %s
WHERE rule = %s AND position = %s AND silent_until = %s
"""
_SAVE = """
INSERT INTO fraud_habits (customer, habit) SELECT * FROM unnest(%s::text[], %s::text[])
ON CONFLICT (customer) DO UPDATE SET habit = excluded.habit
"""

_STANDING = f"""
SELECT watch.position, head.position, EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 0 AND objid = {_LOCK}
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
FROM fraud_watch AS watch, ledger_head AS head
"""  # noqa: S608 - our own number


class Scoring(NamedTuple):
    """How scoring stands, whoever does it."""

    position: int
    """Up to here the log was scored."""
    head: int
    led: bool
    """Whether some process is the one that scores."""


def scoring(run: Run) -> Scoring:
    """Ask the ledger how scoring stands."""
    rows = run(_STANDING, ())
    if not rows:
        raise Unavailable("the table fraud_watch has lost its row")
    return Scoring(*rows[0])


class FraudHabits:
    """Implements application.fraud_watching.HabitStore on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        """Use a connection that commits each statement."""
        self._connection = connection
        # What is lost with a crash is scored again; the flags have been decided before.
        connection.execute("SET synchronous_commit = off")

    def lead(self) -> bool:
        """Become the one who scores, or say that somebody else is; the connection's end ends it."""
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
        return bool(row and row[0])

    def watched(self) -> Watched:
        """Return how far the log was scored."""
        query = "SELECT rule, position, silent_until FROM fraud_watch"
        row = self._connection.execute(query).fetchone()
        if row is None:
            raise Unavailable("the table fraud_watch has lost its row")
        return Watched(*row)

    def start_again(self, before: Watched, after: Watched) -> None:
        """Forget every habit and stand elsewhere."""
        with self._connection.transaction():
            self._move(before, after)
            self._connection.execute("DELETE FROM fraud_habits")

    def habits(self, customers: Sequence[str]) -> Mapping[str, str]:
        """Return the habits, as JSON, of those customers that have one."""
        query = "SELECT customer, habit FROM fraud_habits WHERE customer = ANY(%s)"
        return dict(self._connection.execute(query, (list(customers),)).fetchall())

    def save(self, before: Watched, after: Watched, habits: Mapping[str, str]) -> None:
        """Keep habits and stand at the next position."""
        with self._connection.transaction():
            self._move(before, after)
            if habits:
                self._connection.execute(_SAVE, (list(habits), list(habits.values())))

    def _move(self, before: Watched, after: Watched) -> None:
        if self._connection.execute(_MOVE, (*after, *before)).rowcount != 1:
            raise WatchMovedError
