"""Ledgers for the tests of read models: random ones, how to project them, and what the rows say."""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg

from adapters.event_store.mapper import ROW_COLUMNS, leaf_hash, recorded_from
from adapters.event_store.store import PostgresEventStore
from adapters.postgres import connect
from application.tollbook import Tollbook
from domain.balance import Balance
from domain.folding import evolve
from entrypoints.projecting import open_projector
from projections.building import is_current
from projections.model import Run
from tests.integration.audit_workload import Rows, Workload
from tests.support.databases import TestDatabase

NOT_COMPARED = {"build", "parked_at", "traceback"}
"""What says when rows were made, rather than what they say."""


def random_rows(seed: int, steps: int = 400) -> Rows:
    """Return the events of a random ledger that reaches every event and most refusals."""
    return Workload(seed).run(steps)


def store_rows(database: TestDatabase, rows: Rows) -> None:
    """Append rows of a random ledger, past the functions that would ask for the time."""
    columns = f"{ROW_COLUMNS}, leaf"
    with psycopg.connect(database.super_url) as connection:
        with connection.cursor().copy(f"COPY events ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row((*row, leaf_hash(row, row[13].encode())))  # type: ignore[arg-type]
        connection.execute(
            "UPDATE ledger_head SET position = %s, recorded_at = %s, clock = 'trace'",
            (rows[-1][0], rows[-1][12]),
        )


def project(database: TestDatabase, until: int | None = None) -> int:
    """Write everything up to a position into the live views, by a projector of its own."""
    with open_projector(database.parts) as projector:
        return projector.catch_up(until)


def dump(database: TestDatabase, schema: str = "views") -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table of a build, in one order."""
    tables = database.query(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", schema
    )
    found = {}
    for (table,) in tables:
        rows = database.query(f"SELECT to_jsonb(whole)::text FROM {schema}.{table} AS whole")
        kept = [json.loads(str(row[0]), parse_float=str) for row in rows]
        for row in kept:
            for column in NOT_COMPARED & row.keys():
                del row[column]
        found[str(table)] = sorted(kept, key=lambda row: json.dumps(row, sort_keys=True))
    return found


def folded(rows: Rows, customer: str, position: int) -> Balance:
    """Fold a customer's whole history up to a position, from the first event."""
    balance = Balance()
    for row in rows:
        if row[0] <= position and row[5] == customer:
            balance = evolve(balance, recorded_from(row).event, row[12])
    return balance


def run_of(ledger: Tollbook) -> Run:
    """Return what runs a query for the views' own functions."""
    assert isinstance(ledger.store, PostgresEventStore)
    return ledger.store.run


@contextmanager
def without_triggers(database: TestDatabase) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Let a superuser change what nobody can change."""
    with psycopg.connect(database.super_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER events_are_append_only")
        yield connection
        connection.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER events_are_append_only")


def eventually_current(database: TestDatabase) -> None:
    """Wait until the views are those that this program builds."""
    until = time.monotonic() + 60
    with closing(connect(database.app_url)) as connection:
        while not is_current(connection):
            assert time.monotonic() < until, "nobody built the views anew"
            time.sleep(0.05)
