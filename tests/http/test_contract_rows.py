"""Every row of the contract's table of paths, called over a socket."""

from typing import Any

import httpx

from tests.support.ledger import MODEL, PRICE_OF_USAGE, USAGE
from tests.support.serving import Served

PAID = {"amount": PRICE_OF_USAGE, "currency": "USD"}
NOTHING = {"amount": "0.000000000000", "currency": "USD"}


def reserved(api: httpx.Client, customer: str, name: str) -> str:
    """Hold the money for one inference."""
    body = {"id": name, "customer": customer, "model": MODEL, "estimate": USAGE}
    response = api.post("/reservations", json=body)
    assert response.status_code == 201, response.text
    return name


def cloud_event(name: str, subject: str, customer: str, **data: object) -> dict[str, object]:
    """Return a usage record as it travels."""
    record = {"customer": customer, "model": MODEL, "usage": USAGE}
    return {
        "specversion": "1.0",
        "type": "tollbook.usage.v1",
        "source": "/tests",
        "id": name,
        "subject": subject,
        "data": {**record, "occurred_at": "2021-01-01T00:00:00Z", **data},
    }


def test_a_customer_is_created_read_and_changed(api: httpx.Client) -> None:
    """The name comes back in clear, and is nowhere in the ledger."""
    body = {"id": "row-1", "name": "Ada Lovelace", "currency": "EUR", "credit_limit": "5"}
    made = api.post("/customers", json=body)
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/customers/row-1"
    changed = api.patch("/customers/row-1", json={"id": "chg-row-1", "credit_limit": "7.5"})
    assert changed.status_code == 200
    seen = api.get("/customers/row-1").json()
    assert seen["name"] == "Ada Lovelace"
    assert seen["credit_limit"] == {"amount": "7.500000000000", "currency": "EUR"}
    assert seen["time_zone"] == "UTC"
    events = api.get("/events", params={"customer": "row-1"}).text
    assert "Ada" not in events


def test_a_grant_is_issued_and_read_back(api: httpx.Client, customer: str) -> None:
    """By its id, and among what is left."""
    body = {
        "id": f"promo-{customer}",
        "amount": "1.5",
        "kind": "promotional",
        "priority": 5,
        "expires_at": "2999-01-01T00:00:00Z",
        "models": [MODEL],
    }
    made = api.post(f"/customers/{customer}/grants", json=body)
    assert made.status_code == 201
    assert made.json()["amount"] == {"amount": "1.500000000000", "currency": "USD"}
    listed = api.get(f"/customers/{customer}/grants").json()["items"]
    assert [grant["id"] for grant in listed] == [f"promo-{customer}", f"grant-{customer}"]
    one = api.get(made.headers["location"].removeprefix("/v1")).json()
    assert one["free"] == one["amount"] == made.json()["amount"]
    assert one["models"] == [MODEL]


def test_a_balance_is_told_now_at_a_position_and_at_a_time(
    api: httpx.Client, customer: str
) -> None:
    """Each with the position that it is told for."""
    before = api.get(f"/customers/{customer}/balance").json()
    reserved(api, customer, f"rsv-{customer}")
    after = api.get(f"/customers/{customer}/balance").json()
    assert before["available"]["amount"] == before["granted"]["amount"] == "100.000000000000"
    assert after["held"] == PAID
    assert after["position"] > before["position"]
    for at in (str(before["position"]), before["at"]):
        then = api.get(f"/customers/{customer}/balance", params={"at": at}).json()
        assert {**then, "at": ""} == {**before, "at": ""}
    early = api.get(f"/customers/{customer}/balance", params={"at": "0"})
    assert early.status_code == 404


def test_prices_are_published_and_listed(api: httpx.Client) -> None:
    """A version has the number and the instant that make it one."""
    book = {
        "id": "row-book",
        "currency": "USD",
        "effective_from": "2022-01-01T00:00:00Z",
        "models": [{"name": "pages-only", "prices": {"pages": "0.01"}}],
    }
    made = api.post("/prices", json=book)
    assert made.status_code == 201
    assert made.json()["version"] == 1
    assert made.json()["effective_from"] == "2022-01-01T00:00:00.000000Z"
    again = api.post("/prices", json=book)
    assert (again.status_code, again.json()) == (200, made.json())
    assert again.headers["idempotency-replayed"] == "true"
    items = api.get("/prices").json()["items"]
    assert [item["book"] for item in items if item["book"] == "row-book"] == ["row-book"]
    alone = api.get(made.headers["location"].removeprefix("/v1")).json()["items"]
    assert [item["version"] for item in alone] == [1]


