"""The stream's memory: what many records leave behind in a worker, once its caches are full."""

import asyncio
from contextlib import closing

from adapters.event_store.store import PostgresEventStore
from benchmarks.bench import Bench, set_up
from benchmarks.machine import resident
from benchmarks.streaming import (
    CUSTOMERS,
    Progress,
    children,
    ground,
    hold,
    records,
    sent,
    working,
)
from entrypoints.bootstrap import tollbook_on

SLICES = 100
"""Money is held, and its usage sent and settled, in so many slices: a worker reads up to 4,096 of
those records ahead that lie in Kafka, and so a whole slice."""
FULL = SLICES // 5
"""After so many of them the caches, which are bounded, are full: 200,000 of 1,000,000."""


def stream_memory(bench: Bench) -> dict[str, float]:
    """Measure the resident memory of a worker, all its processes, after a fifth and after all."""
    each = bench.sizes.stream_remembered // SLICES
    with ground() as place, tollbook_on(place.database) as tollbook:
        set_up(tollbook, CUSTOMERS)
        with (
            working(place) as workers,
            closing(PostgresEventStore(place.database.app_url)) as store,
        ):
            progress = Progress(place, store, workers)
            done, sizes = 0, []
            for number in range(SLICES):
                some = range(number * each, (number + 1) * each)
                hold(tollbook, some)
                values = records(some)
                asyncio.run(sent(place, values))
                done += len(values)
                progress.wait(done)
                processes = (workers[0].pid, *children(workers[0].pid))
                sizes.append(sum(map(resident, processes)))
    return {"stream_memory_growth": (sizes[-1] - sizes[FULL - 1]) / 1e6}
