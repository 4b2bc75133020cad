"""Prefetching for runs through pipelines: as few queries, whatever the number of their stages."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from adapters.clock import TraceClock
from application.executor import Executor
from application.jobs import Item
from domain.commands import parse
from tests.support.counting_store import CountingStore
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, a_customer, open_ledger
from tests.support.pipelines import publish_pipeline


def stages(count: int) -> list[dict[str, Any]]:
    """Return stages that hold next to nothing."""
    least = {"input_tokens": 1, "output_tokens": 1}
    return [{"name": f"s{n}", "model": MODEL, "estimate": least} for n in range(count)]


def runs(pipeline: str, names: Sequence[str]) -> list[Item]:
    """Return the reservations of runs through a pipeline."""
    whose = {"customer": "cust-1", "pipeline": pipeline}
    return [Item(parse("reserve_pipeline", {"id": name, **whose})) for name in names]


def outcome(store: CountingStore, items: list[Item]) -> tuple[set[str], int]:
    """Return what a process without memory answers, and in how many queries it found out."""
    executor = Executor(store, TraceClock(store.head().recorded_at))
    before = store.queries
    try:
        codes = {answer.code for answer in executor.execute(items, timeout=60)}
    finally:
        executor.close()
    return codes, store.queries - before


@pytest.fixture
def piped(embedded_database: TestDatabase) -> Iterator[CountingStore]:
    """Open a ledger with pipelines of 2, 16 and 32 stages, each with a run `used-STAGES`.

    Its time stands still: what a busy machine takes too long to decide would be decided again.
    """
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        for count in (2, 16, 32):
            publish_pipeline(ledger, f"of-{count}", stages(count)).result()
            ledger.executor.execute(runs(f"of-{count}", [f"used-{count}"]))
    embedded_database.query("UPDATE ledger_head SET clock = 'trace'")
    with closing(CountingStore(embedded_database.app_url)) as opened:
        yield opened


def test_an_id_used_before_costs_no_query_for_each_stage(piped: CountingStore) -> None:
    def found(count: int) -> tuple[set[str], int]:
        names = [f"used-{count}", *(f"run-{count}-{number}" for number in range(3))]
        return outcome(piped, runs(f"of-{count}", names))

    assert found(2) == found(16)
    assert found(2)[0] == {"done"}


def test_nor_where_the_same_batch_publishes_the_pipeline(piped: CountingStore) -> None:
    def found(count: int) -> tuple[set[str], int]:
        body = {"id": f"p-{count}", "pipeline": f"new-{count}", "stages": stages(count)}
        names = [f"late-{count}-{number}" for number in range(3)]
        published = Item(parse("publish_pipeline", body))
        used = runs(f"of-{count}", [f"used-{count}"])
        return outcome(piped, [*used, published, *runs(f"new-{count}", names)])

    assert found(2) == found(16)


def test_the_largest_batch_of_runs_is_done_though_one_id_was_used_before(
    piped: CountingStore,
) -> None:
    names = ["used-32", *(f"run-{number}" for number in range(30))]
    codes, queries = outcome(piped, runs("of-32", names))
    assert codes == {"done"}
    assert queries < 70, "there are 992 stages"


def test_a_cold_process_settles_runs_in_as_many_queries_whatever_their_stages(
    piped: CountingStore,
) -> None:
    def found(count: int) -> tuple[set[str], int]:
        used = [{"stage": "s0", "usage": {"input_tokens": 1}}]
        body = {"pipeline": f"of-{count}", "reserved": f"used-{count}", "stages": used}
        return outcome(piped, [Item(parse("settle_pipeline", {"id": f"s-{count}", **body}))])

    assert found(2) == found(16)
    assert outcome(piped, runs("of-2", ["after"]))[0] == {"done"}
