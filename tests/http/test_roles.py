"""Who may do what: every route with every role, with nobody's key, and with another's."""

import re
import time
from typing import Any

import httpx
import pytest

from entrypoints.http.roles import COMMAND_ROLES, CUSTOMER, ROLES
from entrypoints.http.routes import ROUTES
from entrypoints.http.routing import Route
from tests.support.ledger import MODEL, USAGE
from tests.support.serving import Served

KEYED = [route for route in ROUTES if route.roles is not None]

# Written out, so that a slip in the table of routes is seen: everything that is not everybody's.
WRITERS = {
    "POST /v1/customers": "admin service",
    "PATCH /v1/customers/{customer}": "admin service",
    "POST /v1/customers/{customer}/grants": "admin service finance",
    "PUT /v1/customers/{customer}/caps": "admin finance",
    "POST /v1/customers/{customer}/unblock": "admin reviewer",
    "POST /v1/reservations": "admin service",
    "POST /v1/reservations/{reservation}/settle": "admin service",
    "POST /v1/reservations/{reservation}/extend": "admin service",
    "POST /v1/reservations/{reservation}/release": "admin service",
    "POST /v1/quotes": "admin service finance customer",
    "POST /v1/usage": "admin service",
    "POST /v1/usage/parked": "admin reviewer",
    "POST /v1/usage/parked/{parked}/release": "admin reviewer",
    "POST /v1/commands": "admin service finance reviewer",
    "POST /v1/prices": "admin finance",
    "POST /v1/models": "admin",
    "POST /v1/models/{model}/versions": "admin",
    "POST /v1/models/{model}/versions/{version}/yank": "admin",
    "POST /v1/export-list": "admin",
    "POST /v1/licenses": "admin",
    **{
        f"POST /v1/licenses/{{license}}/{step}": "admin"
        for step in ("renew", "upgrade", "suspend", "reinstate", "revoke", "expire", "rotate")
    },
    "POST /v1/licenses/validate": "admin service customer",
    "POST /v1/licenses/{license}/validate": "admin service customer",
    "POST /v1/licenses/{license}/activate": "admin service customer",
    "POST /v1/licenses/{license}/devices/{device}/deactivate": "admin service",
    "POST /v1/licenses/{license}/leases": "admin service customer",
    "POST /v1/licenses/{license}/leases/{lease}/renew": "admin service customer",
    "POST /v1/licenses/{license}/leases/{lease}/return": "admin service customer",
    "POST /v1/policies": "admin",
    "POST /v1/pipelines": "admin",
    "POST /v1/pipelines/{pipeline}/reservations": "admin service",
    **{
        f"POST /v1/pipelines/{{pipeline}}/reservations/{{reserved}}/{step}": "admin service"
        for step in ("settle", "release")
    },
    "POST /v1/fraud/cases": "admin reviewer",
    "POST /v1/fraud/cases/{case}/clear": "admin reviewer",
    "POST /v1/fraud/cases/{case}/confirm": "admin reviewer",
    "POST /v1/keys": "admin",
    "POST /v1/keys/{key}/revoke": "admin",
}
STAFF_ONLY = {
    "GET /v1/customers": "admin service auditor finance reviewer",
    "GET /v1/usage/parked": "admin service auditor finance reviewer",
    "GET /v1/usage/parked/{parked}": "admin service auditor finance reviewer",
    "GET /v1/commands": "admin service auditor finance reviewer",
    "GET /v1/journal": "admin auditor finance reviewer",
    "GET /v1/export-list": "admin service auditor finance reviewer",
    "GET /v1/licenses/expiring": "admin service auditor finance reviewer",
    "GET /v1/policies": "admin service auditor finance reviewer",
    "GET /v1/policies/{policy}": "admin service auditor finance reviewer",
    "GET /v1/projections": "admin service auditor finance reviewer",
    "GET /v1/fraud/cases": "admin service auditor finance reviewer",
    "GET /v1/fraud/cases/{case}": "admin service auditor finance reviewer",
    "GET /v1/keys": "admin auditor",
    "GET /v1/keys/{key}": "admin auditor",
}


