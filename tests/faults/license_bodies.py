"""Valid bodies of every command about licences, each with what it needs to be carried out."""

import hashlib
from typing import Any

from application.tollbook import Tollbook

MODEL = "gpt4-equivalent"
FACTS: dict[str, Any] = {
    "address": {"value": "192.0.2.7", "from": "observed"},
    "hardware": {"cpu": "f9" * 16},
    "features": ["batch"],
}
POLICY: dict[str, Any] = {
    "models": ["*"],
    "features": ["batch"],
    "limits": [{"id": "rate", "unit": "requests", "limit": 10**9, "per": "day"}],
    "seats": 1_000,
    "devices": 1_000,
    "borrow_seconds": 3_600,
}
LATER = "9999-01-01T00:00:00.000000Z"

FIELDS: dict[str, dict[str, Any]] = {
    "issue_license": {
        "customer": "cust-1",
        "template": "enterprise",
        "deployment": "hybrid",
        "overrides": POLICY,
        "reference": "offer 7",
        "starts_at": "2020-01-01T00:00:00Z",
        "expires_at": "9000-01-01T00:00:00Z",
        "key_hint": "ab27",
    },
    "activate_license": {"components": {"cpu": "f9" * 16}, "holder": "0a" * 32, "facts": FACTS},
    "deactivate_license": {},
    "renew_license": {"expires_at": LATER, "maintenance_until": LATER, "reference": "offer 8"},
    "upgrade_license": {"template": "enterprise", "overrides": POLICY, "deployment": "hybrid"},
    "suspend_license": {"reason": "not paid"},
    "reinstate_license": {"reason": "paid"},
    "revoke_license": {"reason": "not paid"},
    "expire_license": {},
    "rotate_license_key": {"overlap_seconds": 60, "key_hint": "ab27"},
    "validate_license": {
        "model": MODEL,
        "usage": {"requests": 1, "gpu_seconds": "0.5"},
        "request_hash": "0a" * 32,
        "facts": {**FACTS, "environment": "development"},
    },
    "lease_seat": {
        "model": MODEL,
        "holder": "0a" * 32,
        "borrow_seconds": 600,
        "facts": FACTS,
    },
    "renew_lease": {"facts": FACTS},
    "return_lease": {},
    "publish_policy": {"name": "gold", "policy": POLICY},
}

SHARED = "lic-1"
_ON_THE_SHARED = {"activate_license", "validate_license", "lease_seat"}
_SHOW_A_KEY = {"validate_license", "lease_seat"}


def key_hash(name: str) -> str:
    """Return what the hash of a licence's key could be."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def issue(ledger: Tollbook, name: str) -> None:
    """Issue a licence that allows everything."""
    body = {"id": name, **FIELDS["issue_license"], "key_hash": key_hash(name)}
    ledger.run("issue_license", body).result()


def license_body(ledger: Tollbook, kind: str, name: str) -> dict[str, Any]:
    """Return what a body needs besides its id, after making what it is about."""
    fields = dict(FIELDS[kind])
    if kind in {"issue_license", "rotate_license_key"}:
        fields["key_hash"] = key_hash(f"new-{name}")
    if kind in {"issue_license", "publish_policy"}:
        return fields
    if kind in _SHOW_A_KEY:
        fields["license_key"] = key_hash(SHARED)
    if kind in _ON_THE_SHARED:
        return {**fields, "license": SHARED}
    license = f"lic-{name}"
    issue(ledger, license)
    if kind == "deactivate_license":
        fields["device"] = f"box-{name}"
        ledger.run("activate_license", {"id": fields["device"], "license": license}).result()
    if kind == "reinstate_license":
        suspended = {"id": f"s-{name}", "license": license, "reason": "odd"}
        ledger.run("suspend_license", suspended).result()
    if kind in {"renew_lease", "return_lease"}:
        fields["lease"] = f"lease-{name}"
        leased = {**FIELDS["lease_seat"], "id": fields["lease"], "license": license}
        ledger.run("lease_seat", leased).result()
    return {**fields, "license": license}
