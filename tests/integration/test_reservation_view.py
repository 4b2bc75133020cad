"""Reservations: one row each, that reads as the reservation stands at the instant of the read."""

import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tollbook.times import format_instant

from adapters.event_store.store import PostgresEventStore
from domain.events import HoldsExpired, ReservationReleased
from domain.inferences import apart
from projections import reservations
from projections.model import Run
from tests.integration.audit_workload import Rows
from tests.integration.view_reading import Items, every, money, terms_at
from tests.support.databases import TestDatabase
from tests.support.views import folded, project, random_rows, store_rows


@pytest.fixture
def rows(seed: int) -> Rows:
    """Return the events of a random ledger."""
    return random_rows(seed)


@pytest.fixture
def run(database: TestDatabase, rows: Rows, seed: int) -> Iterator[Run]:
    """Store the random ledger, project it in batches of any size, and give what runs queries."""
    store_rows(database, rows)
    chosen = random.Random(seed)
    position = 0
    while position < len(rows):
        position = project(database, min(len(rows), position + chosen.randint(1, 150)))
    with closing(PostgresEventStore(database.app_url)) as store:
        yield store.run


def expected_reservations(rows: Rows, now: int) -> Items:
    """Follow each reservation event by event, then look at it at an instant."""
    found: dict[str, dict[str, Any]] = {}
    told = ((fact, terms) for recorded, terms in terms_at(rows) for fact in apart(recorded))
    for recorded, terms in told:
        event: Any = recorded.event
        if isinstance(event, HoldsExpired):
            for name, amount in event.holds:
                item = found[name]
                item.update(status="expired", updated=recorded.position)
                item["released"] += amount
        elif hasattr(event, "reservation"):
            name = event.reservation
            new = {"position": recorded.position, "opened_at": recorded.recorded_at}
            known = found.setdefault(
                name,
                {"status": "open", "charged": 0, "released": 0, "customer": event.customer, **new},
            )
            known["updated"], known["currency"] = recorded.position, terms["currency"]
            known["expires_at"] = getattr(event, "expires_at", known.get("expires_at"))
            known["model"] = getattr(event, "model", known.get("model"))
            known["charged"] += getattr(event, "charged", 0)
            known["released"] += getattr(event, "released", 0)
            released = isinstance(event, ReservationReleased)
            if released or getattr(event, "final", False):
                known["status"] = "released" if released else "settled"
                known["closed_at"], known["closed_by"] = recorded.recorded_at, recorded.command
    return [_seen(rows, name, item, now) for name, item in found.items()]


def _seen(rows: Rows, name: str, item: dict[str, Any], now: int) -> dict[str, Any]:
    hold = folded(rows, item["customer"], len(rows)).holds.get(name)
    held = hold.amount if hold else 0
    if item["status"] == "open" and item["expires_at"] <= now:
        item.update(status="expired", released=item["released"] + held)
        held = 0
    currency = item.pop("currency")
    amounts = {"held": held, "charged": item["charged"], "released": item["released"]}
    times = ("opened_at", "expires_at", "closed_at")
    return {
        **item,
        "reservation": name,
        **{field: money(amount, currency) for field, amount in amounts.items()},
        **{field: format_instant(item[field]) for field in times if field in item},
    }


def test_there_is_one_row_for_each_reservation_as_it_stands_now(run: Run, rows: Rows) -> None:
    last = rows[-1][12]
    for now in (last, last + 60_000_000, last + 100_000_000_000):
        expected = expected_reservations(rows, now)
        assert every(reservations.page, run, now=now) == expected
        newest = every(reservations.page, run, now=now, newest_first=True)
        assert newest == expected[::-1]
        for status in reservations.STATUSES:
            wanted = [item for item in expected if item["status"] == status]
            assert every(reservations.page, run, now=now, status=status) == wanted
        some = expected[len(expected) // 2]
        wanted = [item for item in expected if item["customer"] == some["customer"]]
        assert every(reservations.page, run, now=now, customer=some["customer"]) == wanted
        assert reservations.one(run, some["reservation"], now=now) == some
    assert reservations.one(run, "nobody", now=last) is None