def named(route: Route) -> str:
    """Return a route as the matrix names it."""
    return f"{route.method} {route.path}"


def sent(client: httpx.Client, route: Route, customer: str) -> httpx.Response:
    """Send a request that its route understands, about a customer."""
    path = route.path.removeprefix("/v1").replace("{customer}", customer)
    path = re.sub(r"\{[a-z]+\}", "nothing-of-this-name", path)
    body = None if route.body is None else {**(route.example or {})}
    if body is not None and "customer" in body:
        body["customer"] = customer
    return client.request(route.method, path, json=body)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_does_what_the_matrix_says_and_no_more(
    served: Served, customer: str, role: str
) -> None:
    """`forbidden` for what a role may not do; anything else shows that it was let through."""
    with served.client(role, customer) as client:
        for route in KEYED:
            allowed = {**WRITERS, **STAFF_ONLY}.get(named(route), " ".join(ROLES)).split()
            response = sent(client, route, customer)
            if role in allowed:
                assert response.status_code not in (401, 405), (named(route), response.text)
                if response.status_code == 403:  # a rule of the ledger may say no
                    assert response.json()["code"] != "forbidden", (named(route), response.text)
            else:
                assert response.status_code == 403, (named(route), response.text)
                assert response.json()["code"] == "forbidden"


def test_nobody_gets_anywhere_without_a_key(served: Served, customer: str) -> None:
    """401 on every route that has roles, whatever stands in the header."""
    wrong = served.key("auditor")[:-1] + "x"
    for header in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": f"Bearer {wrong}"}):
        with httpx.Client(base_url=f"{served.url}/v1", headers=header) as client:
            for route in KEYED:
                response = sent(client, route, customer)
                assert response.status_code == 401, (named(route), response.text)
                assert response.headers["www-authenticate"] == "Bearer"


def test_a_customers_key_finds_nothing_of_anybody_else(
    served: Served, api: httpx.Client, customer: str
) -> None:
    """404 as if there were nobody, and lists that hold its own data only."""
    other = f"other-{customer}"
    api.post("/customers", json={"id": other, "name": "O", "currency": "USD"}).raise_for_status()
    api.post(f"/customers/{other}/grants", json={"id": f"g-{other}", "amount": "9", "kind": "paid"})
    body = {"id": f"r-{other}", "customer": other, "model": MODEL, "estimate": USAGE}
    held = api.post("/reservations", json=body).json()
    with served.client(CUSTOMER, customer) as client:
        for path in (
            f"/customers/{other}",
            f"/customers/{other}/balance",
            f"/customers/{other}/grants",
            f"/customers/{other}/grants/g-{other}",
            f"/customers/{customer}/grants/g-{other}",
            f"/customers/{other}/caps",
            f"/reservations/r-{other}",
            *(f"/{what}?customer={other}" for what in ("events", "charges", "usage")),
            f"/reservations?customer={other}",
        ):
            response = client.get(path)
            assert (response.status_code, response.json()["code"]) == (404, "not_found"), path
        quote = {"customer": other, "model": MODEL, "usage": USAGE}
        assert client.post("/quotes", json=quote).status_code == 404
        assert client.get(f"/reservations?wait_for={held['position']}").json()["items"] == []
        events = client.get("/events?limit=1000").json()["events"]
        assert {event["customer"] for event in events} == {customer}


def test_what_is_missing_looks_like_what_is_hidden(
    served: Served, api: httpx.Client, customer: str
) -> None:
    """A customer's key cannot tell whether another customer exists."""
    there = f"there-{customer}"
    api.post("/customers", json={"id": there, "name": "T", "currency": "USD"}).raise_for_status()
    with served.client(CUSTOMER, customer) as client:
        for path in ("/customers/{}", "/customers/{}/balance", "/events?customer={}"):
            hidden, missing = (client.get(path.format(name)) for name in (there, "absent"))
            assert hidden.text.replace(there, "absent") == missing.text


