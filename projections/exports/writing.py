"""Writing an export: the rows as of a position, in one snapshot, into a file that is whole or not.

PostgreSQL does the work (one COPY); the first line, or the metadata, names the ledger's position
and Merkle root, so that whoever holds the file can ask for the proof.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from tollbook.errors import Invalid, Unavailable

from application.following import LedgerLog
from projections.checkpoint import position as views_position
from projections.exports import balances
from projections.exports.formats import first_line, query
from projections.exports.parquet import write_parquet
from projections.exports.tables import BALANCES, CHARGES, JOURNAL, USAGE, Table
from projections.model import Connection
from projections.transparency_log import root_at

_ROWS_AT_ONCE = 2_000

_FED_BY = {USAGE: "charges", CHARGES: "charges", JOURNAL: "journal", BALANCES: "balances"}
"""The read model whose gaps would be gaps of an export."""

_LEFT_ASIDE = """
SELECT position, name, error FROM views.parked_events
WHERE position <= %s AND model IN ('*', %s) ORDER BY position LIMIT 1
"""

Progress = Callable[[int], None]


class Export(NamedTuple):
    """What was written."""

    what: str
    format: str
    rows: int
    position: int
    root: str
    sha256: str


class Snapshot:
    """The views in one transaction, complete up to a position."""

    def __init__(self, connection: Connection, log: LedgerLog, table: Table, position: int) -> None:
        """Begin to look; raises Unavailable when something up to the position is missing."""
        self._connection = connection
        self._log = log
        self._table = table
        self.position = position
        reached = views_position(self.run)
        if reached < position:
            raise Unavailable(f"the views stand at position {reached}, not yet at {position}")
        gaps = self.run(_LEFT_ASIDE, (position, _FED_BY[table]))
        if gaps:
            at, name, error = gaps[0]
            raise Unavailable(
                f"the views could not take in {name} at position {at} ({error}), so an export up "
                f"to {position} would not be whole; repair it and run tollbook project --rebuild"
            )
        self.root = root_at(self.run, position).hex()
        if table is BALANCES:
            balances.lay_out(connection, log, self.run, position, self._instant())

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one query in the transaction and return its rows."""
        return self._connection.execute(statement.encode(), values).fetchall()

    def _instant(self) -> int:
        """Return the ledger's time at the position."""
        rows = self.run("SELECT recorded_at FROM events WHERE position = %s", (self.position,))
        return int(rows[0][0]) if rows else 0

    def count(self) -> int:
        """Return how many rows there are."""
        rows = self._table.rows.format(position=self.position)
        return int(self.run(f"SELECT count(*) FROM ({rows}) AS exported")[0][0])  # noqa: S608

    def write(self, format: str, target: IO[bytes], advance: Progress) -> tuple[int, str]:
        """Write a text format with its first line; return the number of rows and the hash."""
        hashed = hashlib.sha256()
        head = first_line(self._table, format, self.position, self.root)

        def put(data: bytes) -> None:
            hashed.update(data)
            target.write(data)

        put(head)
        return self._stream(format, put, advance), hashed.hexdigest()

    def write_parquet(self, target: Path, advance: Progress) -> tuple[int, str]:
        """Write a Parquet file; return the number of rows and the hash."""
        rows: list[int] = []

        def feed(pipe: IO[bytes]) -> None:
            rows.append(self._stream("parquet", pipe.write, advance))

        write_parquet(self._table, self.position, self.root, target, feed)
        with target.open("rb") as file:
            return rows[0], hashlib.file_digest(file, "sha256").hexdigest()

    def _stream(self, format: str, put: Callable[[bytes], Any], advance: Progress) -> int:
        """Pass the rows on as they come, many at a time; return their number."""
        count, rows = 0, list[bytes | bytearray | memoryview]()
        statement = query(self._table, format, self.position)
        with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            while row := copy.read():
                rows.append(row)
                if len(rows) == _ROWS_AT_ONCE:
                    put(b"".join(rows))
                    count += len(rows)
                    advance(len(rows))
                    rows.clear()
        put(b"".join(rows))
        advance(len(rows))
        return count + len(rows)


@contextmanager
def snapshot(
    connection: Connection, log: LedgerLog, table: Table, position: int
) -> Iterator[Snapshot]:
    """Look at the views as of a position, in one transaction that takes as long as it needs."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield Snapshot(connection, log, table, position)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a new file beside the target, which takes its place when the block has succeeded."""
    if target.exists() and not target.is_file():
        raise Invalid.because("out", str(target), "a file, or - for standard output")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise Invalid.because("out", str(target), f"writable ({error.strerror})") from None
    os.close(handle)
    made = Path(name)
    try:
        yield made
        made.chmod(_rights(target))
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(target)
    except OSError as error:
        raise Unavailable(f"{target} could not be written: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            made.unlink()


def _rights(target: Path) -> int:
    """Return who may do what with a file: as with the one that it replaces, if there is one."""
    return stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
