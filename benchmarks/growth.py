"""A ledger of 20,000,000 events: does it append as quickly as an empty one? Run with `--large`.

The old events are laid down in bulk, with the tables' constraints put back afterwards: positions,
sequences and streams are whole and ids random, but all rows share two payloads of a real load and
their leaf hashes are made up, so this ledger serves for measuring appends alone.
"""

import shutil
from functools import cache

import psycopg

from adapters.embedded_postgres.cluster import OWNER_ROLE
from benchmarks.bench import Bench, set_up
from benchmarks.load import Load, Timed
from benchmarks.pairs import EVENTS_PER_PAIR, HOT, HOT_AT_ONCE
from entrypoints.bootstrap import tollbook_on

BULK_CUSTOMERS = 10_000
PAIRS_PER_COMMIT = 500_000
BYTES_PER_EVENT = 1_200
"""Disk for one event while the ledger grows: rows, indexes, and what sorts and logs take."""

_CONSTRAINTS = b"""
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid IN ('events'::regclass, 'command_ids'::regclass) AND contype IN ('p', 'u')
    ORDER BY conname
"""
# Pair n of customer n % 10,000 has two events; its reservation's id is a hash, so no index grows
# in order. %% is the remainder.
_PAIRS = """
    WITH template AS (
        SELECT DISTINCT ON (name) * FROM events
        WHERE name IN ('reservation_held', 'reservation_settled') ORDER BY name, position
    ), pair AS (
        SELECT n, k, %(base)s + n * 2 + k AS position, 'bulk-' || n %% %(customers)s AS customer,
            n / %(customers)s * 2 + k AS sequence, left(md5(n::text), 16) AS id
        FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n, generate_series(1, 2) AS k
    )
"""
_EVENTS = """
    INSERT INTO events (position, customer_sequence, occurred_at, recorded_at, stream_version,
            version, name, stream, customer, command, causation, correlation, actor, data, leaf)
    SELECT pair.position, sequence, occurred_at, recorded_at, k, version, name,
        'reservation-' || id, pair.customer, id, causation, correlation, actor, data,
        sha256(pair.position::text::bytea)
    FROM pair JOIN template ON stream_version = k ORDER BY pair.position
"""
_IDS = """
    INSERT INTO command_ids (position, id, kind, scope)
    SELECT position, id, CASE k WHEN 1 THEN 'reserve' ELSE 'settle' END, customer FROM pair
"""


def pairs_at_20m(bench: Bench) -> dict[str, float]:
    """Measure 512 pairs in flight on one customer of a ledger that is full already."""
    name = _grown(bench)
    with tollbook_on(bench.database(name)) as tollbook:
        timed = _load(bench, Load(tollbook.executor, lambda _: HOT, f"x{bench.round}-"))
    return {"pairs_at_20m": timed.rate}


def _load(bench: Bench, load: Load) -> Timed:
    load.run(max(bench.sizes.pairs // 10, HOT_AT_ONCE), HOT_AT_ONCE)
    return load.run(bench.sizes.pairs, HOT_AT_ONCE)


@cache
def _grown(bench: Bench) -> str:
    """Build the full ledger, once per run."""
    free = shutil.disk_usage(bench.folder).free
    needed = bench.sizes.grown_events * BYTES_PER_EVENT
    if free < needed:
        raise RuntimeError(f"needs {needed / 1e9:.0f} GB of disk, there are {free / 1e9:.0f}")
    name = bench.make_database()
    with tollbook_on(bench.database(name)) as tollbook:
        set_up(tollbook, [HOT])
        Load(tollbook.executor, lambda _: HOT, "first").run(1, 1)
        base = tollbook.store.head().position
    with psycopg.connect(bench.url(OWNER_ROLE, name), autocommit=True) as connection:
        constraints = connection.execute(_CONSTRAINTS).fetchall()
        for table, constraint, _ in constraints:
            connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}".encode())
        _fill(connection, base, bench.sizes.grown_events // EVENTS_PER_PAIR)
        connection.execute("SET maintenance_work_mem = '512MB'")
        for table, constraint, definition in constraints:
            connection.execute(
                f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition}".encode()
            )
        connection.execute("UPDATE ledger_head SET position = (SELECT max(position) FROM events)")
    with bench.as_super(name) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return name


def _fill(connection: psycopg.Connection[tuple[object, ...]], base: int, pairs: int) -> None:
    for first in range(0, pairs, PAIRS_PER_COMMIT):
        last = min(first + PAIRS_PER_COMMIT, pairs) - 1
        values = {"base": base, "customers": BULK_CUSTOMERS, "first": first, "last": last}
        with connection.transaction():
            connection.execute((_PAIRS + _EVENTS).encode(), values)
            connection.execute((_PAIRS + _IDS).encode(), values)
