"""Reads: pages that lose and double nothing, and views that are asked to have caught up."""

from typing import Any

import httpx
import pytest

from adapters.event_store import event_page as event_page_module
from adapters.event_store.event_page import event_page
from adapters.event_store.store import PostgresEventStore
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, USAGE, a_customer, open_ledger, reserve
from tests.support.serving import Served


def test_a_customers_events_go_on_from_any_position(embedded_database: TestDatabase) -> None:
    """Also from one that is another customer's, or before and after all."""
    with open_ledger(embedded_database) as ledger:
        for name in ("one", "two"):
            a_customer(ledger, name)
        for number in range(9):
            reserve(ledger, f"r{number}", ("one", "two")[number % 3 == 0]).result()
    store = PostgresEventStore(embedded_database.app_url)
    rows = store.run("SELECT position FROM events WHERE customer = %s ORDER BY 1", ("two",))
    positions = [row[0] for row in rows]
    head = store.head().position
    for after in range(head + 2):
        left = [position for position in positions if position > after]
        items, following = event_page(store.run, after=after, limit=2, customer="two")
        assert [_position(item) for item in items] == left[:2]
        assert following == (left[1] if len(left) > 2 else None)
    assert event_page(store.run, customer="nobody") == ([], None)
    store.close()


Query = dict[str, Any]


def _position(item: str) -> int:
    return int(item.removeprefix('{"position":').partition(",")[0])


def settled(api: httpx.Client, customer: str, count: int) -> int:
    """Reserve and settle some inferences; return the position of the last."""
    commands: list[dict[str, Any]] = []
    for number in range(count):
        name = f"page-{customer}-{number}"
        held = {"kind": "reserve", "id": name, "customer": customer, "model": MODEL}
        commands.append({**held, "estimate": USAGE})
        commands.append({"kind": "settle", "reservation": name, "usage": USAGE})
    results = api.post("/commands", json={"commands": commands}).json()["results"]
    return int(results[-1]["position"])


def told_together(api: httpx.Client, customer: str, count: int) -> None:
    """Settle some inferences of one reservation, which one event tells."""
    many = {"customer": customer, "model": MODEL, "estimate": USAGE, "inferences": count}
    part = {"kind": "settle", "reservation": f"many-{customer}", "usage": USAGE, "final": False}
    commands = [{"kind": "reserve", "id": f"many-{customer}", **many}, *[part] * count]
    results = api.post("/commands", json={"commands": commands}).json()["results"]
    assert len({each["position"] for each in results}) == 2


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("what", ["reservations", "charges", "journal", "commands"])
def test_pages_put_together_are_the_whole_list(
    api: httpx.Client, customer: str, what: str, order: str
) -> None:
    """Whatever the size of a page, nothing is lost and nothing comes twice."""
    told_together(api, customer, 5)
    settled(api, customer, 5)
    last = settled(api, customer, 5)
    wait: Query = {"wait_for": last} if what != "commands" else {}
    query: Query = {"customer": customer, "order": order, **wait}
    whole = api.get(f"/{what}", params=query).json()
    positions = [item["position"] for item in whole["items"]]
    assert whole["next"] is None
    assert positions == sorted(positions, reverse=order == "desc")
    assert len(positions) >= 5
    pages: list[dict[str, Any]] = []
    after: Query = {}
    while True:
        page = api.get(f"/{what}", params={**query, **after, "limit": 2}).json()
        pages += page["items"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert pages == whole["items"]


def test_what_was_written_is_read_when_it_is_waited_for(api: httpx.Client, customer: str) -> None:
    """Every answer has the position to wait for."""
    for number in range(1, 4):
        position = settled(api, f"{customer}", number)
        query: Query = {"customer": customer, "wait_for": position}
        assert len(api.get("/charges", params=query).json()["items"]) == number
        (day,) = api.get("/usage", params=query).json()["items"]
        assert (day["charges"], day["usage"]["input_tokens"]) == (number, 1000 * number)


def test_customers_are_listed_with_their_balances(served: Served, customer: str) -> None:
    """In order of id, page by page."""
    with served.client("finance") as api:
        position = api.get(f"/customers/{customer}").json()["position"]
        items: list[dict[str, Any]] = []
        query: Query = {"limit": 1, "wait_for": position}
        while True:
            page = api.get("/customers", params=query).json()
            items += page["items"]
            if page["next"] is None:
                break
            query["after"] = page["next"]
    names = [item["id"] for item in items]
    assert names == sorted(set(names))
    (own,) = (item for item in items if item["id"] == customer)
    assert own["available"]["amount"] == "100.000000000000"
    assert not {"name_sealed"} & own.keys()


def test_caps_are_set_seen_and_felt(served: Served, api: httpx.Client, customer: str) -> None:
    """A reservation beyond one is refused, and says when it may come again."""
    caps = [{"id": "few", "unit": "requests", "limit": 1, "calendar": "day"}]
    with served.client("finance") as finance:
        done = finance.put(f"/customers/{customer}/caps", json={"caps": caps})
    assert (done.status_code, done.json()["caps"]) == (200, caps)
    body = {"customer": customer, "model": MODEL, "estimate": USAGE}
    assert api.post("/reservations", json=body).status_code == 201
    second = api.post("/reservations", json=body)
    assert (second.status_code, second.json()["code"]) == (403, "usage_capped")
    (seen,) = api.get(f"/customers/{customer}/caps").json()["items"]
    assert (seen["held"], seen["used"]) == (1, 0)


def test_a_blocked_account_is_unblocked_by_a_reviewer(
    served: Served, api: httpx.Client, customer: str
) -> None:
    """An account that is not blocked has nothing to unblock."""
    with served.client("reviewer") as reviewer:
        refused = reviewer.post(f"/customers/{customer}/unblock", json={"reason": "none"})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_blocked")
    assert api.get(f"/customers/{customer}").json()["blocked_at"] is None


def test_the_views_say_how_far_they_are(api: httpx.Client, customer: str) -> None:
    """Once waited for, they are not behind what was waited for."""
    position = settled(api, customer, 1)
    api.get("/charges", params={"wait_for": position}).raise_for_status()
    lag = api.get("/projections").json()
    assert lag["position"] >= position
    assert lag["parked"] == 0


def test_a_page_of_events_is_bounded_in_bytes_and_loses_none(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger, "one")
        for number in range(9):
            reserve(ledger, f"r{number}", "one").result()
    small = {
        name: getattr(event_page_module, name).replace(str(event_page_module.BYTES_MAX), str(600))
        for name in ("_EVERYBODY", "_OF_CUSTOMER")
    }
    store = PostgresEventStore(embedded_database.app_url)
    for customer in (None, "one"):
        whole, none = event_page(store.run, limit=1000, customer=customer)
        assert none is None
        items: list[str] = []
        after: int | None = 0
        with monkeypatch.context() as smaller:
            for name, query in small.items():
                smaller.setattr(event_page_module, name, query)
            while after is not None:
                page, after = event_page(store.run, after=after, limit=1000, customer=customer)
                assert 1 <= len(page) <= 4
                items += page
        assert items == whole
    store.close()