def test_a_quote_says_the_price_and_changes_nothing(api: httpx.Client, customer: str) -> None:
    """Also where a reservation would be refused, and for quantities with a fraction."""
    before = api.get(f"/customers/{customer}/balance").json()
    body = {"customer": customer, "model": MODEL, "usage": USAGE}
    quoted = api.post("/quotes", json=body).json()
    assert (quoted["price"], quoted["would_admit"], quoted["why"]) == (PAID, True, None)
    much = api.post("/quotes", json={**body, "usage": {"input_tokens": 10**9}}).json()
    assert (much["would_admit"], much["why"]["code"]) == (False, "insufficient_balance")
    odd = api.post("/quotes", json={**body, "usage": {"gpu_seconds": "1.5"}})
    assert (odd.status_code, odd.json()["why"]["code"]) == (200, "unknown_unit")
    after = api.get(f"/customers/{customer}/balance").json()
    assert {**after, "at": ""} == {**before, "at": ""}


def test_a_reservation_is_held_extended_and_settled(api: httpx.Client, customer: str) -> None:
    """The answers are those of the contract, the second settle names the first."""
    name = reserved(api, customer, f"all-{customer}")
    more = {"estimate": {"output_tokens": 500}, "ttl_seconds": 60}
    extended = api.post(f"/reservations/{name}/extend", json=more).json()
    assert extended["held"]["amount"] == "0.040000000000"
    seen = api.get(f"/reservations/{name}").json()
    assert (seen["status"], seen["held"]) == ("open", extended["held"])
    settled = api.post(f"/reservations/{name}/settle", json={"id": "s-" + name, "usage": USAGE})
    assert settled.status_code == 200
    answer = settled.json()
    assert answer["charged"] == answer["from_balance"] == PAID
    assert answer["released"]["amount"] == "0.015000000000"
    assert answer["receivable"] == NOTHING
    assert answer["grants"] == [{"id": f"grant-{customer}", "amount": PAID}]
    second = api.post(f"/reservations/{name}/settle", json={"usage": USAGE})
    assert second.status_code == 409
    assert second.json()["code"] == "already_settled"
    assert second.json()["first_outcome"]["id"] == "s-" + name
    assert api.get(f"/reservations/{name}").json()["status"] == "settled"


def test_a_reservation_for_several_is_used_up_part_by_part(
    api: httpx.Client, customer: str
) -> None:
    """Each part is a usage record; what is left goes back in the end, and nothing is extended."""
    name = f"many-{customer}"
    body = {"id": name, "customer": customer, "model": MODEL, "estimate": USAGE, "inferences": 3}
    held = api.post("/reservations", json=body).json()["held"]
    assert held["amount"] == "0.075000000000"
    at = api.get(f"/reservations/{name}").json()["opened_at"]
    part = cloud_event(f"part-{customer}", name, customer, final=False, occurred_at=at)
    (told,) = api.post("/usage", json=part).json()["results"]
    assert (told["status"], told["charged"]) == ("accepted", PAID)
    seen = api.get(f"/reservations/{name}").json()
    assert (seen["inferences"], seen["status"]) == (3, "open")
    assert seen["estimate"] == {**{unit: 3 * USAGE[unit] for unit in USAGE}, "requests": 3}
    longer = api.post(f"/reservations/{name}/extend", json={"ttl_seconds": 60})
    assert (longer.status_code, longer.json()["field"]) == (422, "reservation")
    released = api.post(f"/reservations/{name}/release", json={}).json()
    assert released["released"]["amount"] == "0.050000000000"
    wrong = api.post("/reservations", json={**body, "id": name + "-2", "inferences": 1})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "inferences")


def test_a_reservation_is_released(api: httpx.Client, customer: str) -> None:
    """All that was held goes back."""
    name = reserved(api, customer, f"back-{customer}")
    released = api.post(f"/reservations/{name}/release", json={"reason": "gone"})
    assert (released.status_code, released.json()["released"]) == (200, PAID)
    again = api.post(f"/reservations/{name}/release", json={})
    assert (again.status_code, again.json()["code"]) == (409, "already_released")


def test_usage_comes_alone_or_in_a_batch(api: httpx.Client, customer: str) -> None:
    """Each record is answered for itself, and a repeated one is a duplicate."""
    direct = cloud_event(f"u1-{customer}", customer, customer)
    parked = cloud_event(f"u2-{customer}", "nobody-at-all", "nobody-at-all")
    wrong = {**cloud_event(f"u3-{customer}", customer, customer), "type": "other"}
    single = api.post("/usage", json=direct).json()["results"]
    assert [each["status"] for each in single] == ["accepted"]
    assert single[0]["charged"] == PAID
    batch = api.post(
        "/usage",
        json=[direct, parked, wrong, 7],
        headers={"Content-Type": "application/cloudevents-batch+json"},
    ).json()["results"]
    statuses = [each["status"] for each in batch]
    assert statuses == ["duplicate", "parked", "refused", "refused"]
    assert batch[0]["position"] == single[0]["position"]
    assert batch[1]["why"]["code"] == "unknown_customer"
    assert batch[2]["problem"]["field"] == "type"


