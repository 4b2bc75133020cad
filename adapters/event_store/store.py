"""The ledger's event store on PostgreSQL: one appending connection, one reading connection."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from eventsourcing.persistence import EventStore as LibraryEventStore

from adapters.event_store import arrays
from adapters.event_store.application_recorder import LedgerApplicationRecorder
from adapters.event_store.arrays import BIGINT, INTEGER, SMALLINT, int_array, text_array
from adapters.event_store.mapper import ROW_COLUMNS, LedgerMapper, encode, leaf_hash, recorded_from
from adapters.event_store.recorder import SnapshotMapper, SnapshotRecorder
from adapters.postgres import Connection, connect
from application.ports import (
    Batch,
    ClockRefusedError,
    ConnectionLostError,
    FencedError,
    Head,
    HeadMovedError,
    Key,
    Snapshot,
    StoreFailedError,
    TakenError,
)
from domain.event import Recorded

T = TypeVar("T")

APPLICATION_ROLE = "tollbook_app"

_APPEND = f"SELECT append_events({', '.join(['%s'] * 26)})"
_SINCE = f"SELECT {ROW_COLUMNS} FROM events WHERE position > %s ORDER BY position LIMIT %s"  # noqa: S608
_AT = f"SELECT {ROW_COLUMNS} FROM events WHERE position = ANY(%s)"  # noqa: S608 - our own names
_LOST = (psycopg.OperationalError, psycopg.InterfaceError)
_FULL = (psycopg.errors.DiskFull, psycopg.errors.OutOfMemory, psycopg.errors.InsufficientResources)


class PostgresEventStore:
    """Implements application.ports.EventStore; one thread at a time may append."""

    def __init__(self, url: str) -> None:
        """Connect; raises Unavailable when the database does not answer."""
        self._url = url
        self._connection: Connection | None = None
        self._guard = threading.RLock()
        self._locked = False
        mapper = LedgerMapper()
        self._recorder = LedgerApplicationRecorder(self.run)
        self._events: LibraryEventStore[str] = LibraryEventStore(mapper, self._recorder)
        self._snapshots: LibraryEventStore[str] = LibraryEventStore(
            SnapshotMapper(), SnapshotRecorder(self.run)
        )
        self._connected()

    def close(self) -> None:
        """Close the connection; the store opens it again when it is used again."""
        with self._guard:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._url, role=APPLICATION_ROLE)
            arrays.register(self._connection)
        return self._connection

    def run(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query on the one connection; a broken one raises ConnectionLostError."""
        with self._guard, _translated():
            cursor = self._connected().execute(query, parameters, prepare=True, binary=True)
            return cursor.fetchall() if cursor.description else []

    def head(self) -> Head:
        """Return where the ledger stands."""
        return Head(*self.run("SELECT position, recorded_at, clock FROM ledger_head")[0])

    def database_time(self) -> int:
        """Return the database's clock, in microseconds since 1970."""
        return int(self.run("SELECT clock_us()")[0][0])

    def append(self, batch: Batch) -> None:
        """Append all of a batch in one transaction, or nothing; see the port for how it fails."""
        status = self.run(_APPEND, _parameters(batch))[0][0]
        if status == "moved":
            raise HeadMovedError
        if status == "clock":
            raise ClockRefusedError

    @contextmanager
    def locked(self) -> Iterator[Head]:
        """Hold the head while the block runs, in one transaction that ends with the block."""
        with self._guard, _translated(), self._connected().transaction():
            yield Head(*self.run("SELECT position, recorded_at, clock FROM lock_head()")[0])

    def since(self, position: int, limit: int) -> list[Recorded]:
        """Return up to `limit` events after a position, in order."""
        rows = self.run(
            _SINCE,
            (position, limit),
        )
        return [recorded_from(row) for row in rows]

    def at(self, positions: Iterable[int]) -> dict[int, Recorded]:
        """Return the events at these positions."""
        rows = self.run(_AT, (list(positions),))
        return {row[0]: recorded_from(row) for row in rows}

    def taken(self, keys: Sequence[Key]) -> dict[Key, int]:
        """Return which of these keys are taken, and the positions that answer them."""
        rows = self.run(
            "SELECT c.kind, c.scope, c.id, c.position FROM unnest(%s, %s, %s) AS k(kind, scope, id)"
            " JOIN command_ids AS c USING (kind, scope, id)",
            [text_array([key[part] for key in keys]) for part in range(3)],
        )
        return {(kind, scope, name): position for kind, scope, name, position in rows}

    def customer_events(self, customer: str, after: int, position: int) -> Iterator[Recorded]:
        """Yield a customer's events after a sequence number, up to a position."""
        for recorded in self._library(f"customer:{customer}", after):
            if recorded.position > position:
                return
            yield recorded

    def stream_events(self, stream: str, position: int) -> Iterator[Recorded]:
        """Yield a stream's events up to a position."""
        for recorded in self._library(f"stream:{stream}", None):
            if recorded.position > position:
                return
            yield recorded

    def _library(self, axis: str, after: int | None) -> Iterator[Any]:
        return self._events.get(axis, gt=after)

    def snapshot(self, customer: str) -> Snapshot | None:
        """Return the customer's newest snapshot, if this code understands its state."""
        found: Any = next(
            iter(self._snapshots.get(f"balance-{customer}", desc=True, limit=1)), None
        )
        return found if isinstance(found, Snapshot) else None

    def save_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Keep these snapshots in place of older ones."""
        self._snapshots.put(snapshots)  # type: ignore[arg-type]

    def matches(self, batch: Batch) -> bool:
        """Say whether exactly this batch is stored.

        Asked after a lost acknowledgement: holding the head first waits for a commit that may
        still be under way.
        """
        with self.locked():
            if not batch.events:
                return False
            last = batch.events[-1]
            rows = self.run("SELECT leaf FROM events WHERE position = %s", (last.position,))
            return bool(rows) and bytes(rows[0][0]) == leaf_hash(last, encode(last.event))


def _parameters(batch: Batch) -> list[Any]:
    """Lay a batch out as one array per column, in the order of append_events."""
    events = batch.events
    payloads = [encode(recorded.event) for recorded in events]
    leaves = b"".join(map(leaf_hash, events, payloads))
    columns: list[Any] = list(zip(*events, strict=True)) if events else [()] * 14
    (_, names, versions, streams, stream_versions, customers, sequences) = columns[:7]
    (commands, causations, correlations, actors, occurred, recorded_ats, _) = columns[7:]
    keys = [key for key, _ in batch.ids]
    riders = batch.riders
    return [
        batch.expected,
        recorded_ats[0] if events else 0,
        recorded_ats[-1] if events else 0,
        int_array(BIGINT, sequences),
        int_array(BIGINT, occurred),
        int_array(BIGINT, recorded_ats),
        int_array(INTEGER, stream_versions),
        int_array(SMALLINT, versions),
        text_array(names),
        text_array(streams),
        text_array(customers),
        text_array(commands),
        text_array(causations),
        text_array(correlations),
        text_array(actors),
        text_array(payloads),
        leaves,
        int_array(BIGINT, [position for _, position in batch.ids]),
        text_array([key[2] for key in keys]),
        text_array([key[0] for key in keys]),
        text_array([key[1] for key in keys]),
        text_array([rider.cluster for rider in riders]),
        text_array([rider.topic for rider in riders]),
        int_array(INTEGER, [rider.partition for rider in riders]),
        int_array(BIGINT, [rider.expected for rider in riders]),
        int_array(BIGINT, [rider.next_offset for rider in riders]),
    ]


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's errors into the ones of the port."""
    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        raise TakenError(str(error.diag.constraint_name)) from None
    except _FULL as error:
        raise StoreFailedError(_line(error)) from None
    except psycopg.Error as error:
        state = error.sqlstate
        if state == "TB001":
            raise FencedError from None
        if state == "TB002":
            raise TakenError("customer") from None
        if isinstance(error, _LOST) and (state is None or state[:2] in ("08", "57")):
            raise ConnectionLostError(_line(error)) from None
        raise StoreFailedError(_line(error)) from None


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
