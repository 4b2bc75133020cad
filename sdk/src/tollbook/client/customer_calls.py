"""The calls about customers, their money and the prices they pay."""

import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal

from tollbook.client.calls import Call, Named, Pages, Request, body, command, get, named
from tollbook.client.ids import in_path
from tollbook.client.money import Amount, amount_text
from tollbook.client.reading import TimeIn, read, time_text
from tollbook.client.results import (
    Balance,
    Customer,
    CustomerDone,
    GrantIssued,
    PricesPublished,
    PriceVersion,
)
from tollbook.errors import Invalid


def create_customer(
    id: str,
    *,
    name: str,
    currency: str,
    credit_limit: Amount | None = None,
    time_zone: str | None = None,
    price_book: str | None = None,
    plan: str | None = None,
) -> Call[CustomerDone]:
    """Create a customer; the id is the customer's, and the command's as well."""
    terms = _terms(credit_limit, time_zone, price_book, plan)
    fields = {"name": name, "currency": currency, **terms}
    return command(CustomerDone, named("create_customer", id, "cus"), "/v1/customers", fields)


def change_customer(
    customer: str,
    *,
    id: str | None = None,
    name: str | None = None,
    credit_limit: Amount | None = None,
    time_zone: str | None = None,
    price_book: str | None = None,
    plan: str | None = None,
) -> Call[CustomerDone]:
    """Change the terms of a customer; what is not given stays as it is."""
    path = f"/v1/customers/{in_path('customer', customer)}"
    terms = {"name": name, **_terms(credit_limit, time_zone, price_book, plan)}
    return command(CustomerDone, named("change_customer", id, "chg"), path, terms, method="PATCH")


def customer(id: str) -> Call[Customer]:
    """Return a customer and their terms."""
    return get(Customer, f"/v1/customers/{in_path('customer', id)}")


def customers(*, wait_for: int | None = None) -> Pages[Customer]:
    """Iterate over all customers; `wait_for` waits until the list holds that position."""
    filters = {"wait_for": wait_for}
    return Pages("/v1/customers", filters, lambda document: read(Customer, document))


def grant(
    customer: str,
    amount: Amount,
    kind: Literal["paid", "promotional"],
    *,
    id: str | None = None,
    priority: int | None = None,
    expires_at: TimeIn | None = None,
    models: Sequence[str] | None = None,
) -> Call[GrantIssued]:
    """Put money at a customer's disposal; the id is the grant's, and the command's as well."""
    fields = {
        "amount": amount_text(amount),
        "kind": kind,
        "priority": priority,
        "expires_at": None if expires_at is None else time_text(expires_at, "expires_at"),
        "models": None if models is None else list(models),
    }
    path = f"/v1/customers/{in_path('customer', customer)}/grants"
    return command(GrantIssued, named("issue_grant", id, "grt"), path, fields)


def balance(customer: str, *, at: int | TimeIn | None = None) -> Call[Balance]:
    """Return a customer's money, now or as it was at a position or a time of the ledger."""
    moment = at if at is None or isinstance(at, int) else time_text(at, "at")
    return get(Balance, f"/v1/customers/{in_path('customer', customer)}/balance", at=moment)


def publish_prices(book: Mapping[str, Any] | str) -> Call[PricesPublished]:
    """Publish a version of a price book: TOML text, or the same structure as it travels."""
    document = _book_from(book) if isinstance(book, str) else dict(book)
    # A version has no id of its own: the book and the instant say which one it is.
    version = Named("publish_prices", f"{document.get('id')}:{document.get('effective_from')}")
    request = Request("POST", "/v1/prices", body(document))
    return Call(request, lambda answer: read(PricesPublished, answer), version)


def prices() -> Pages[PriceVersion]:
    """Iterate over the versions of all price books."""
    return Pages("/v1/prices", {}, lambda document: read(PriceVersion, document))


def _terms(
    credit_limit: Amount | None,
    time_zone: str | None,
    price_book: str | None,
    plan: str | None,
) -> dict[str, Any]:
    limit = None if credit_limit is None else amount_text(credit_limit, "credit_limit")
    return {
        "credit_limit": limit,
        "time_zone": time_zone,
        "price_book": price_book,
        "plan": plan,
    }


def _book_from(text: str) -> dict[str, Any]:
    """Read a price book as people write it; docs/formats/price-book.md says how it travels."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid.because("book", text, f"TOML ({error})") from None
    head, models = document.pop("book", None), document.pop("model", None)
    if not isinstance(head, dict) or document:
        raise Invalid.because("book", text, "a table [book] and tables [[model]], nothing else")
    book = {**head, "models": models or []}
    effective_from = book.get("effective_from")
    if isinstance(effective_from, datetime):
        book["effective_from"] = time_text(effective_from, "effective_from")
    elif isinstance(effective_from, date):
        raise Invalid.because("effective_from", str(effective_from), "a time, not only a day")
    return book
