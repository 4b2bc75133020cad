"""A ledger in a few words: open it on a database, publish prices, make a customer, reserve, settle.

Every shortcut returns the answer of its command; call `.result()` on it to insist on success.
"""

from contextlib import AbstractContextManager
from typing import Any, Literal

from tollbook.times import format_instant

from application.answers import Answer
from application.tollbook import Tollbook
from entrypoints.bootstrap import tollbook_on
from tests.support.databases import TestDatabase

MODEL = "gpt4-equivalent"
USAGE = {"input_tokens": 1000, "output_tokens": 500}
PRICE_OF_USAGE = "0.025000000000"
"""What USAGE costs in the first tier of the standard book."""


def price_book(
    book: str = "default",
    currency: str = "USD",
    effective_from: str = "2020-01-01T00:00:00Z",
    **more: Any,
) -> dict[str, Any]:
    """Return the founding documents' graduated prices; `more` adds to the model."""
    tiers = [
        {"up_to": 1_000_000, "input": "10", "output": "30"},
        {"up_to": 10_000_000, "input": "8", "output": "24"},
        {"up_to": 100_000_000, "input": "6", "output": "18"},
        {"input": "5", "output": "15"},
    ]
    model = {"name": MODEL, "tiers": tiers, "max_output_tokens": 16384, **more}
    return {
        "id": book,
        "currency": currency,
        "effective_from": effective_from,
        "models": [model],
    }


def open_ledger(
    database: TestDatabase, clock: Literal["database", "trace"] = "database"
) -> AbstractContextManager[Tollbook]:
    """Open a Tollbook on a database for the length of a `with` block."""
    return tollbook_on(database.parts, clock)


def create_customer(ledger: Tollbook, customer: str = "cust-1", **terms: Any) -> Answer:
    """Create a customer with a personal name that tests can look for."""
    body = {"id": customer, "name": f"Name of {customer}", "currency": "USD", **terms}
    return ledger.run("create_customer", body)


def issue_grant(
    ledger: Tollbook, customer: str = "cust-1", amount: str = "100", **more: Any
) -> Answer:
    """Issue a paid grant, by default named after its customer."""
    body = {"id": f"grant-{customer}", "kind": "paid", "amount": amount, "customer": customer}
    return ledger.run("issue_grant", {**body, **more})


def a_customer(
    ledger: Tollbook, customer: str = "cust-1", amount: str = "100", **terms: Any
) -> str:
    """Publish the standard prices (once), create a customer with a grant, and return its id."""
    if not ledger.prices("default").versions:
        ledger.publish(price_book()).result()
    create_customer(ledger, customer, **terms).result()
    issue_grant(ledger, customer, amount).result()
    return customer


def reserve(ledger: Tollbook, name: str, customer: str = "cust-1", **more: Any) -> Answer:
    """Hold the money for one inference of the standard model."""
    body = {"id": name, "customer": customer, "model": MODEL, "estimate": USAGE}
    return ledger.run("reserve", {**body, **more})


def settle(ledger: Tollbook, reservation: str, name: str | None = None, **more: Any) -> Answer:
    """Settle a reservation with exactly its estimate, unless told otherwise."""
    body = {"id": name or f"settle-{reservation}", "reservation": reservation, "usage": USAGE}
    return ledger.run("settle", {**body, **more})


def release(ledger: Tollbook, reservation: str, name: str | None = None, **more: Any) -> Answer:
    """Give a hold back."""
    body = {"id": name or f"release-{reservation}", "reservation": reservation}
    return ledger.run("release", {**body, **more})


def use(ledger: Tollbook, name: str, customer: str = "cust-1", **more: Any) -> Answer:
    """Send a usage record of the standard model; direct, unless `reservation` is given."""
    body = {
        "id": name,
        "source": "//meter",
        "customer": customer,
        "model": MODEL,
        "usage": USAGE,
        "occurred_at": format_instant(ledger.now()),
    }
    return ledger.run("usage", {**body, **more})


def release_usage(ledger: Tollbook, parked: str, name: str | None = None) -> Answer:
    """Release a parked usage record."""
    return ledger.run("release_usage", {"id": name or f"release-{parked}", "parked": parked})
