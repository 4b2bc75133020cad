"""Commands: read back by id and listed, always as the log has them."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tollbook.errors import Invalid

from adapters.event_store.store import PostgresEventStore
from domain.parking import parked_id
from projections import commands
from projections.model import Run
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, USAGE, a_customer, open_ledger, reserve, settle


@pytest.fixture(scope="module")
def run(database_to_read: TestDatabase) -> Iterator[Run]:
    """Fill a ledger with two customers who reserve, settle and are refused; give what reads it."""
    with open_ledger(database_to_read) as opened:
        a_customer(opened, "cust-1", "0.03")
        a_customer(opened, "cust-2")
        for number in range(3):
            reserve(opened, f"r{number}")
        settle(opened, "r0")
        reserve(opened, "r0", "cust-2")
        record = {"id": "u", "source": "s", "customer": "cust-2", "model": MODEL, "usage": USAGE}
        at = {"occurred_at": "2024-01-01T00:00:00Z", "reason": "odd"}
        opened.run("park_usage", {**record, **at}).result()
        opened.run("release_usage", {"id": "x", "parked": parked_id("s", "u")}).result()
    with closing(PostgresEventStore(database_to_read.app_url)) as store:
        yield store.run


def keys(items: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Say which commands these are, and what became of them."""
    return [(item["kind"], item["id"], item["status"]) for item in items]


def test_a_customers_commands_are_listed_with_what_became_of_them(run: Run) -> None:
    expected = [
        ("create_customer", "cust-1", "done"),
        ("issue_grant", "grant-cust-1", "done"),
        ("reserve", "r0", "done"),
        ("reserve", "r1", "refused"),
        ("reserve", "r2", "refused"),
        ("settle", "settle-r0", "done"),
    ]
    found = commands.page(run, customer="cust-1")
    assert keys(found.items) == expected
    assert found.items[3]["data"]["code"] == "insufficient_balance"
    newest = commands.page(run, customer="cust-1", newest_first=True).items
    assert newest == found.items[::-1]
    assert keys(commands.page(run, customer="cust-1", kind="reserve").items) == expected[2:5]
    assert keys(commands.page(run, customer="cust-2", kind="reserve").items) == [
        ("reserve", "r0", "refused")
    ]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("customer", [None, "cust-1"])
def test_pages_follow_each_other_without_gap_or_repeat(
    run: Run, customer: str | None, newest_first: bool
) -> None:
    whole = commands.page(run, customer=customer, newest_first=newest_first).items
    items: list[dict[str, Any]] = []
    after = None
    while True:
        found = commands.page(
            run, customer=customer, newest_first=newest_first, after=after, limit=2
        )
        items += found.items
        after = found.next
        if after is None:
            break
    assert items == whole
    assert len({item["position"] for item in items}) == len(items)


def test_a_cursor_of_somebody_else_is_refused(run: Run) -> None:
    other = commands.page(run, customer="cust-2").items[0]["position"]
    with pytest.raises(Invalid):
        commands.page(run, customer="cust-1", after=str(other))


@pytest.mark.parametrize("after", ["", "x", "-1", "1.", ".1", "1.x", "1.-1", "9" * 20])
def test_a_cursor_that_no_page_gave_is_refused(run: Run, after: str) -> None:
    with pytest.raises(Invalid, match="after"):
        commands.page(run, after=after)


def test_a_command_is_read_back_by_its_key(run: Run) -> None:
    found = commands.one(run, "settle", "cust-1", "settle-r0")
    assert found is not None
    assert found["event"] == "reservation_settled"
    assert found["data"]["charged"] == "0.025000000000"
    assert commands.one(run, "settle", "cust-2", "settle-r0") is None


def test_facts_that_answer_nobody_are_not_commands(run: Run) -> None:
    """The charge that a release brings about is a fact; the release is the command's answer."""
    listed = commands.page(run).items
    taken = run("SELECT position FROM command_ids ORDER BY position", ())
    assert [item["position"] for item in listed] == [row[0] for row in taken]
    assert 0 < len(taken) < run("SELECT count(*) FROM events", ())[0][0]
