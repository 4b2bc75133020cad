"""The stream at a steady rate: how long it takes from an event to its settled charge.

Each event is a record of its own, which is the dearest way to send them: where a gateway sends
many together they also wait for one another.
"""

import asyncio
import statistics
import threading
import time
from contextlib import closing
from typing import Self

from aiokafka import AIOKafkaProducer

from adapters.event_store.store import PostgresEventStore
from benchmarks.bench import Bench, set_up
from benchmarks.streaming import (
    CUSTOMERS,
    Ground,
    Progress,
    customer_of,
    ground,
    hold,
    records,
    sent,
    usage_event,
    working,
)
from entrypoints.bootstrap import tollbook_on
from streams import wire

OFFERED_PER_SECOND = 1_000
WARM = len(CUSTOMERS) * wire.EVENTS_MAX
"""So many are settled first, each customer's in one record."""
_LOOK_SECONDS = 0.002

_SINCE = "SELECT position, command FROM events WHERE position > %s ORDER BY position"


def stream_latency(bench: Bench) -> dict[str, float]:
    """Measure from the moment an event is handed to Kafka's client until its charge is seen."""
    count = round(OFFERED_PER_SECOND * bench.sizes.stream_seconds)
    with ground() as place:
        with tollbook_on(place.database) as tollbook:
            set_up(tollbook, CUSTOMERS)
            hold(tollbook, range(WARM + count))
        warm = records(range(WARM))
        asyncio.run(sent(place, warm))
        with (
            working(place) as workers,
            closing(PostgresEventStore(place.database.app_url)) as store,
        ):
            progress = Progress(place, store, workers)
            progress.wait(len(warm))
            with Watch(place) as watch:
                begun = asyncio.run(_offered(place, range(WARM, WARM + count)))
                progress.wait(len(warm) + count)
        waited = sorted((watch.seen[name] - at) * 1_000 for name, at in begun.items())
    seconds = max(begun.values()) - min(begun.values())
    return {
        "stream_latency_p50": statistics.median(waited),
        "stream_latency_p99": waited[len(waited) * 99 // 100],
        "stream_latency_offered": (count - 1) / seconds,
    }


async def _offered(place: Ground, numbers: range) -> dict[str, float]:
    """Send events at the rate, one to a record; return when each was handed over."""
    begun: dict[str, float] = {}
    producer = AIOKafkaProducer(bootstrap_servers=place.kafka, acks="all")
    await producer.start()
    try:
        begin = time.perf_counter()
        under_way = []
        for place_in_line, number in enumerate(numbers):
            due = begin + place_in_line / OFFERED_PER_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            value, key = wire.packed([usage_event(number)]), customer_of(number).encode()
            begun[f"i-{number}"] = time.perf_counter()
            under_way.append(await producer.send(place.topic, value, key=key))
        await asyncio.gather(*under_way)
    finally:
        await producer.stop()
    return begun


class Watch:
    """Sees in the ledger which inferences are settled, and when."""

    def __init__(self, place: Ground) -> None:
        """Look from the ledger's end on."""
        self.seen: dict[str, float] = {}
        self._url = place.database.app_url
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._ready = threading.Event()
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until all that was settled is seen."""
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        with closing(PostgresEventStore(self._url)) as store:
            position = store.head().position
            self._ready.set()
            while True:
                stopping = self._stop.is_set()
                rows = store.run(_SINCE, (position,))
                now = time.perf_counter()
                self.seen.update({name: now for _, name in rows})
                if rows:
                    position = rows[-1][0]
                elif stopping:
                    return
                time.sleep(_LOOK_SECONDS)
