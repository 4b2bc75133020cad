"""One served ledger for the tests of this folder; each test makes customers of its own."""

import itertools
from collections.abc import Iterator

import httpx
import pytest

from tests.support.databases import (
    embedded_database,  # noqa: F401 - a fixture is found by its name here
    fresh_database,
)
from tests.support.ledger import price_book
from tests.support.servers import embedded_server
from tests.support.serving import Served, serving

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def served(pytestconfig: pytest.Config) -> Iterator[Served]:
    """Serve a ledger with the standard prices, once for all tests."""
    with fresh_database(embedded_server(pytestconfig)) as made, serving(made.parts) as server:
        server.tollbook.publish(price_book()).result()
        yield server


@pytest.fixture
def api(served: Served) -> Iterator[httpx.Client]:
    """Return a client with an admin's key."""
    with served.client() as client:
        yield client


@pytest.fixture
def customer(api: httpx.Client) -> str:
    """Return the id of a customer of this test's own, with a grant of 100 USD."""
    name = f"cust-{next(_numbers)}"
    body = {"id": name, "name": f"Name of {name}", "currency": "USD"}
    assert api.post("/customers", json=body).status_code == 201
    grant = {"id": f"grant-{name}", "amount": "100", "kind": "paid"}
    assert api.post(f"/customers/{name}/grants", json=grant).status_code == 201
    return name
