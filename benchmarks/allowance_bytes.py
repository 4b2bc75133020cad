"""What an inference of an allowance takes on the disk: a share of its slice, and its own part."""

from random import Random
from typing import Any

from tollbook.client.ids import new_id

from application.tollbook import Tollbook
from benchmarks.bench import Bench, customer_names, set_up
from benchmarks.load import ESTIMATE
from benchmarks.long_ledger import weigh
from domain.commands import ChargeUsage, Reserve
from entrypoints.bootstrap import tollbook_on
from entrypoints.demo.job import MODEL

BUSY = 20
SLICE = 500
"""So many inferences share a slice: about two seconds of a busy licence's."""
RECORD = 50
"""So many of them a record of the stream tells at most."""


def allowance_bytes(bench: Bench) -> dict[str, float]:
    """Measure it as `bytes_per_inference` is: events, ids and snapshots with all indexes."""
    customers = customer_names(BUSY)
    slices = max(1, bench.sizes.admitted // SLICE)
    with bench.fresh_database() as name:
        with tollbook_on(bench.database(name)) as tollbook:
            set_up(tollbook, customers)
            for number in range(slices):
                _spend(tollbook, f"{number:08d}", customers[number % BUSY])
        return {"allowance_bytes": weigh(bench, name, slices * SLICE)["bytes_per_inference"]}


def _part(whole: dict[str, Any], at: int, chance: Random) -> ChargeUsage:
    """Return the record of one inference, as little like any other as those of a gateway."""
    return ChargeUsage(
        id=new_id("inf"),
        source="gateway/gateway",
        customer=whole["customer"],
        model=MODEL,
        usage={"input_tokens": chance.randint(1, 400), "output_tokens": chance.randint(1, 44)},
        occurred_at=at,
        reservation=whole["id"],
        final=False,
        request_hash=chance.randbytes(32).hex(),
        response_hash=chance.randbytes(32).hex(),
    )


def _spend(tollbook: Tollbook, name: str, customer: str) -> None:
    """Set a slice aside, and settle all of it as the stream does: a record at a time."""
    whole: dict[str, Any] = {"id": f"slice-{name}", "customer": customer, "model": MODEL}
    tollbook.executor.one(Reserve(**whole, estimate=ESTIMATE, inferences=SLICE)).result()
    chance = Random(name)
    for _ in range(0, SLICE, RECORD):
        now = tollbook.store.database_time()
        parts = [_part(whole, now - 1000 * each, chance) for each in range(RECORD)]
        for answer in tollbook.executor.execute(parts, timeout=120):
            if "parked" in answer.result():
                raise AssertionError(answer.result())
