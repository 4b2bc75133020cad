"""The outbox of a webhook: the log itself, and a cursor in PostgreSQL."""

from adapters.postgres import Connection
from application.notices import TYPES, Cursor, Told

CURSOR = "SELECT position, tries, next_at, error FROM webhook_cursors WHERE name = %s"
_BEGIN = """
INSERT INTO webhook_cursors SELECT %s, position, 0, 0, '' FROM ledger_head ON CONFLICT DO NOTHING
"""
_MOVE = """
UPDATE webhook_cursors SET position = %s, tries = %s, next_at = %s, error = %s
WHERE name = %s AND position = %s AND tries = %s
"""
_NEXT = """
SELECT position, name, actor, recorded_at, data, leaf FROM events
WHERE position > %s AND position <= %s AND name = ANY(%s) ORDER BY position LIMIT 1
"""


class WebhookOutbox:
    """Implements application.notices.Outbox on a connection of its own."""

    def __init__(self, connection: Connection, name: str) -> None:
        """Use a connection that commits each statement; `name` is the receiver's."""
        self._connection = connection
        self._name = name

    def lead(self) -> bool:
        """Become the one who delivers, or say that somebody else does."""
        query = "SELECT pg_try_advisory_lock(hashtextextended('webhook ' || %s, 0))"
        row = self._connection.execute(query, (self._name,)).fetchone()
        return bool(row and row[0])

    def cursor(self) -> Cursor:
        """Return where the deliveries stand; a new receiver is told what happens from now on."""
        row = self._connection.execute(CURSOR, (self._name,)).fetchone()
        if row is None:
            self._connection.execute(_BEGIN, (self._name,))
            return self.cursor()
        return Cursor(*row)

    def move(self, before: Cursor, after: Cursor) -> bool:
        """Stand elsewhere, unless somebody else has moved meanwhile."""
        values = (*after, self._name, before.position, before.tries)
        return self._connection.execute(_MOVE, values).rowcount == 1

    def next_after(self, position: int, limit: int) -> tuple[Told | None, int]:
        """Return the first event to tell after a position, and how far the log was looked at."""
        row = self._connection.execute("SELECT position FROM ledger_head").fetchone()
        head = 0 if row is None else int(row[0])
        last = min(head, position + limit)
        found = self._connection.execute(_NEXT, (position, last, list(TYPES))).fetchone()
        return (None, last) if found is None else (Told(*found), int(found[0]))

    def now(self) -> int:
        """Return the database's clock, in microseconds since 1970."""
        row = self._connection.execute("SELECT clock_us()").fetchone()
        return 0 if row is None else int(row[0])
