"""Charges, usage, reservations, parked usage and the journal: rows that agree with the log.

What each list should say is worked out here from the events alone, one by one.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
from tollbook.amounts import format_pico
from tollbook.errors import Invalid
from tollbook.times import format_instant

from adapters.event_store.store import PostgresEventStore
from domain.events import (
    ReservationSettled,
    UsageCharged,
)
from domain.inferences import apart
from domain.units import MEASURED, quantities_to_wire
from domain.usage_events import UsageParked, UsageReleased
from projections import charges, journal, parked, reservations, usage
from projections.model import Run
from projections.paging import Page
from tests.integration.audit_workload import Rows
from tests.integration.view_reading import Items, day_of, events_of, every, money, terms_at
from tests.support.databases import TestDatabase
from tests.support.views import folded, project, random_rows, store_rows

CHARGES = (ReservationSettled, UsageCharged)


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


def expected_charges(rows: Rows) -> Items:
    """Lay out each charge as the list should show it."""
    items = []
    told = ((*each, terms) for one, terms in terms_at(rows) for each in enumerate(apart(one), 1))
    for line, recorded, terms in told:
        event = recorded.event
        if not isinstance(event, CHARGES):
            continue
        item = {
            "position": recorded.position,
            "line": line,
            "recorded_at": format_instant(recorded.recorded_at),
            "occurred_at": format_instant(recorded.occurred_at),
            "customer": recorded.customer,
            "reservation": getattr(event, "reservation", None),
            "source": event.source,
            "id": event.record or recorded.command,
            "model": event.model,
            "day": day_of(recorded.occurred_at, terms["zone"]),
            "period": event.period,
            "price_book": event.price_book,
            "price_version": event.price_version,
            "volume": event.volume,
            "charged": money(event.charged, terms["currency"]),
            "from_balance": money(event.from_balance, terms["currency"]),
            "receivable": money(event.receivable, terms["currency"]),
            "usage": quantities_to_wire(event.usage),
            "request_hash": event.request_hash,
            "response_hash": event.response_hash,
        }
        items.append({name: value for name, value in item.items() if value is not None})
    return items


def test_there_is_one_row_for_each_charge(run: Run, rows: Rows) -> None:
    expected = expected_charges(rows)
    assert expected
    assert every(charges.page, run) == expected
    assert every(charges.page, run, newest_first=True) == expected[::-1]


def test_charges_are_found_by_customer_model_day_and_position(run: Run, rows: Rows) -> None:
    expected = expected_charges(rows)
    some = expected[len(expected) // 2]
    same = {name: some[name] for name in ("customer", "model")}
    wanted = [
        each
        for each in expected
        if same.items() <= each.items() and each["day"] <= some["day"] and each["position"] > 9
    ]
    assert every(charges.page, run, **same, to_day=some["day"], from_position=10) == wanted
    wanted = [each for each in expected if each["day"] >= some["day"]]
    assert every(charges.page, run, from_day=some["day"]) == wanted
    wanted = [each for each in expected if each["position"] <= some["position"]]
    assert every(charges.page, run, to_position=some["position"]) == wanted


def test_usage_adds_up_by_customer_model_and_day(run: Run, rows: Rows) -> None:
    sums: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for charge in expected_charges(rows):
        sums[charge["customer"], charge["model"], charge["day"]].append(charge)
    found = every(usage.page, run)
    assert [(item["customer"], item["model"], item["day"]) for item in found] == sorted(sums)
    for item in found:
        parts = sums[item["customer"], item["model"], item["day"]]
        assert item["charges"] == len(parts)
        for name in ("charged", "from_balance", "receivable"):
            total = sum(Decimal(part[name]["amount"]) for part in parts)
            assert Decimal(item[name]["amount"]) == total
        units = {unit for part in parts for unit in part["usage"]}
        used = {unit: sum(Decimal(part["usage"].get(unit, 0)) for part in parts) for unit in units}
        assert {unit: Decimal(said) for unit, said in item["usage"].items()} == {
            unit: total for unit, total in used.items() if total
        }
        assert all(isinstance(item["usage"][unit], str) for unit in MEASURED & item["usage"].keys())
    one = found[0]
    asked = {name: one[name] for name in ("customer", "model")}
    days = [item for item in found if asked.items() <= item.items()]
    wanted = [item for item in days if item["day"] <= one["day"]]
    assert every(usage.page, run, **asked, to_day=one["day"]) == wanted


def test_parked_usage_is_listed_with_its_reason_until_it_is_released(run: Run, rows: Rows) -> None:
    expected: dict[str, dict[str, Any]] = {}
    for recorded in events_of(rows):
        event = recorded.event
        if isinstance(event, UsageParked):
            expected[event.parked] = {
                "position": recorded.position,
                "recorded_at": format_instant(recorded.recorded_at),
                "parked": event.parked,
                "customer": event.customer,
                "model": event.body["model"],
                "source": event.source,
                "id": event.record,
                "status": "parked",
                "record": event.body,
                "why": {"code": event.code, "detail": event.detail, **event.facts},
            }
        if isinstance(event, UsageReleased):
            expected[event.parked] |= {
                "status": "released",
                "released_position": recorded.position,
                "released_at": format_instant(recorded.recorded_at),
                "released_by": recorded.command,
            }
    items = list(expected.values())
    assert items
    assert every(parked.page, run) == items
    waiting = [item for item in items if item["status"] == "parked"]
    assert every(parked.page, run, status="parked") == waiting
    assert parked.waiting(run) == len(waiting)
    code = items[0]["why"]["code"]
    wanted = [item for item in items if item["why"]["code"] == code]
    assert every(parked.page, run, code=code) == wanted
    assert parked.one(run, items[0]["parked"]) == items[0]
    assert parked.one(run, "0" * 32) is None


def test_the_journal_balances_and_its_accounts_agree_with_the_folded_balances(
    run: Run, rows: Rows
) -> None:
    entries = every(journal.page, run)
    for entry in entries:
        assert sum(Decimal(each["amount"]["amount"]) for each in entry["postings"]) == 0
    customers = {recorded.customer for recorded in events_of(rows) if recorded.customer}
    for position in (len(rows) // 3, len(rows)):
        trial = journal.trial_balance(run, to_position=position)
        totals = {each["account"]: Decimal(each["total"]["amount"]) for each in trial}
        assert sum(totals.values()) == 0
        added: dict[str, Decimal] = defaultdict(Decimal)
        for entry in entries:
            for each in entry["postings"] if entry["position"] <= position else ():
                added[each["account"]] += Decimal(each["amount"]["amount"])
        assert totals == added
        for name in customers:
            state = folded(rows, name, position)
            held = sum(grant.held for grant in state.grants)
            owed = state.receivable + state.overdraft
            prepaid = sum(grant.free for grant in state.grants if grant.kind == "paid")
            promotional = sum(grant.free for grant in state.grants if grant.kind != "paid")
            assert totals.get(f"assets:receivable:{name}", 0) == Decimal(format_pico(owed))
            assert -totals.get(f"liabilities:held:{name}", 0) == Decimal(format_pico(held))
            assert -totals.get(f"liabilities:prepaid:{name}", 0) == Decimal(format_pico(prepaid))
            kept = Decimal(format_pico(promotional))
            assert -totals.get(f"liabilities:promotional:{name}", 0) == kept
    some = entries[len(entries) // 2]
    wanted = [each for each in entries if each["customer"] == some["customer"]]
    assert every(journal.page, run, customer=some["customer"]) == wanted
    assert every(journal.page, run, customer=some["customer"], newest_first=True) == wanted[::-1]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda run: charges.page(run, from_day="2024-02-30"), "from_day"),
        (lambda run: charges.page(run, to_day="20240201"), "to_day"),
        (lambda run: charges.page(run, customer="a\0b"), "customer"),
        (lambda run: parked.page(run, code="\ud800"), "code"),
        (lambda run: usage.page(run, after="\ud800 tiered 2024-01-01"), "after"),
        (lambda run: usage.page(run, after="customer1 tiered"), "after"),
        (lambda run: usage.page(run, after="customer1 tiered yesterday"), "after"),
        (lambda run: reservations.page(run, now=0, status="lost"), "status"),
        (lambda run: parked.page(run, status="lost"), "status"),
        (lambda run: journal.page(run, limit=0), "limit"),
        (lambda run: journal.page(run, limit=1001), "limit"),
    ],
)
def test_what_a_list_cannot_be_asked_is_refused(ask: Callable[[Run], Page], field: str) -> None:
    """Nothing is asked of the database then."""

    def run(query: str, _values: object) -> list[tuple[Any, ...]]:
        raise AssertionError(query)

    with pytest.raises(Invalid) as refused:
        ask(run)
    assert refused.value.facts["field"] == field
