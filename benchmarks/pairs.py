"""Pairs of reserve and settle through the executor, with all rules, ids and leaf hashes."""

from benchmarks.bench import Bench, customer_names
from benchmarks.load import in_flight, one_by_one

HOT = "cust-00000"
HOT_AT_ONCE = 512
EVENTS_PER_PAIR = 2


def alone(bench: Bench) -> dict[str, float]:
    """Measure one thread that waits for each answer."""
    with bench.fresh_ledger([HOT]) as tollbook:
        timed = one_by_one(tollbook.executor, HOT, bench.sizes.single_pairs)
    return {"pairs_1": timed.rate, "pairs_1_p50": timed.median_ms}


def hot_64(bench: Bench) -> dict[str, float]:
    """Measure 64 pairs in flight on one customer."""
    with bench.fresh_ledger([HOT]) as tollbook:
        timed = in_flight(tollbook.executor, [HOT], bench.sizes.pairs, 64)
    return {"pairs_hot_64": timed.rate, "pairs_hot_64_reserve_p99": timed.p99_ms}


def hot_512(bench: Bench) -> dict[str, float]:
    """Measure 512 pairs in flight on one customer, in pairs and in the events they append."""
    with bench.fresh_ledger([HOT]) as tollbook:
        timed = in_flight(tollbook.executor, [HOT], bench.sizes.pairs, HOT_AT_ONCE)
    return {
        "pairs_hot_512": timed.rate,
        "pairs_hot_512_events_vs_copy": timed.rate * EVENTS_PER_PAIR,
    }


def spread_512(bench: Bench) -> dict[str, float]:
    """Measure 512 pairs in flight over many customers."""
    customers = customer_names(bench.sizes.customers)
    with bench.fresh_ledger(customers) as tollbook:
        timed = in_flight(tollbook.executor, customers, bench.sizes.pairs, HOT_AT_ONCE)
    return {"pairs_spread_512": timed.rate}
