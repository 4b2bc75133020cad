"""An example of every event of licences, seats and policy templates, as it is stored."""

from typing import Any

from tests.compat.example_values import DECISION, FACTS, LAST, NOON, TEXT, USAGE

_OF_LICENSE = {"customer": "cust-1", "license": "lic-1"}
_KEY = {"key_hash": "0a" * 16, "key_hint": "ab27"}
_BEFORE = {"gpt4-equivalent": "0a" * 32, "org/model@1": "f9" * 32}
"""The hashes of the registry's entries."""

_POLICY: dict[str, Any] = {
    "borrow_seconds": 2_678_400,
    "cloud_accounts": ["111122223333"],
    "countries": {"allow": ["DE", "FR"], "deny": ["KP"]},
    "devices": 1_000,
    "domains": ["*.example.org", "app.example.com"],
    "features": ["batch", "fine_tuning"],
    "gpus": ["GPU-1"],
    "grace_seconds": 31_536_000,
    "hardware": {"required": 2},
    "lease_seconds": 60,
    "limits": [
        {"id": "rate", "limit": 10, "per": "second", "unit": "requests"},
        {
            "id": "compute",
            "limit": "1.5",
            "models": ["gpt4-*", "org/model@1"],
            "per": "period",
            "unit": "gpu_seconds",
        },
    ],
    "models": ["gpt4-*", "org/model@1"],
    "networks": ["192.0.2.0/24", "2001:db8::/32"],
    "pool": "dedicated",
    "priority": 9,
    "provenance": {"address": "signed", "region": "observed"},
    "regions": {"allow": ["eu-*"], "deny": ["eu-north-1"]},
    "seats": 1_000,
    "versions": {"major": 4, "rule": "major"},
    "watermark": "required",
}
"""A policy that says something in every field."""

LICENSE_EXAMPLES: dict[tuple[str, int], dict[str, Any]] = {
    ("license_issued", 1): {
        **_OF_LICENSE,
        **_KEY,
        "deployment": "hybrid",
        "expires_at": LAST,
        "maintenance_until": NOON,
        "overrides": {"countries": {"allow": ["DE", "FR"], "deny": ["KP"]}, "regions": None},
        "policy": _POLICY,
        "provenance": _BEFORE,
        "reference": TEXT,
        "starts_at": NOON,
        "template": "org:gold",
        "template_version": 2,
    },
    ("license_activated", 1): {
        **_OF_LICENSE,
        "components": {"board": "0a" * 16, "cpu": "f9" * 16},
        "device": "device-1",
        "facts": FACTS,
        "holder": "f9" * 32,
    },
    ("license_deactivated", 1): {**_OF_LICENSE, "device": "device-1"},
    ("license_renewed", 1): {
        **_OF_LICENSE,
        "expires_at": LAST,
        "maintenance_until": NOON,
        "reference": TEXT,
    },
    ("license_upgraded", 1): {
        **_OF_LICENSE,
        "deployment": "saas",
        "overrides": {"seats": 3, "versions": {"months": 120, "rule": "maintenance"}},
        "policy": {"models": ["*"], "seats": 3, "versions": {"months": 120, "rule": "maintenance"}},
        "provenance": {},
        "template": "enterprise",
        "template_version": 0,
    },
    ("license_suspended", 1): {**_OF_LICENSE, "reason": TEXT},
    ("license_reinstated", 1): {**_OF_LICENSE, "reason": TEXT},
    ("license_revoked", 1): {**_OF_LICENSE, "reason": TEXT},
    ("license_expired", 1): _OF_LICENSE,
    ("license_key_rotated", 1): {**_OF_LICENSE, **_KEY, "overlap_seconds": 7_776_000},
    ("license_validated", 1): {
        **_OF_LICENSE,
        "decision": DECISION,
        "facts": FACTS,
        "license_key": "0a" * 16,
        "model": "org/model@1",
        "request_hash": "f9" * 32,
        "usage": USAGE,
        "validation": "validation-1",
    },
    ("seat_leased", 1): {
        **_OF_LICENSE,
        "borrow_seconds": 2_678_400,
        "decision": DECISION,
        "expires_at": NOON,
        "facts": FACTS,
        "holder": "f9" * 32,
        "lease": "lease-1",
        "license_key": "0a" * 16,
        "model": "org/model@1",
    },
    ("lease_renewed", 1): {
        **_OF_LICENSE,
        "decision": {"policy": "enterprise:0:0"},
        "expires_at": LAST,
        "facts": FACTS,
        "lease": "lease-1",
    },
    ("seat_returned", 1): {**_OF_LICENSE, "lease": "lease-1"},
    ("policy_published", 1): {
        "name": "org:gold",
        "policy": {
            "countries": {"deny": ["KP"]},
            "models": [],
            "versions": {"rule": "pinned", "version": "4.1.0-rc.1+build.7"},
        },
        "version": 2,
    },
}
