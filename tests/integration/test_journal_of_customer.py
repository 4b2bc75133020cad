"""A customer's entries of the journal, which are found by the numbers of the customer's events."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from typing import Any

import pytest

from adapters.event_store.store import PostgresEventStore
from projections import journal
from projections.customer_log import events_until
from projections.model import Run
from tests.integration.audit_workload import Rows
from tests.integration.view_reading import Items, every
from tests.support.databases import TestDatabase
from tests.support.views import project, random_rows, store_rows

LIMIT = 5


@pytest.fixture
def rows(seed: int) -> Rows:
    """Return the events of a random ledger."""
    return random_rows(seed)


@pytest.fixture
def run(database: TestDatabase, rows: Rows) -> Iterator[Run]:
    """Store the random ledger, project it, and give what runs queries."""
    store_rows(database, rows)
    project(database)
    with closing(PostgresEventStore(database.app_url)) as store:
        yield store.run


def customers_of(rows: Rows) -> list[str]:
    """Return the customers of a ledger, and one that it does not have."""
    return [*sorted({row[5] for row in rows if row[5] is not None}), "nobody"]


def test_a_customers_entries_are_those_of_the_journal_between_any_bounds(
    run: Run, rows: Rows, seed: int
) -> None:
    entries = every(journal.page, run)
    customers, chosen = customers_of(rows), random.Random(seed)
    full = 0
    for asked in count(1):
        first, last, after = (chosen.choice((None, place(chosen, rows))) for _ in range(3))
        newest_first, customer = chosen.random() < 0.5, chosen.choice(customers)
        wanted = [
            entry
            for entry in (entries[::-1] if newest_first else entries)
            if entry["customer"] == customer
            and (first is None or entry["position"] >= first)
            and (last is None or entry["position"] <= last)
            and (after is None or (entry["position"] < after) == newest_first)
            and entry["position"] != after
        ]
        found = journal.page(
            run,
            customer=customer,
            from_position=first,
            to_position=last,
            after=after,
            newest_first=newest_first,
            limit=LIMIT,
        )
        assert found.items == wanted[:LIMIT]
        assert found.next == (wanted[LIMIT - 1]["position"] if len(wanted) > LIMIT else None)
        full += len(wanted) > LIMIT
        if asked >= 120 and full > 10:
            return
        assert asked < 10_000, "hardly any page is full"


def place(chosen: random.Random, rows: Rows) -> int:
    """Choose a position of the ledger, or one just outside."""
    return chosen.randint(0, len(rows) + 2)


def test_a_customers_events_are_counted_up_to_any_position(run: Run, rows: Rows, seed: int) -> None:
    chosen = random.Random(seed)
    for customer in customers_of(rows):
        for position in [0, len(rows) + 1, *(place(chosen, rows) for _ in range(20))]:
            counted = sum(row[5] == customer and row[0] <= position for row in rows)
            assert events_until(run, customer, position) == counted


@pytest.mark.parametrize("newest_first", [False, True])
def test_going_on_from_a_page_takes_two_queries_however_long_the_log_is(
    run: Run, rows: Rows, newest_first: bool
) -> None:
    asked: list[str] = []

    def counting(query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        asked.append(query)
        return run(query, values)

    read: Items = []
    ((customer, _),) = Counter(row[5] for row in rows if row[5] is not None).most_common(1)
    after = None
    while True:
        asked.clear()
        found = journal.page(
            counting, customer=customer, after=after, newest_first=newest_first, limit=LIMIT
        )
        assert len(asked) == (1 if after is None else 2)
        read += found.items
        after = found.next
        if after is None:
            break
    assert len(read) > 2 * LIMIT
