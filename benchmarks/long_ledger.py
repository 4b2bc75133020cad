"""The long ledger: a million events of a real load, built once per run and measured many times.

It has ten thousand customers as there are in life: a hundred busy ones have nine tenths of the
traffic (and so their balances have snapshots), the others share the rest.
"""

from dataclasses import dataclass
from functools import cache

from benchmarks.bench import Bench, customer_names, set_up
from benchmarks.load import Load
from benchmarks.pairs import EVENTS_PER_PAIR, HOT_AT_ONCE
from entrypoints.bootstrap import Database, tollbook_on

BUSY = 100
EVENTS_PER_CUSTOMER = 2

_SIZES = b"""
    SELECT pg_table_size('events'), pg_indexes_size('events'),
        pg_total_relation_size('command_ids'), pg_total_relation_size('snapshots')
"""


@dataclass(frozen=True, slots=True)
class LongLedger:
    """A built ledger and what it weighed before anything else was done to it."""

    database: Database
    events: int
    customers: list[str]
    bytes_per_inference: dict[str, float]


def bytes_per_inference(bench: Bench) -> dict[str, float]:
    """Return what each inference of the long ledger takes on the disk, in all and by part."""
    return long_ledger(bench).bytes_per_inference


@cache
def long_ledger(bench: Bench) -> LongLedger:
    """Return the long ledger of a bench, building it when it is first asked for."""
    customers = customer_names(bench.sizes.customers)
    name = bench.make_database()
    database = bench.database(name)
    pairs = (bench.sizes.ledger_events - EVENTS_PER_CUSTOMER * len(customers)) // EVENTS_PER_PAIR
    with tollbook_on(database) as tollbook:
        set_up(tollbook, customers)
        load = Load(tollbook.executor, lambda number: _customer_of(number, customers))
        load.run(pairs, HOT_AT_ONCE)
        events = tollbook.store.head().position
    return LongLedger(database, events, customers, weigh(bench, name, pairs))


def _customer_of(number: int, customers: list[str]) -> str:
    """Give nine of ten pairs to the busy customers, each in turn, and the tenth to the others."""
    tens, rest = divmod(number, 10)
    if rest:
        return customers[(tens * 9 + rest) % BUSY]
    return customers[BUSY + tens % (len(customers) - BUSY)]


def weigh(bench: Bench, name: str, pairs: int) -> dict[str, float]:
    """Return what each of so many inferences takes on the disk, in all and by part."""
    with bench.as_super(name) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        row = connection.execute(_SIZES).fetchone()
    assert row is not None
    events, event_indexes, ids, snapshots = (int(str(size)) / pairs for size in row)
    return {
        "bytes_per_inference": events + event_indexes + ids + snapshots,
        "bytes_per_inference_events": events,
        "bytes_per_inference_event_indexes": event_indexes,
        "bytes_per_inference_ids": ids,
        "bytes_per_inference_snapshots": snapshots,
    }
