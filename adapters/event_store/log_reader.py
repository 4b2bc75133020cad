"""Reading the log as projections follow it: whole chunks with their leaf hashes, in order."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from tollbook.errors import TollbookError, Unavailable

from adapters.event_store.mapper import decode
from adapters.postgres import Connection
from application.following import Entry, Followed, Stretch, TooNew, Unreadable
from application.replaying import Share

_COLUMNS = (
    "position, name, customer, customer_sequence, command, occurred_at, recorded_at, "
    "version, data, leaf"
)
"""Those of `Followed`, then the version and the payload, and the leaf hash."""

BYTES_MAX = 64 * 2**20
"""Once so many bytes of payloads are to be read at once, the rest comes later."""

# The size of a payload is known without reading it.
_SIZED = (
    "SELECT *, sum(octet_length(data)) OVER (ORDER BY position) - octet_length(data) AS ahead FROM"
)
_AFTER = (
    f"SELECT {_COLUMNS} FROM ({_SIZED} (SELECT {_COLUMNS} FROM public.events "  # noqa: S608
    "WHERE position > %s ORDER BY position LIMIT %s) AS wanted) AS sized "
    f"WHERE ahead < {BYTES_MAX} ORDER BY position"
)
_REACH = (
    f"SELECT max(position) FROM ({_SIZED} (SELECT position, data FROM "  # noqa: S608 - our names
    "public.events WHERE position > %s AND position <= %s ORDER BY position) AS wanted) AS sized "
    f"WHERE ahead < {BYTES_MAX}"
)
_SHARE = (
    f"SELECT {_COLUMNS} FROM public.events "  # noqa: S608 - our own names
    "WHERE position > %s AND position <= %s "
    "AND coalesce(hashtext(customer) & 2147483647, 0) %% %s = %s ORDER BY position"
)
CUSTOMER_EVENTS = 256
"""So many of a customer's events are read at once: a state is mostly kept that often."""

# The limit stands before the position is looked at: otherwise the planner may walk the whole log
# up to there for each customer, or each customer's events to their end.
_CUSTOMERS_AFTER = (
    f"SELECT found.* FROM unnest(%s::text[], %s::bigint[]) AS wanted (id, known), "  # noqa: S608
    f"LATERAL (SELECT {_COLUMNS} FROM public.events WHERE customer = wanted.id "
    "AND customer_sequence > wanted.known "
    f"ORDER BY customer_sequence LIMIT {CUSTOMER_EVENTS}) AS found WHERE position <= %s"
)


class LogReader:
    """Implements application.following.LedgerLog on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        """Read through a connection that may read events, and needs no other right."""
        self._connection = connection

    def run(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one query and return its rows; raises Unavailable when the database does not."""
        try:
            cursor = self._connection.execute(query.encode(), parameters, binary=True)
            return cursor.fetchall()
        except psycopg.Error as error:
            first = str(error).strip().split("\n")[0]
            raise Unavailable(f"the database stopped answering: {first}") from None

    def head(self) -> tuple[int, int]:
        """Return position and recorded time of the newest event."""
        ((position, recorded_at),) = self.run(
            "SELECT position, recorded_at FROM public.ledger_head"
        )
        return position, recorded_at

    def after(self, position: int, limit: int) -> Sequence[Entry]:
        """Return up to `limit` entries after a position; stops before what is too new to read.

        Where they are large, there are fewer.
        """
        entries: list[Entry] = []
        for row in self.run(_AFTER, (position, limit)):
            try:
                entries.append(_entry(row))
            except TooNew:
                if not entries:
                    raise
                return entries
        return entries

    def reach(self, position: int, last: int) -> int:
        """Return up to where events can be read at once; the first one always can."""
        ((reached,),) = self.run(_REACH, (position, last))
        return last if reached is None else int(reached)

    def share(self, position: int, last: int, share: Share) -> Stretch:
        """Return the entries of a share of the customers after one position and up to another."""
        rows = self.run(_SHARE, (position, last, share.parts, share.part))
        firsts: dict[str, int] = {}
        for row in rows:
            if row[2] is not None and row[3] is not None:
                firsts.setdefault(row[2], row[3])
        return Stretch(firsts, map(_entry, rows))

    def customers_after(
        self, wanted: Sequence[tuple[str, int]], position: int
    ) -> Iterator[Followed]:
        """Yield the events of these customers, each after a sequence number, up to a position."""
        known = dict(wanted)
        while known:
            rows = self.run(_CUSTOMERS_AFTER, (list(known), list(known.values()), position))
            counts = Counter(row[2] for row in rows)
            # Who has fewer has no more up to that position; the last row of each one stays.
            known = {row[2]: row[3] for row in rows if counts[row[2]] == CUSTOMER_EVENTS}
            for row in rows:
                try:
                    followed = _followed(row)
                except TollbookError:
                    continue  # it is parked, and said, where the log is followed in order
                yield followed


def _followed(row: tuple[Any, ...]) -> Followed:
    return Followed._make((*row[:7], decode(row[1], row[7], row[8])))


def _entry(row: tuple[Any, ...]) -> Entry:
    """Read a row; one that cannot be read becomes what is known of it."""
    try:
        return _followed(row), row[9]
    except Unavailable as error:
        raise TooNew(error.message, **error.facts) from None
    except TollbookError as error:
        return Unreadable(row[0], row[1], row[2], row[3], row[6], error), row[9]
