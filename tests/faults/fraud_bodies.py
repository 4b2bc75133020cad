"""Bodies of commands about fraud cases, with every field given, for the tests of hostile values."""

from typing import Any

from application.tollbook import Tollbook
from tests.support.ledger import create_customer

FIELDS: dict[str, dict[str, Any]] = {
    "flag_customer": {
        "customer": "changing",
        "reason": "the score is 100",
        "score": 100,
        "signs": [["machines", 60], ["odd_hours", 60]],
        "rule": 1,
        "seen": 1,
    },
    "clear_case": {"reason": "they called"},
    "confirm_case": {"reason": "the bank called"},
}


def fraud_body(ledger: Tollbook, kind: str, name: str) -> dict[str, Any]:
    """Return a valid body, without its id; a verdict is on a new customer's case."""
    body = {**FIELDS[kind]}
    if kind != "flag_customer":
        create_customer(ledger, f"of-{name}").result()
        flag = {"id": f"for-{name}", "customer": f"of-{name}", "reason": "odd"}
        body["case"] = ledger.run("flag_customer", flag).result()["case"]
    return body
