"""What auditors read: every row as it is stored, in one snapshot of the database."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from psycopg import IsolationLevel
from tollbook import canonical
from tollbook.errors import TollbookError, Unavailable

from adapters.event_store.mapper import ROW_COLUMNS, decode, is_spelling, leaf_hash
from adapters.event_store.store import APPLICATION_ROLE
from adapters.postgres import Connection, connect
from application.auditing import StoredSnapshot
from application.auditing_ids import Entry, Told
from application.ports import Head, Key
from application.replaying import Fact, Share
from domain.event import Event, Recorded
from domain.state import STATE_VERSION

CHUNK = 1_000
"""So few rows are in memory at a time: an event may tell many inferences."""

_SELECT = f"SELECT {ROW_COLUMNS}, leaf FROM events ORDER BY position"  # noqa: S608 - our own names

_FACTS = """
SELECT name, version, data, customer, command, recorded_at FROM events WHERE position <= %s
AND (customer IS NULL OR (hashtext(customer) & 2147483647) %% %s = %s) ORDER BY position
"""

_LEAVES = "SELECT leaf, recorded_at FROM events WHERE position <= %s ORDER BY position"

_UNANSWERED = """
SELECT wanted.position FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::text[])
    AS wanted (position, kind, scope, id)
WHERE NOT EXISTS (SELECT FROM command_ids AS kept WHERE kept.id = wanted.id
    AND kept.kind = wanted.kind AND kept.scope = wanted.scope AND kept.position = wanted.position)
"""

_IDS = "SELECT position, kind, scope, id FROM command_ids ORDER BY position"
_TOLD = "SELECT position, name, version, command, data FROM events WHERE position = ANY(%s)"

_SNAPSHOTS = f"""
SELECT substr(stream, length('balance-') + 1), stream_version, data FROM snapshots
WHERE state_version = {STATE_VERSION} AND stream LIKE 'balance-%' ORDER BY stream
"""  # noqa: S608 - our own number

# Each guard of the log that a superuser could take away, or put another one in place of, and what
# it looks like in its place: 58 is "before each statement that updates, deletes or truncates", 42
# "before each that deletes or truncates", and 17 "after each row that is updated".
_GUARDS = """
SELECT 'trigger ' || guard.name, 'always on', coalesce((SELECT CASE
        WHEN tgenabled = 'D' THEN 'disabled' WHEN tgenabled <> 'A' THEN 'not always on'
        WHEN tgtype = guard.kind AND tgattr = '' AND tgqual IS NULL
            AND tgfoid = to_regproc('public.' || guard.does) THEN 'always on'
        ELSE 'another one' END
    FROM pg_trigger WHERE tgname = guard.name AND tgrelid = to_regclass(guard.place)), 'none')
FROM (VALUES ('events_are_append_only', 'events', 58, 'refuse_change'),
        ('ids_are_for_ever', 'command_ids', 58, 'refuse_change'),
        ('offsets_go_forward', 'stream_offsets', 17, 'refuse_going_back'),
        ('offsets_are_kept', 'stream_offsets', 42, 'refuse_change'))
    AS guard (name, place, kind, does)
UNION ALL
SELECT 'function ' || guard.name, guard.hash, coalesce((
    SELECT encode(sha256(convert_to(prosrc, 'UTF8')), 'hex')
    FROM pg_proc WHERE oid = to_regproc('public.' || guard.name)), 'none')
FROM (VALUES ('refuse_change', 'REFUSES'), ('refuse_going_back', 'GOES_FORWARD'))
    AS guard (name, hash)
UNION ALL
SELECT 'constraint ' || guard.name, guard.columns, coalesce((
    SELECT (SELECT string_agg(attname, ' ' ORDER BY place) FROM pg_attribute
        JOIN unnest(conkey) WITH ORDINALITY AS part (number, place) ON attnum = number
        WHERE attrelid = conrelid)
    FROM pg_constraint JOIN pg_index ON indexrelid = conindid AND indisunique AND indisvalid
    WHERE conname = guard.name AND conrelid = to_regclass(guard.place)), 'none')
FROM (VALUES ('events_position', 'events', 'position'),
        ('events_stream', 'events', 'stream stream_version'),
        ('events_customer', 'events', 'customer customer_sequence'),
        ('command_ids_taken', 'command_ids', 'id kind scope'))
    AS guard (name, place, columns)