def test_parked_usage_is_listed_and_released_once(api: httpx.Client, served: Served) -> None:
    """Once its customer is there, an operator's release charges it, and only once."""
    event = cloud_event("late-1", "late-comer", "late-comer")
    (parked,) = api.post("/usage", json=event).json()["results"]
    name, wait = parked["parked"], {"wait_for": parked["position"]}
    listed = api.get("/usage/parked", params={"customer": "late-comer", **wait}).json()["items"]
    assert [each["parked"] for each in listed] == [name]
    assert api.get(f"/usage/parked/{name}", params=wait).json()["status"] == "parked"
    refused = api.post(f"/usage/parked/{name}/release", json={})
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_customer")
    body = {"id": "late-comer", "name": "L", "currency": "USD", "credit_limit": "10"}
    api.post("/customers", json=body).raise_for_status()
    with served.client("reviewer") as reviewer:
        released = reviewer.post(f"/usage/parked/{name}/release", json={"id": "rlu-late"})
    assert (released.status_code, released.json()["charged"]) == (200, PAID)
    second = api.post(f"/usage/parked/{name}/release", json={})
    assert (second.status_code, second.json()["code"]) == (409, "already_released")


def test_usage_is_parked_by_hand(api: httpx.Client, customer: str) -> None:
    """Before it is charged; the record is then parked when it comes."""
    record = {
        "id": f"hand-{customer}",
        "source": "/tests",
        "customer": customer,
        "model": MODEL,
        "usage": USAGE,
        "occurred_at": "2021-01-01T00:00:00Z",
    }
    parked = api.post("/usage/parked", json={**record, "reason": "in doubt"})
    assert (parked.status_code, "why" in parked.json()) == (200, True)
    event = cloud_event(f"hand-{customer}", customer, customer)
    (answer,) = api.post("/usage", json=event).json()["results"]
    assert answer["status"] == "parked"


def test_commands_come_by_the_thousand(api: httpx.Client, customer: str) -> None:
    """They are decided in their order, and answered in it."""
    commands: list[dict[str, object]] = []
    for number in range(500):
        name = f"many-{customer}-{number}"
        held = {"kind": "reserve", "id": name, "customer": customer, "model": MODEL}
        commands.append({**held, "estimate": USAGE})
        commands.append({"kind": "settle", "reservation": name, "usage": USAGE})
    answer = api.post("/commands", json={"commands": commands})
    results = answer.json()["results"]
    assert {result["status"] for result in results} == {"done"}
    positions = [result["position"] for result in results]
    assert positions == sorted(positions)
    assert len(results) == 1000
    spent = api.get(f"/customers/{customer}/balance").json()["spent"]
    assert spent["amount"] == "12.500000000000"


def test_events_are_read_in_pages(api: httpx.Client, customer: str) -> None:
    """With envelope, payload and leaf; of everybody or of one customer."""
    reserved(api, customer, f"events-{customer}")
    first = api.get("/events", params={"limit": 1}).json()
    assert first["next"] == first["events"][0]["position"] == 1
    own: list[dict[str, object]] = []
    after: int | None = 0
    while after is not None:
        query: dict[str, Any] = {"limit": 2, "customer": customer, "after": after}
        page = api.get("/events", params=query).json()
        own, after = own + page["events"], page["next"]
    names = [event["name"] for event in own]
    assert names == ["customer_created", "grant_issued", "reservation_held"]
    assert [event["customer_sequence"] for event in own] == [1, 2, 3]
    assert set(own[0]) >= {"position", "version", "stream", "stream_version", "command", "leaf"}
    assert own[2]["data"]["estimate"] == USAGE  # type: ignore[index]


def test_monitoring_needs_no_key(served: Served) -> None:
    """At the root, where probes look, and under /v1."""
    with httpx.Client() as nobody:
        for prefix in (served.url, f"{served.url}/v1"):
            assert nobody.get(f"{prefix}/healthz").json()["status"] == "ok"
            assert nobody.get(f"{prefix}/readyz").status_code == 200
            assert "tollbook_" in nobody.get(f"{prefix}/metrics").text
            assert nobody.get(f"{prefix}/openapi.json").json()["openapi"] == "3.1.0"
