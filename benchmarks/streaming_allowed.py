"""The stream with allowances: inferences that are parts of slices, settled by one worker.

A gateway with Redis sets a slice of an allowance aside in the ledger, and tells each inference of
it as a part: the record's subject is the slice, and up to 50 inferences of it are one event.
"""

from typing import Any

from application.jobs import Item
from application.tollbook import Tollbook
from benchmarks.bench import Bench, set_up
from benchmarks.streaming import (
    CUSTOMERS,
    MODEL,
    USAGE,
    Values,
    ground,
    settled,
    usage_event,
)
from domain.commands import parse
from entrypoints.bootstrap import tollbook_on
from streams import wire

SLICE = 500
"""So many inferences share a slice: about two seconds of a busy licence's."""


def stream_allowed(bench: Bench) -> dict[str, float]:
    """Measure one worker, as without allowances: as many events in as large records."""
    slices = max(1, bench.sizes.streamed // SLICE)
    with ground() as place:
        with tollbook_on(place.database) as tollbook:
            set_up(tollbook, CUSTOMERS)
            _set_aside(tollbook, slices)
        found = settled(place, _records(slices), slices * SLICE, 1)
        return {"stream_settled_allowed_1": found.rate, "stream_cpu_allowed_1": found.cpu_us}


def _customer_of(number: int) -> str:
    return CUSTOMERS[number % len(CUSTOMERS)]


def _set_aside(tollbook: Tollbook, slices: int) -> None:
    items = []
    for number in range(slices):
        whose = {"customer": _customer_of(number), "model": MODEL, "estimate": USAGE}
        body = {"id": f"slice-{number}", **whose, "inferences": SLICE, "ttl_seconds": 3_600}
        items.append(Item(parse("reserve", body)))
    for answer in tollbook.executor.execute(items):
        answer.result()


def _records(slices: int) -> Values:
    """Return the usage of every slice, 50 to a record; customers spend theirs side by side."""
    each, customers = wire.EVENTS_MAX, len(CUSTOMERS)
    return [
        (_customer_of(number), wire.packed([_part(number, at + more) for more in range(each)]))
        for first in range(0, slices, customers)
        for at in range(0, SLICE, each)
        for number in range(first, min(first + customers, slices))
    ]


def _part(number: int, inference: int) -> dict[str, object]:
    """Return the CloudEvent of an inference that is a part of a slice."""
    event: dict[str, Any] = usage_event(number * SLICE + inference)
    data = {**event["data"], "customer": _customer_of(number), "final": False}
    return {**event, "subject": f"slice-{number}", "data": data}
