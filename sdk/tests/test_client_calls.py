"""What each method sends: the request of every call, as a table."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tollbook.client import (
    UsageRecord,
    customer_calls,
    inference_calls,
    license_calls,
    record_calls,
)
from tollbook.client.calls import Call
from tollbook.errors import Invalid

USAGE = {"input_tokens": 3}
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
EVENING = datetime(2026, 1, 2, 18, 0, 0, 7, tzinfo=UTC)
RECORD: dict[str, Any] = {
    "customer": "ada",
    "model": "small",
    "usage": USAGE,
    "occurred_at": "2026-01-01T00:00:00Z",
}

record = UsageRecord(
    source="gw",
    id="u 1",
    customer="ada",
    model="small",
    usage={"gpu_seconds": Decimal("0.5")},
    occurred_at="2026-01-01T00:00:00Z",
)
CALLS: list[tuple[Call[Any], str, str, Any]] = [
    (
        customer_calls.create_customer("ada", name="Ada", currency="USD", credit_limit=5),
        "POST",
        "/v1/customers",
        {"id": "ada", "name": "Ada", "currency": "USD", "credit_limit": "5"},
    ),
    (
        customer_calls.change_customer("ada", id="c-1", plan="direct"),
        "PATCH",
        "/v1/customers/ada",
        {"id": "c-1", "plan": "direct"},
    ),
    (customer_calls.customer("a:b"), "GET", "/v1/customers/a:b", None),
    (
        customer_calls.customers(wait_for=9).page("a&b"),
        "GET",
        "/v1/customers?wait_for=9&after=a%26b",
        None,
    ),
    (customer_calls.customer(".."), "GET", "/v1/customers/%2E%2E", None),
    (
        customer_calls.grant("ada", Decimal("1E+2"), "paid", id="g-1", models=("small",)),
        "POST",
        "/v1/customers/ada/grants",
        {"id": "g-1", "amount": "100", "kind": "paid", "models": ["small"]},
    ),
    (customer_calls.balance("ada"), "GET", "/v1/customers/ada/balance", None),
    (customer_calls.balance("ada", at=7), "GET", "/v1/customers/ada/balance?at=7", None),
    (
        customer_calls.balance("ada", at=EVENING),
        "GET",
        "/v1/customers/ada/balance?at=2026-01-02T18%3A00%3A00.000007Z",
        None,
    ),
    (
        inference_calls.quote("ada", "small", {"gpu_seconds": 2}),
        "POST",
        "/v1/quotes",
        {"customer": "ada", "model": "small", "usage": {"gpu_seconds": "2"}},
    ),
    (
        inference_calls.reserve("ada", "small", USAGE, id="r-1", ttl_seconds=60),
        "POST",
        "/v1/reservations",
        {"id": "r-1", "customer": "ada", "model": "small", "estimate": USAGE, "ttl_seconds": 60},
    ),
    (
        inference_calls.reserve("ada", "small", USAGE, id="r-3", inferences=5),
        "POST",
        "/v1/reservations",
        {"id": "r-3", "customer": "ada", "model": "small", "estimate": USAGE, "inferences": 5},
    ),
    (
        inference_calls.reserve(
            "ada", "small", USAGE, id="r-2", license_key="k", facts={"region": "eu"}, nonce="n"
        ),
        "POST",
        "/v1/reservations",
        {
            "id": "r-2",
            "customer": "ada",
            "model": "small",
            "estimate": USAGE,
            "license_key": "k",
            "facts": {"region": "eu"},
            "nonce": "n",
        },
    ),
    (inference_calls.reservation("r-1"), "GET", "/v1/reservations/r-1", None),
    (
        license_calls.issue_license("l-1", customer="ada", template="free", expires_at=NOON),
        "POST",
        "/v1/licenses",
        {
            "id": "l-1",
            "customer": "ada",
            "template": "free",
            "expires_at": "2026-01-02T12:00:00.000000Z",
        },
    ),
    (license_calls.license("l-1"), "GET", "/v1/licenses/l-1", None),
    (
        license_calls.validate("small", license="l-1", usage=USAGE, id="v-1"),
        "POST",
        "/v1/licenses/l-1/validate",
        {"id": "v-1", "model": "small", "usage": USAGE},
    ),
    (
        license_calls.validate("small", license_key="k", id="v-2"),
        "POST",
        "/v1/licenses/validate",
        {"id": "v-2", "model": "small", "license_key": "k"},
    ),
    (
        license_calls.try_validation("small", license="l-1"),
        "POST",
        "/v1/licenses/l-1/validate",
        {"model": "small", "dry_run": True},
    ),
    (
        license_calls.lease("l-1", "small", "0a", borrow_seconds=60, id="s-1"),
        "POST",
        "/v1/licenses/l-1/leases",
        {"id": "s-1", "model": "small", "holder": "0a", "borrow_seconds": 60},
    ),
    (
        license_calls.renew_lease("l-1", "s-1", id="rls-1", facts={"region": "eu"}),
        "POST",
        "/v1/licenses/l-1/leases/s-1/renew",
        {"id": "rls-1", "facts": {"region": "eu"}},
    ),
    (
        license_calls.return_lease("l-1", "s-1", id="ret-1"),
        "POST",
        "/v1/licenses/l-1/leases/s-1/return",
        {"id": "ret-1"},
    ),
    (license_calls.signing_keys().page(None), "GET", "/v1/license-keys", None),
    (
        inference_calls.extend("r-1", ttl_seconds=9, id="e-1"),
        "POST",
        "/v1/reservations/r-1/extend",
        {"id": "e-1", "ttl_seconds": 9},
    ),
    (
        inference_calls.settle("r-1", USAGE, final=False, occurred_at=NOON, id="s-1"),
        "POST",
        "/v1/reservations/r-1/settle",
        {"id": "s-1", "usage": USAGE, "final": False, "occurred_at": "2026-01-02T12:00:00.000000Z"},
    ),
    (
        inference_calls.release("r-1", reason="no", id="x-1"),
        "POST",
        "/v1/reservations/r-1/release",
        {"id": "x-1", "reason": "no"},
    ),
    (
        next(record_calls.usage([record])),
        "POST",
        "/v1/usage",
        [
            {
                "specversion": "1.0",
                "type": "tollbook.usage.v1",
                "source": "gw",
                "id": "u 1",
                "subject": "ada",
                "data": {
                    "customer": "ada",
                    "model": "small",
                    "usage": {"gpu_seconds": "0.5"},
                    "occurred_at": "2026-01-01T00:00:00.000000Z",
                },
            }
        ],
    ),
    (
        record_calls.commands([{"kind": "release", "id": "x", "reservation": "r"}], atomic=True),
        "POST",
        "/v1/commands",
        {"atomic": True, "commands": [{"kind": "release", "id": "x", "reservation": "r"}]},
    ),
    (
        record_calls.outcome("usage", "u 1", source="a&b"),
        "GET",
        "/v1/commands?kind=usage&source=a%26b&id=u+1",
        None,
    ),
    (
        record_calls.events(customer="ada").page(5),
        "GET",
        "/v1/events?limit=1000&customer=ada&after=5",
        None,
    ),
]


@pytest.mark.parametrize(("call", "method", "path", "body"), CALLS)
def test_a_call_is_this_request(call: Call[Any], method: str, path: str, body: Any) -> None:
    assert (call.request.method, call.request.path) == (method, path)
    assert (call.request.body and json.loads(call.request.body)) == body


@pytest.mark.parametrize("id", ["", "a/b", "a?b", "\u00e4", "x" * 129, "a\n", None])
def test_an_id_that_would_lead_elsewhere_is_refused(id: Any) -> None:
    for call in (inference_calls.reservation, customer_calls.balance):
        with pytest.raises(Invalid):
            call(id)
    with pytest.raises(Invalid):
        inference_calls.release("r-1", id=id or "")


def test_floats_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(Invalid, match="input_tokens"):
        inference_calls.quote("ada", "small", {"input_tokens": 0.5})  # type: ignore[dict-item]


BOOK = """
[book]
id = "default"
currency = "USD"
effective_from = 2026-01-01T00:00:00Z
[[model]]
name = "small"
prices = { input_tokens = "0.50" }
"""


def test_a_price_book_in_toml_travels_as_json() -> None:
    call = customer_calls.publish_prices(BOOK)
    assert json.loads(call.request.body or b"") == {
        "id": "default",
        "currency": "USD",
        "effective_from": "2026-01-01T00:00:00.000000Z",
        "models": [{"name": "small", "prices": {"input_tokens": "0.50"}}],
    }
    assert call.command == ("publish_prices", "default:2026-01-01T00:00:00.000000Z")


@pytest.mark.parametrize(
    "text",
    ["", "[book", BOOK + "[other]", BOOK.replace('"0.50"', "0.5"), BOOK.replace("T00:00:00Z", "")],
)
def test_what_is_no_price_book_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        customer_calls.publish_prices(text)


def test_large_records_travel_in_smaller_chunks() -> None:
    large = [UsageRecord(source="s" * 100_000, id=str(n), **RECORD) for n in range(100)]
    calls = list(record_calls.usage(large))
    assert len(calls) == 3
    sent = [event["id"] for call in calls for event in json.loads(call.request.body or b"")]
    assert sent == [each.id for each in large]
