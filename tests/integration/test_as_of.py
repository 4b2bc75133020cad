"""Balances as of any position and any time: always what a whole fold up to there says."""

import random
from bisect import bisect_right

import pytest
from tollbook.errors import Invalid, NotFound
from tollbook.times import format_instant

from adapters.event_store.store import PostgresEventStore
from application.replaying import Target
from domain.balance import view
from domain.outcomes import money
from projections import as_of, states
from tests.integration.audit_workload import Rows
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger, reserve
from tests.support.views import folded, project, random_rows, store_rows

TOTALS = ("available", "held", "granted", "spent", "receivable", "credit_limit")
ASKED = 60


def expected(rows: Rows, customer: str, position: int, instant: int) -> dict[str, object] | None:
    """Return what a fold from the first event says, or None if the customer was not there yet."""
    state = folded(rows, customer, position)
    if state.customer is None:
        return None
    seen = view(state, instant)
    totals = {name: money(getattr(seen, name), state.customer.currency) for name in TOTALS}
    return {
        "customer": customer,
        **totals,
        "position": position,
        "at": format_instant(instant),
    }


def asked(store: PostgresEventStore, customer: str, target: Target) -> dict[str, object] | None:
    """Ask, and return None where there is no such customer."""
    try:
        return as_of.balance_at(store, customer, target)
    except NotFound:
        return None


@pytest.mark.parametrize("behind", [0, 1, 150, 10_000])
def test_a_balance_as_of_anything_is_a_whole_fold_up_to_there(
    database: TestDatabase, seed: int, monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    """Also while the projector is behind, or has not begun."""
    monkeypatch.setattr(states, "KEPT_EVERY", 16)
    chance = random.Random(seed + behind)
    rows = random_rows(seed + behind)
    store_rows(database, rows)
    if behind < len(rows):
        project(database, len(rows) - behind)
    store = PostgresEventStore(database.app_url)
    customers = sorted({row[5] for row in rows if row[5]})
    times = [row[12] for row in rows]
    for _ in range(ASKED):
        customer, position = chance.choice(customers), chance.randint(1, len(rows))
        wanted = expected(rows, customer, position, times[position - 1])
        assert asked(store, customer, Target(position=position)) == wanted
        # Around a recorded time, and somewhere between, where expiries fall.
        instant = chance.choice(
            [
                times[position - 1] + chance.choice((-1, 0, 1)),
                chance.randint(times[0] - 10, times[-1]),
            ]
        )
        if instant > times[-1]:
            continue
        wanted = expected(rows, customer, bisect_right(times, instant), instant)
        assert asked(store, customer, Target(instant=instant)) == wanted
    store.close()


def test_what_is_to_come_is_not_told(database: TestDatabase) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
        store = ledger.store
        assert isinstance(store, PostgresEventStore)
        head = store.head()
        with pytest.raises(Invalid, match="at most"):
            as_of.balance_at(store, "cust-1", Target(position=head.position + 1))
        with pytest.raises(Invalid, match="not in the future"):
            as_of.balance_at(store, "cust-1", Target(instant=store.database_time() + 60_000_000))
        with pytest.raises(NotFound):
            as_of.balance_at(store, "cust-1", Target(position=0))
        with pytest.raises(NotFound):
            as_of.balance_at(store, "nobody")


def test_now_is_what_the_ledger_itself_says(database: TestDatabase) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
        reserve(ledger, "r1").result()
        store = ledger.store
        assert isinstance(store, PostgresEventStore)
        now = as_of.balance_at(store, "cust-1")
        told = ledger.balance("cust-1")
        assert now["position"] == store.head().position
        assert {name: now[name] for name in TOTALS} == {
            name: money(getattr(told, name), "USD") for name in TOTALS
        }


def test_a_state_of_another_version_is_not_read(database: TestDatabase, seed: int) -> None:
    rows = random_rows(seed)
    store_rows(database, rows)
    project(database)
    database.query("UPDATE views.balance_history SET state_version = 0, state = 'unreadable'")
    store = PostgresEventStore(database.app_url)
    customer = next(row[5] for row in reversed(rows) if row[5])
    position = len(rows)
    wanted = expected(rows, customer, position, rows[-1][12])
    assert asked(store, customer, Target(position=position)) == wanted
    store.close()
