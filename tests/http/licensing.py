"""Licences over HTTP in a few words: issue one, validate, and look at what was signed."""

import itertools
from typing import Any

import httpx
from tollbook.signed_decision import Decision
from tollbook.signed_decision import verify as verify_decision
from tollbook.tokens import TrustedKeys

MODEL = "gpt4-equivalent"
NONCE = "0123456789abcdef"
UNKNOWN_KEY = "tb_license_aaaqeayeaudaocajbifqydiob4ibceqt_79eddcb8"
HOLDER = "0a" * 32

_numbers = itertools.count(1)


def fresh(prefix: str) -> str:
    """Return an id that nobody has had, nor is an example of the API's description."""
    return f"{prefix}-own-{next(_numbers)}"


def issue(api: httpx.Client, customer: str, **more: Any) -> dict[str, Any]:
    """Issue a licence of the professional tier, and return the answer with its key."""
    body = {"id": fresh("lic"), "customer": customer, "template": "professional", **more}
    made = api.post("/licenses", json=body)
    assert made.status_code == 201, made.text
    answer: dict[str, Any] = made.json()
    return answer


def validate(client: httpx.Client, license: str, **more: Any) -> httpx.Response:
    """Validate a request for the standard model."""
    return client.post(f"/licenses/{license}/validate", json={"model": MODEL, **more})


def trusted(api: httpx.Client) -> TrustedKeys:
    """Return the keys that the server says are its own."""
    items = api.get("/license-keys").json()["items"]
    return TrustedKeys(bytes.fromhex(each["public_key"]) for each in items)


def verified(api: httpx.Client, answer: dict[str, Any], nonce: str = NONCE) -> Decision:
    """Check the signature of an answer, and that it is over this very answer."""
    decision = verify_decision(answer["signed"], trusted(api), nonce)
    assert decision.answer == {name: answer[name] for name in answer if name != "signed"}
    return decision


def one_limit(limit: int, per: str = "total", **more: Any) -> dict[str, Any]:
    """Return overrides with a single limit on requests."""
    return {"limits": [{"id": "all", "unit": "requests", "limit": limit, "per": per, **more}]}
