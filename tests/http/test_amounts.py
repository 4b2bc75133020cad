"""Money in bodies: as a decimal string alone, or with the currency, as answers write it."""

from typing import Any

import pytest

from tests.support.serving import Served


def usd(amount: str, currency: str = "USD") -> dict[str, str]:
    return {"amount": amount, "currency": currency}


def test_a_grant_may_say_its_currency_and_means_the_same(served: Served) -> None:
    with served.client() as client:
        customer = {"id": "money-1", "name": "M", "currency": "USD", "credit_limit": usd("2")}
        assert client.post("/customers", json=customer).status_code == 201
        grant = {"id": "money-g", "kind": "paid"}
        made = client.post("/customers/money-1/grants", json={**grant, "amount": usd("5.00")})
        again = client.post("/customers/money-1/grants", json={**grant, "amount": "5"})
        balance = client.get("/customers/money-1/balance").json()
    assert made.status_code == 201
    assert again.status_code == 200
    assert made.json() == again.json()
    assert balance["granted"] == usd("5.000000000000")
    assert balance["credit_limit"] == usd("2.000000000000")


@pytest.mark.parametrize(
    ("amount", "field"),
    [
        (usd("5", "EUR"), "currency"),
        ({"amount": "5"}, "amount"),
        ({**usd("5"), "places": "2"}, "amount"),
        (usd("5", "usd"), "currency"),
        ({"amount": 5, "currency": "USD"}, "amount"),
        ({"amount": usd("5"), "currency": "USD"}, "amount"),
        ({"amount": "5", "currency": None}, "amount"),
    ],
)
def test_money_of_another_form_or_currency_is_refused(
    served: Served, amount: Any, field: str
) -> None:
    with served.client() as client:
        client.post("/customers", json={"id": "money-2", "name": "M", "currency": "USD"})
        answer = client.post("/customers/money-2/grants", json={"kind": "paid", "amount": amount})
    assert answer.status_code == 422
    assert answer.json()["field"] == field


def test_a_batch_reads_money_in_the_same_way(served: Served) -> None:
    commands = [
        {"kind": "create_customer", "id": "money-3", "name": "M", "currency": "USD"},
        {"kind": "issue_grant", "customer": "money-3", "grant_kind": "paid", "amount": usd("1")},
        {"kind": "issue_grant", "customer": "money-3", "grant_kind": "paid",
         "amount": usd("1", "EUR")},
    ]  # fmt: skip
    with served.client() as client:
        results = client.post("/commands", json={"commands": commands}).json()["results"]
    assert [each["status"] for each in results] == ["done", "done", "refused"]
    assert results[2]["code"] == "invalid"
