"""Fraud cases over HTTP: a reviewer lists them, looks at one, and gives a verdict."""

import httpx

from tests.support.ledger import MODEL, USAGE
from tests.support.serving import Served


def flagged(reviewer: httpx.Client, customer: str) -> int:
    """Flag a customer; return the position."""
    body = {"customer": customer, "reason": "the card was reported stolen"}
    response = reviewer.post("/fraud/cases", json=body)
    assert response.status_code == 201, response.text
    assert response.json()["case"] == f"{customer}.1"
    assert response.headers["location"] == f"/v1/fraud/cases/{customer}.1"
    return int(response.json()["position"])


def test_a_case_is_flagged_confirmed_and_cleared_by_a_reviewer(
    served: Served, api: httpx.Client, customer: str
) -> None:
    """Who did what, and why, is read back; a confirmed case refuses what is new."""
    reserve = {"customer": customer, "model": MODEL, "estimate": USAGE}
    with served.client("reviewer") as reviewer:
        flagged(reviewer, customer)
        assert api.post("/reservations", json=reserve).status_code == 201
        case = f"/fraud/cases/{customer}.1"
        done = reviewer.post(f"{case}/confirm", json={"id": "cnf", "reason": "the bank says so"})
        assert (done.status_code, done.json()["case"]) == (200, f"{customer}.1")
        again = reviewer.post(f"{case}/confirm", json={"id": "cnf", "reason": "the bank says so"})
        assert again.json() == done.json()
        assert again.headers["idempotency-replayed"] == "true"
        stopped = api.post("/reservations", json=reserve)
        assert (stopped.status_code, stopped.json()["code"]) == (403, "account_blocked")
        blocked_at = api.get(f"/customers/{customer}").json()["blocked_at"]
        assert blocked_at == stopped.json()["blocked_at"]
        unblock = reviewer.post(f"/customers/{customer}/unblock", json={"reason": "please"})
        assert (unblock.status_code, unblock.json()["code"]) == (409, "case_confirmed")
        cleared = reviewer.post(f"{case}/clear", json={"reason": "the bank was wrong"})
        assert cleared.status_code == 200, cleared.text
        assert api.post("/reservations", json=reserve).status_code == 201
        seen = reviewer.get(case, params={"wait_for": cleared.json()["position"]}).json()
    assert (seen["status"], seen["flags"], seen["customer"]) == ("cleared", 1, customer)
    assert [step["what"] for step in seen["steps"]] == ["flagged", "confirmed", "cleared"]
    assert all(step["actor"].startswith("key:") for step in seen["steps"])


def test_cases_are_listed_by_status_and_customer(
    served: Served, customer: str, api: httpx.Client
) -> None:
    """An auditor reads them, and may not judge."""
    with served.client("reviewer") as reviewer:
        position = flagged(reviewer, customer)
    with served.client("auditor") as auditor:
        asked = {"customer": customer, "status": "flagged", "wait_for": str(position)}
        (item,) = auditor.get("/fraud/cases", params=asked).json()["items"]
        assert (item["id"], item["position"]) == (f"{customer}.1", position)
        none = auditor.get("/fraud/cases", params={**asked, "status": "confirmed"})
        assert none.json()["items"] == []
        denied = auditor.post(f"/fraud/cases/{item['id']}/clear", json={"reason": "no"})
        assert (denied.status_code, denied.json()["code"]) == (403, "forbidden")
    for name in ("nothing", f"{customer}.2", "x" * 138, "a%00b.1"):
        missing = api.get(f"/fraud/cases/{name}")
        assert (missing.status_code, missing.json()["code"]) == (404, "not_found"), name


def test_a_customers_key_lists_no_case_not_even_its_own(served: Served, customer: str) -> None:
    """Cases are the staff's; the events of its own stand in its history like all others."""
    with served.client("customer", customer) as own:
        for path in ("/fraud/cases", f"/fraud/cases/{customer}.1"):
            assert own.get(path).status_code == 403
