"""What an inference of an allowance takes on the disk: a share of its slice, and its own part."""

from benchmarks.bench import Bench, customer_names, set_up
from benchmarks.load import ESTIMATE, USAGE
from benchmarks.long_ledger import weigh
from domain.command import Command
from domain.commands import ChargeUsage, Reserve
from entrypoints.bootstrap import tollbook_on
from entrypoints.demo.job import MODEL

BUSY = 20
SLICE = 500
"""So many inferences share a slice: about two seconds of a busy licence's."""


def allowance_bytes(bench: Bench) -> dict[str, float]:
    """Measure it as `bytes_per_inference` is: events, ids and snapshots with all indexes."""
    customers = customer_names(BUSY)
    slices = max(1, bench.sizes.admitted // SLICE)
    with bench.fresh_database() as name:
        with tollbook_on(bench.database(name)) as tollbook:
            set_up(tollbook, customers)
            now = tollbook.store.database_time()
            for number in range(slices):
                some = _commands(number, customers[number % BUSY], now)
                for answer in tollbook.executor.execute(some, timeout=120):
                    answer.result()
        return {"allowance_bytes": weigh(bench, name, slices * SLICE)["bytes_per_inference"]}


def _commands(number: int, customer: str, now: int) -> list[Command]:
    """Return a slice and its parts, as the stream tells them."""
    reservation = f"slice-{number:08d}"
    held = Reserve(
        id=reservation, customer=customer, model=MODEL, estimate=ESTIMATE, inferences=SLICE
    )
    parts = [
        ChargeUsage(
            id=f"inf-{number:08d}-{each:08d}",
            source="gateway/gateway",
            customer=customer,
            model=MODEL,
            usage=USAGE,
            occurred_at=now,
            reservation=reservation,
            final=False,
        )
        for each in range(SLICE)
    ]
    return [held, *parts]
