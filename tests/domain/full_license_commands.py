"""A body of every kind of command about licences, with every field that it has."""

from typing import Any

WHEN = "2026-03-10T12:00:00Z"

FACTS: dict[str, Any] = {
    "address": {"value": "192.0.2.7", "from": "observed"},
    "channel": "on_premise",
    "features": ["batch"],
    "hardware": {"cpu": "f9" * 16},
}

POLICY: dict[str, Any] = {
    "models": ["gpt-*"],
    "limits": [{"id": "rate", "unit": "gpu_seconds", "limit": "1.5", "per": "minute"}],
    "hardware": {"required": 1},
    "countries": {"deny": ["KP"]},
    "versions": {"rule": "major", "major": 4},
    "seats": 2,
}

LICENSE_FULL: dict[str, dict[str, Any]] = {
    "issue_license": {
        "id": "lic",
        "customer": "acme",
        "template": "gold",
        "deployment": "hybrid",
        "overrides": {"seats": 3, "countries": None},
        "reference": "offer 7",
        "starts_at": WHEN,
        "expires_at": "2027-03-10T12:00:00Z",
        "key_hash": "0a" * 16,
        "key_hint": "ab27",
    },
    "activate_license": {
        "id": "device-1",
        "license": "lic",
        "components": {"cpu": "f9" * 16},
        "holder": "0a" * 32,
        "facts": FACTS,
    },
    "deactivate_license": {"id": "d1", "license": "lic", "device": "device-1"},
    "renew_license": {
        "id": "n1",
        "license": "lic",
        "expires_at": WHEN,
        "maintenance_until": WHEN,
        "reference": "offer 8",
    },
    "upgrade_license": {
        "id": "u1",
        "license": "lic",
        "template": "enterprise",
        "overrides": {"seats": 3, "countries": None},
        "deployment": "saas",
    },
    "suspend_license": {"id": "s1", "license": "lic", "reason": "not paid"},
    "reinstate_license": {"id": "r1", "license": "lic", "reason": "paid"},
    "revoke_license": {"id": "v1", "license": "lic", "reason": "refunded"},
    "expire_license": {"id": "e1", "license": "lic"},
    "rotate_license_key": {
        "id": "k1",
        "license": "lic",
        "overlap_seconds": 60,
        "key_hash": "f9" * 16,
        "key_hint": "cd27",
    },
    "validate_license": {
        "id": "a1",
        "license": "lic",
        "model": "m",
        "usage": {"requests": 1, "gpu_seconds": "1.5"},
        "facts": FACTS,
        "license_key": "0a" * 16,
        "request_hash": "0a" * 32,
    },
    "lease_seat": {
        "id": "lease-1",
        "license": "lic",
        "model": "m",
        "holder": "0a" * 32,
        "borrow_seconds": 3600,
        "facts": FACTS,
        "license_key": "0a" * 16,
    },
    "renew_lease": {"id": "w1", "license": "lic", "lease": "lease-1", "facts": FACTS},
    "return_lease": {"id": "b1", "license": "lic", "lease": "lease-1"},
    "publish_policy": {"id": "p1", "name": "gold", "policy": POLICY},
}
"""For each kind of command about licences, a body that names every field there is."""
