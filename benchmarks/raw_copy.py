"""Baseline (a): what PostgreSQL itself reaches, by COPY of the same rows without any rule.

The rows are those that a load wrote a moment before, ready in PostgreSQL's own binary form. They
go into copies of the tables with the same indexes and constraints, and a head moves along.
"""

import time
from dataclasses import dataclass

import psycopg
from psycopg import sql

from adapters.embedded_postgres.cluster import OWNER_ROLE
from benchmarks.bench import Bench, set_up
from benchmarks.load import Load
from benchmarks.pairs import EVENTS_PER_PAIR, HOT, HOT_AT_ONCE
from entrypoints.bootstrap import tollbook_on

EVENTS_PER_COMMIT = 500
TABLES = ("events", "command_ids")

_COPIES = b"""
    CREATE SCHEMA copies;
    CREATE TABLE copies.events (LIKE events INCLUDING ALL);
    CREATE TABLE copies.command_ids (LIKE command_ids INCLUDING ALL);
    CREATE TABLE copies.ledger_head (LIKE ledger_head INCLUDING ALL) WITH (fillfactor = 10);
    INSERT INTO copies.ledger_head VALUES (true, 0, 0, 'database');
"""

_OUT = sql.SQL(
    "COPY (SELECT * FROM {} WHERE position BETWEEN {} AND {} ORDER BY position) "
    "TO STDOUT (FORMAT binary)"
)
_IN = sql.SQL("COPY {} FROM STDIN (FORMAT binary)")

Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one commit copies: events and ids in binary form."""

    rows: int
    events: bytes
    ids: bytes


def raw_copy(bench: Bench) -> dict[str, float]:
    """Write a load's rows, then time their COPY into tables of the same shape."""
    with bench.fresh_database() as name:
        first = _write_a_load(bench, name)
        with psycopg.connect(bench.url(OWNER_ROLE, name)) as connection:
            chunks = _chunks(connection, first)
            connection.execute(_COPIES)
            connection.commit()
            warm = len(chunks) // 10
            for chunk in chunks[:warm]:
                _copy_in(connection, chunk)
            begin = time.perf_counter()
            for chunk in chunks[warm:]:
                _copy_in(connection, chunk)
            seconds = time.perf_counter() - begin
    return {"raw_copy": sum(chunk.rows for chunk in chunks[warm:]) / seconds}


def _write_a_load(bench: Bench, name: str) -> int:
    """Run pairs on a fresh ledger and return the position of their first event."""
    with tollbook_on(bench.database(name)) as tollbook:
        set_up(tollbook, [HOT])
        first = tollbook.store.head().position + 1
        Load(tollbook.executor, lambda _: HOT).run(bench.sizes.copied_pairs, HOT_AT_ONCE)
        written = tollbook.store.head().position + 1 - first
    assert written == bench.sizes.copied_pairs * EVENTS_PER_PAIR
    return first


def _chunks(connection: Connection, first: int) -> list[Chunk]:
    row = connection.execute("SELECT max(position) FROM events").fetchone()
    assert row is not None
    last = int(str(row[0]))
    chunks = []
    for start in range(first, last + 1, EVENTS_PER_COMMIT):
        end = min(start + EVENTS_PER_COMMIT - 1, last)
        events, ids = (_copy_out(connection, table, start, end) for table in TABLES)
        chunks.append(Chunk(end - start + 1, events, ids))
    return chunks


def _copy_out(connection: Connection, table: str, start: int, end: int) -> bytes:
    with connection.cursor().copy(_OUT.format(sql.Identifier(table), start, end)) as copy:
        return b"".join(copy)


def _copy_in(connection: Connection, chunk: Chunk) -> None:
    """Commit one chunk: two COPYs and the head, as short as it can be written."""
    for table, data in zip(TABLES, (chunk.events, chunk.ids), strict=True):
        with connection.cursor().copy(_IN.format(sql.Identifier("copies", table))) as copy:
            copy.write(data)
    connection.execute("UPDATE copies.ledger_head SET position = position + %s", (chunk.rows,))
    connection.commit()