"""

_REFUSES = "77c3d7d8efe29fdcd7f6e5fc54782fc176f4afdfaaf71336739b01ccf5542668"
"""The SHA-256 of what the function `refuse_change` does, as the first migration made it."""

_GOES_FORWARD = "835c87a16fe52e6791fbd75d8e9d319e6fd93f3fbc80c2cc7fc7939bebc1e8ed"
"""And of `refuse_going_back`, as 0006_offsets.sql made it."""


class PostgresAuditReader:
    """Implements application.auditing.AuditReader and application.replaying.ReplayReader."""

    def __init__(self, connection: Connection) -> None:
        """Read through a connection that stands in one transaction for the whole audit."""
        self._connection = connection

    def head(self) -> Head:
        """Return what the ledger says about its own end."""
        return Head(*self._run("SELECT position, recorded_at, clock FROM ledger_head")[0])

    def position(self) -> int:
        """Return the position of the newest event."""
        return int(self._run("SELECT coalesce(max(position), 0) FROM events")[0][0])

    def entries(self) -> Iterator[Sequence[Entry]]:
        """Yield every stored event in order of position, in chunks."""
        for rows in self._chunks(_SELECT):
            yield [_entry(row) for row in rows]

    def position_at(self, instant: int) -> int:
        """Return the position of the newest event recorded at or before an instant, or 0."""
        query = "SELECT coalesce(max(position), 0) FROM events WHERE recorded_at <= %s"
        return int(self._run(query, (instant,))[0][0])

    def facts(self, last: int, share: Share) -> Iterator[Sequence[Fact]]:
        """Yield a share's events up to a position, in order and in chunks."""
        for rows in self._chunks(_FACTS, (last, share.parts, share.part)):
            yield [
                (decode(name, version, data), customer, command, at)
                for name, version, data, customer, command, at in rows
            ]

    def leaves(self, last: int) -> Iterator[Sequence[tuple[bytes, int]]]:
        """Yield stored leaf hash and recorded_at of every event up to a position, in chunks."""
        yield from self._chunks(_LEAVES, (last,))

    def unanswered(self, keys: Sequence[tuple[Key, int]]) -> list[int]:
        """Return the positions of those keys that are not kept, each with its position."""
        parameters = [
            [position for _, position in keys],
            *([key[part] for key, _ in keys] for part in range(3)),
        ]
        return [int(row[0]) for row in self._run(_UNANSWERED, parameters)]

    def id_count(self) -> int:
        """Return how many ids are kept."""
        return int(self._run("SELECT count(*) FROM command_ids")[0][0])

    def ids(self) -> Iterator[Sequence[tuple[int, Key]]]:
        """Yield every id that is kept, in order of position, in chunks."""
        for rows in self._chunks(_IDS):
            yield [(row[0], (row[1], row[2], row[3])) for row in rows]

    def told_at(self, positions: Sequence[int]) -> Mapping[int, Told]:
        """Return what stands at these positions; those where nothing does are left out."""
        return {
            position: (command, _strictly_read(name, version, data.encode())[0])
            for position, name, version, command, data in self._run(_TOLD, (list(positions),))
        }

    def snapshots(self) -> Iterator[StoredSnapshot]:
        """Yield the snapshots that this program would use."""
        for rows in self._chunks(_SNAPSHOTS, chunk=100):
            yield from (StoredSnapshot(*row) for row in rows)

    def open_doors(self) -> list[tuple[str, str, str]]:
        """Return (what, expected, found) for each guard of the log that is not in its place."""
        guards = self._run(
            _GUARDS.replace("REFUSES", _REFUSES).replace("GOES_FORWARD", _GOES_FORWARD)
        )
        return [(what, expected, found) for what, expected, found in guards if found != expected]

    def _run(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _plain_words():
            return self._connection.execute(query, parameters, binary=True).fetchall()

    def _chunks(
        self, query: str, parameters: Sequence[Any] = (), chunk: int = CHUNK
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query bit by bit, through a cursor that the server keeps."""
        with _plain_words(), self._connection.cursor(name="audit") as cursor:
            cursor.execute(query.encode(), parameters or None, binary=True)
            while rows := cursor.fetchmany(chunk):
                yield rows


def _entry(row: tuple[Any, ...]) -> Entry:
    """Read a stored row strictly, and compute its leaf hash again."""
    stored = row[:14]
    data = row[13].encode()
    event, problem = _strictly_read(row[1], row[2], data)
    # The hash is over the columns as they stand, whatever they say.
    leaf = leaf_hash(cast("Recorded", stored), data)
    return Entry(stored, event, problem, leaf, row[14])


def _strictly_read(name: str, version: int, data: bytes) -> tuple[Event | None, str | None]:
    """Return the event, and what is wrong with its bytes, if anything is."""
    try:
        event = decode(name, version, data)
    except TollbookError as error:
        return None, error.message
    # Only an upcast event is written differently from what was read.
    if is_spelling(event, data) or (version != event.VERSION and canonical.is_canonical(data)):
        return event, None
    return event, f"another spelling: {data.decode()}"


@contextmanager
def audit_reader(url: str) -> Iterator[PostgresAuditReader]:
    """Read a ledger as it stands at this moment; raises Unavailable when it does not answer."""
    connection = connect(url, role=APPLICATION_ROLE)
    try:
        with _plain_words():
            connection.execute("SET statement_timeout = 0")
            connection.execute("SET idle_in_transaction_session_timeout = 0")
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            connection.read_only = True
        with connection.transaction():
            yield PostgresAuditReader(connection)
    finally:
        connection.close()


@contextmanager
def _plain_words() -> Iterator[None]:
    """Say in our own words that the database went away."""
    try:
        yield
    except psycopg.Error as error:
        raise Unavailable(f"the database stopped answering: {str(error).strip()}") from None
