"""Parquet: DuckDB reads the rows as they stream in, and writes typed columns.

One thread and row groups of one size, so that the same rows always give the same bytes.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import duckdb
from tollbook.errors import Unavailable

from projections.exports.tables import Column, Kind, Table

ROW_GROUP = 122_880

_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.FREE: "VARCHAR",
    Kind.COUNT: "BIGINT",
    Kind.SUM: "DECIMAL(38, 0)",
    Kind.QUANTITY: "DECIMAL(38, 6)",
    Kind.MONEY: "DECIMAL(38, 12)",
    Kind.TIME: "BIGINT",
    Kind.DAY: "DATE",
}
_FORM = (
    "header = false, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
    "nullstr = '\\N', allow_quoted_nulls = false, compression = 'none'"
)


def write_parquet(
    table: Table, position: int, root: str, target: Path, feed: Callable[[IO[bytes]], None]
) -> None:
    """Write a file from rows that `feed` writes to a pipe, as formats.query lays them out."""
    reading, writing = os.pipe()
    failures: list[Exception] = []

    def convert() -> None:
        try:
            with duckdb.connect(config={"threads": 1}) as database:
                database.execute(_copy(table, position, root, f"/dev/fd/{reading}", target))
        except Exception as error:  # noqa: BLE001 - told by whoever waits for this thread
            failures.append(error)
        finally:
            os.close(reading)  # whoever still writes is told that nobody reads

    converter = threading.Thread(target=convert, name="parquet")
    converter.start()
    try:
        with os.fdopen(writing, "wb") as pipe:
            feed(pipe)
    except BrokenPipeError:
        pass  # the reason is among the failures
    finally:
        converter.join()
    if failures:
        raise Unavailable(f"the Parquet file could not be written: {failures[0]}")


def _copy(table: Table, position: int, root: str, source: str, target: Path) -> str:
    columns = ", ".join(map(_column, table.columns))
    types = ", ".join(f"'{each.name}': '{_TYPES[each.kind]}'" for each in table.columns)
    named = f"export: '{table.name}', position: '{position}', root: '{root}'"
    read = f"read_csv('{source}', {_FORM}, columns = {{{types}}})"
    rows = f"SELECT {columns} FROM {read}"  # noqa: S608 - our own names
    path = str(target).replace("'", "''")
    how = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}"
    return f"COPY ({rows}) TO '{path}' ({how}, KV_METADATA {{{named}}})"


def _column(column: Column) -> str:
    name, kind = column
    return f"make_timestamp({name}) AS {name}" if kind is Kind.TIME else name
