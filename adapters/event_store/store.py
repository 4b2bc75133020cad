"""The ledger's event store on PostgreSQL: one appending connection, one reading connection."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from eventsourcing.persistence import EventStore as LibraryEventStore

from adapters.event_store import appending, reading_ahead
from adapters.event_store.application_recorder import LedgerApplicationRecorder
from adapters.event_store.mapper import (
    ROW_COLUMNS,
    LedgerMapper,
    encode,
    leaf_hash,
    learn_all,
    recorded_from,
)
from adapters.event_store.recorder import SnapshotMapper, SnapshotRecorder
from adapters.event_store.translating import LOST, translated
from adapters.postgres import Connection, connect
from application.ports import (
    Batch,
    ClockRefusedError,
    Concerns,
    ConnectionLostError,
    FencedError,
    Head,
    HeadMovedError,
    History,
    Key,
    Rider,
    Snapshot,
    StoreFailedError,
    TakenError,
)
from domain.event import Recorded
from domain.reservation import Reservation

T = TypeVar("T")

APPLICATION_ROLE = "tollbook_app"

_ROWS = f"SELECT {ROW_COLUMNS} FROM events WHERE position"  # noqa: S608 - our own names
_SINCE = f"{_ROWS} > %s ORDER BY position LIMIT %s"
_AT = f"{_ROWS} = ANY(%s)"
_TAKEN = (
    "SELECT c.kind, c.scope, c.id, c.position "
    "FROM unnest(%s::text[], %s::text[], %s::text[]) AS k(kind, scope, id) "
    "JOIN command_ids AS c USING (kind, scope, id)"
)
PORT_ERRORS = (TakenError, FencedError, ConnectionLostError, StoreFailedError)


class PostgresEventStore:
    """Implements application.ports.EventStore; one thread at a time may append."""

    def __init__(self, url: str) -> None:
        """Connect; raises Unavailable when the database does not answer."""
        self._url = url
        self._connection: Connection | None = None
        self._cursor: psycopg.Cursor[tuple[Any, ...]]
        self._guard = threading.RLock()
        self._sent = False
        self._status: str | Exception | None = None
        self._holding = False
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
            if self._holding:
                raise psycopg.OperationalError("the connection broke while the head was held")
            self._connection = connect(self._url, role=APPLICATION_ROLE)
            appending.prepare(self._connection)
            reading_ahead.prepare(self._connection)
            self._cursor = self._connection.cursor(binary=True)
        return self._connection

    def get_ready(self) -> None:
        """Do now what the first commands would wait for otherwise: whoever serves has the time.

        The server plans its statements when they are first run, and payloads need their codecs.
        """
        learn_all()
        with suppress(HeadMovedError):
            self.append(Batch(-1, (), ()))
        list(self.streams_events((), 0))
        self.reservations((), 0)
        self.histories((), 0)

    def run(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query on the one connection; it may run twice when the connection breaks.

        Raises ConnectionLostError when the second connection breaks as well, or the head is held.
        """
        with self._guard, translated():
            self._settle()
            connection = self._connected()
            try:
                return self._rows(query, parameters)
            except LOST:
                if self._holding or not connection.closed:
                    raise
            self._connected()
            return self._rows(query, parameters)

    def _rows(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        cursor = self._cursor
        cursor.execute(query, parameters, prepare=True)
        result = cursor.pgresult
        return cursor.fetchall() if result is not None and result.nfields else []

    def head(self) -> Head:
        """Return where the ledger stands."""
        return Head(*self.run("SELECT position, recorded_at, clock FROM ledger_head")[0])

    def database_time(self) -> int:
        """Return the database's clock, in microseconds since 1970."""
        return int(self.run("SELECT clock_us()")[0][0])

    def append(self, batch: Batch) -> None:
        """Append all of a batch in one transaction, or nothing; see the port for how it fails."""
        self.send(batch)
        self.receive()

    def send(self, batch: Batch) -> None:
        """Begin to append a batch; `receive` says how it ended."""
        with self._guard, translated():
            appending.send(self._connected(), batch)
            self._sent, self._status = True, None

    def receive(self) -> None:
        """Wait for the batch that was sent; raises as `append` does."""
        with self._guard:
            self._settle()
            status, self._status = self._status, None
        if isinstance(status, Exception):
            raise status
        if status == "moved":
            raise HeadMovedError
        if status == "clock":
            raise ClockRefusedError
        if status != "ok":
            raise ConnectionLostError("nobody knows what became of the batch")

    def _settle(self) -> None:
        """Wait for a batch that is on its way, and keep how it ended for `receive`."""
        if not self._sent:
            return
        self._sent = False
        connection = self._connection
        if connection is None or connection.closed:
            self._status = ConnectionLostError("the connection was closed")
            return
        try:
            with translated():
                self._status = appending.receive(connection)
        except PORT_ERRORS as error:
            self._status = error
        except BaseException as error:  # nobody knows how it ended: the ledger itself has to say
            self.close()
            self._status = ConnectionLostError(repr(error))
            if not isinstance(error, Exception):
                raise

    @contextmanager
    def locked(self) -> Iterator[Head]:
        """Hold the head while the block runs, in one transaction that ends with the block."""
        with self._guard:
            self._settle()
            try:
                with translated(), self._connected().transaction():
                    self._holding = True
                    yield Head(*self.run("SELECT position, recorded_at, clock FROM lock_head()")[0])
            except BaseException:
                # After a rollback the driver drops every prepared statement of its session, and
                # so the one that appends: start again with a session of its own.
                self.close()
                raise
            finally:
                self._holding = False

    def since(self, position: int, limit: int, concerns: Concerns | None = None) -> list[Recorded]:
        """Return which of the next `limit` events concern somebody, in order; the last one always.

        Others are not decoded, which is most of the work.
        """
        rows = self.run(_SINCE, (position, limit))
        if concerns is not None:
            rows = [row for row in rows[:-1] if concerns(row[3], row[5])] + rows[-1:]
        return [recorded_from(row) for row in rows]

    def at(self, positions: Iterable[int]) -> dict[int, Recorded]:
        """Return the events at these positions."""
        rows = self.run(_AT, (list(positions),))
        return {row[0]: recorded_from(row) for row in rows}

    def taken(self, keys: Sequence[Key]) -> dict[Key, int]:
        """Return which of these keys are taken, and the positions that answer them."""
        rows = self.run(_TAKEN, [[key[part] for key in keys] for part in range(3)])
        return {(kind, scope, name): position for kind, scope, name, position in rows}

    def customer_events(
        self, customer: str, after: int, position: int, last: int | None = None
    ) -> Iterator[Recorded]:
        """Yield a customer's events after a sequence number, up to a position and to `last`."""
        for recorded in self._library(f"customer:{customer}", after, last):
            if recorded.position > position:
                return
            yield recorded

    def stream_events(self, stream: str, position: int) -> Iterator[Recorded]:
        """Yield a stream's events up to a position."""
        for recorded in self._library(f"stream:{stream}", None):
            if recorded.position > position:
                return
            yield recorded

    def histories(self, customers: Sequence[str], position: int) -> dict[str, History]:
        """Return what the folds of many customers start from, and the events up to a position."""
        return self._ahead(reading_ahead.histories, customers, position)

    def reservations(self, names: Sequence[str], position: int) -> dict[str, Reservation]:
        """Return many reservations as of a position; those that there are not are left out."""
        return self._ahead(reading_ahead.reservations, names, position)

    def streams_events(self, streams: Sequence[str], position: int) -> Iterator[Recorded]:
        """Yield the events of many streams up to a position, each stream's in order."""
        yield from self._ahead(reading_ahead.streams, streams, position)

    def _ahead(
        self, read: Callable[..., T], names: Sequence[str], position: int, *, again: bool = True
    ) -> T:
        """Read much at once; it may run twice when the connection breaks, as `run` does."""
        with self._guard, translated():
            self._settle()
            connection = self._connected()
            try:
                return read(connection, names, position)
            except BaseException as error:
                broken = isinstance(error, LOST) and connection.closed
                connection.close()  # rows may still be on their way
                if self._holding or not (broken and again):
                    raise
        return self._ahead(read, names, position, again=False)

    def _library(self, axis: str, after: int | None, last: int | None = None) -> Iterator[Any]:
        return self._events.get(axis, gt=after, lte=last)

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
                return self._offsets_stand(batch.riders)
            last = batch.events[-1]
            rows = self.run("SELECT leaf FROM events WHERE position = %s", (last.position,))
            return bool(rows) and bytes(rows[0][0]) == leaf_hash(last, encode(last.event))

    def _offsets_stand(self, riders: Sequence[Rider]) -> bool:
        """Say whether every offset stands where these riders would have left it."""
        wanted = {rider[:3]: rider.next_offset for rider in riders}
        rows = self.run("SELECT cluster, topic, partition, next_offset FROM stream_offsets")
        return bool(wanted) and wanted.items() <= {row[:3]: row[3] for row in rows}.items()