def test_a_customers_key_sees_the_prices_of_its_own_books_only(
    served: Served, api: httpx.Client, customer: str
) -> None:
    """What others pay is hidden as if there were no such book; an earlier book stays readable."""
    books = [f"{name}-{customer}" for name in ("earlier", "agreed", "others")]
    for book in books:
        body = {"id": book, "currency": "USD", "effective_from": "2026-01-01T00:00:00Z"}
        models = [{"name": MODEL, "prices": {"input_tokens": "3"}}]
        api.post("/prices", json={**body, "models": models}).raise_for_status()
    for number, book in enumerate(books[:2]):
        change = {"id": f"book-{number}", "price_book": book}
        api.patch(f"/customers/{customer}", json=change).raise_for_status()
    with served.client(CUSTOMER, customer) as client:
        seen = client.get("/prices?limit=1000").json()
        assert {item["book"] for item in seen["items"]} == {"default", *books[:2]}
        first = client.get("/prices?limit=1").json()
        after = client.get("/prices", params={"after": first["next"], "limit": 1000}).json()
        assert first["items"] + after["items"] == seen["items"]
        assert client.get(f"/prices/{books[0]}").status_code == 200
        for path in ("/prices/{}", "/prices/{}?after=1"):
            hidden, missing = (client.get(path.format(name)) for name in (books[2], "absent"))
            assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")
            assert hidden.text.replace(books[2], "absent") == missing.text


@pytest.mark.parametrize("role", ROLES)
def test_a_name_is_shown_to_those_who_may_see_it(served: Served, customer: str, role: str) -> None:
    """To an auditor and a reviewer it is null, alone as well as in the list."""
    shown = f"Name of {customer}" if role not in ("auditor", "reviewer") else None
    with served.client(role, customer) as client:
        seen = client.get(f"/customers/{customer}").json()
        assert seen["name"] == shown
        if role != CUSTOMER:
            query = {"after": customer[:-1], "limit": 1000, "wait_for": seen["position"]}
            items = client.get("/customers", params=query).json()["items"]
            assert {item["id"]: item["name"] for item in items}[customer] == shown


@pytest.mark.parametrize("role", ["admin", "service", "finance", "reviewer"])
def test_a_batch_holds_each_command_to_its_own_roles(
    served: Served, customer: str, role: str
) -> None:
    """A kind that the role may not give is refused alone."""
    bodies: dict[str, dict[str, Any]] = {kind: {"customer": customer} for kind in COMMAND_ROLES}
    with served.client(role) as client:
        commands = [{"kind": kind, **body} for kind, body in bodies.items()]
        results = client.post("/commands", json={"commands": commands}).json()["results"]
    for kind, result in zip(bodies, results, strict=True):
        assert (result.get("code") == "forbidden") == (role not in COMMAND_ROLES[kind]), kind


def test_keys_are_made_listed_and_revoked(served: Served, api: httpx.Client, customer: str) -> None:
    """The text of a key is in one answer, and it stops working when it is revoked."""
    made = api.post("/keys", json={"role": "customer", "customer": customer, "note": "n"})
    assert made.status_code == 201
    text, name = served.known(made.json()["key"]), made.json()["id"]
    assert api.get(f"/keys/{name}").json()["customer"] == customer
    assert text not in api.get("/keys?limit=1000").text
    client = httpx.Client(base_url=f"{served.url}/v1", headers={"Authorization": f"Bearer {text}"})
    with client:
        assert client.get(f"/customers/{customer}").status_code == 200
        assert "revoked_at" in api.post(f"/keys/{name}/revoke").json()
        until = time.monotonic() + 10
        while client.get(f"/customers/{customer}").status_code == 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert client.get(f"/customers/{customer}").status_code == 401


def test_a_key_works_as_soon_as_it_is_told_and_not_once_it_is_revoked(served: Served) -> None:
    with served.client() as admin:
        made = admin.post("/keys", json={"role": "auditor"}).json()
        headers = {"Authorization": f"Bearer {made['key']}"}
        before = httpx.get(f"{served.url}/v1/prices", headers=headers)
        admin.post(f"/keys/{made['id']}/revoke")
        after = httpx.get(f"{served.url}/v1/prices", headers=headers)
    assert (before.status_code, after.status_code) == (200, 401)
