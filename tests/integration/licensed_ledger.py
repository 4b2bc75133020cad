"""A ledger with every event about licences and every denial, for auditors and those who rewrite."""

from typing import Any

from tollbook.times import format_instant

from tests.integration.guarded_ledger import HOUR, MINUTE, MODEL, NOON, SECOND, Guarded, guarded
from tests.support.databases import TestDatabase

HOLDER = "ab" * 32
BOARD, DISK, OTHER = "1" * 32, "2" * 32, "3" * 32
MACHINE = {"board": BOARD, "disk": DISK}

ADMITTED: dict[str, Any] = {
    "address": {"value": "192.0.2.7", "from": "observed"},
    "cloud_account": "aws-1",
    "country": "DE",
    "domain": "app.example.com",
    "environment": "development",
    "gpus": ["gpu-0"],
    "model_version": "1.0.0",
    "region": "eu-west-1",
    "watermark": "applied",
}
"""Facts that the bound licence admits."""

BOUND: dict[str, Any] = {
    "models": [MODEL, "org/*"],
    "features": ["batch"],
    "cloud_accounts": ["aws-1"],
    "countries": {"deny": ["IR"]},
    "devices": 1,
    "domains": ["*.example.com"],
    "gpus": ["gpu-0", "gpu-1"],
    "grace_seconds": 60,
    "hardware": {"required": 2},
    "limits": [{"id": "rate", "unit": "requests", "limit": 2, "per": "minute"}],
    "networks": ["192.0.2.0/24"],
    "regions": {"allow": ["eu-*"]},
    "seats": 1,
    "versions": {"rule": "maintenance", "months": 1},
    "watermark": "required",
}

DENIED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("license_key_invalid", {"license_key": OTHER}),
    ("license_channel_denied", {"environment": "production"}),
    ("license_model_denied", {"model": "another"}),
    ("license_feature_denied", {"features": ["batch", "voice"]}),
    ("license_version_denied", {"model_version": "1.0.1"}),
    ("license_watermark_required", {"watermark": None}),
    ("license_gpu_mismatch", {"gpus": ["gpu-0", "gpu-2"]}),
    ("license_cloud_mismatch", {"cloud_account": "aws-2"}),
    ("license_domain_mismatch", {"domain": "example.com"}),
    ("license_address_mismatch", {"address": "192.0.2.7"}),
    ("license_region_denied", {"region": "us-east-1"}),
    ("license_export_denied", {"country": "KP"}),
    ("license_export_denied", {"country": "IR"}),
)
"""What is changed of an admitted request, and the code that it is refused with."""


class Licensed(Guarded):
    """A ledger whose customer gets licences."""

    def on(self, at: int, kind: str, code: str = "done", /, **body: Any) -> str:
        """Send a command, by default on the bound licence; return its id."""
        answer = self.one(at, kind, **{"license": "bound", **body})
        assert answer.code == code, (kind, body, answer.code, answer.error)
        return answer.id

    def validate(self, at: int, code: str = "done", /, **changed: Any) -> None:
        """Ask for what the bound licence admits, with some of it changed."""
        body = {"model": MODEL, **{name: changed.pop(name) for name in _FIELDS & changed.keys()}}
        facts = {
            name: value for name, value in {**ADMITTED, **changed}.items() if value is not None
        }
        self.on(at, "validate_license", code, facts=facts, **body)


_FIELDS = {"model", "license_key", "license", "usage"}


def fill_licensed(database: TestDatabase) -> None:
    """Write the ledger; the events are in the order of these calls."""
    with guarded(database) as plain:
        acme = Licensed(plain.ledger)
        _prepare(acme)
        _issue(acme)
        _deny(acme, NOON + MINUTE)
        _meter(acme, NOON + 2 * MINUTE)
        _lease(acme, NOON + 4 * MINUTE)
        _live(acme, NOON + 6 * MINUTE)


def _prepare(acme: Licensed) -> None:
    """Enter the model, a version that is yanked, the export list, and a template."""
    of_all: tuple[tuple[str, dict[str, Any]], ...] = (
        ("register_model", {"model": MODEL}),
        *(
            ("release_model_version", {"model": MODEL, "version": version})
            for version in ("1.0.0", "1.0.1")
        ),
        ("yank_model_version", {"model": MODEL, "version": "1.0.1", "reason": "it leaks"}),
        ("publish_export_list", {"countries": ["KP"]}),
        ("publish_policy", {"name": "bound", "policy": BOUND}),
    )
    for kind, body in of_all:
        acme.send(NOON, (kind, {"id": acme.fresh(kind), **body}))[0].result()


def _issue(acme: Licensed) -> None:
    terms = {"deployment": "hybrid", "key_hash": "a" * 32, "key_hint": "abcd"}
    times = {
        "starts_at": format_instant(NOON + SECOND),
        "expires_at": format_instant(NOON + HOUR),
    }
    own = {"priority": 2, "borrow_seconds": 600, "models": [MODEL]}
    issued = {"id": "bound", "template": "bound", "overrides": own, "reference": "offer 1"}
    acme.one(NOON, "issue_license", **issued, **terms, **times).result()
    acme.validate(NOON, "license_not_started")
    there = {"channel": "on_premise", "hardware": MACHINE}
    acme.validate(NOON + SECOND, "license_not_activated", **there)
    acme.on(NOON + SECOND, "activate_license", id="device", components=MACHINE, holder=HOLDER)
    acme.on(NOON + SECOND, "activate_license", "license_devices_taken", components=MACHINE)
    changed = {**there, "hardware": {**MACHINE, "disk": OTHER}}
    acme.validate(NOON + SECOND, "license_hardware_mismatch", **changed)


def _deny(acme: Licensed, at: int) -> None:
    for code, changed in DENIED:
        acme.validate(at, code, **changed)
    acme.validate(at, license_key="a" * 32)
    acme.validate(at)
    acme.validate(at, "license_limit_reached")


def _meter(acme: Licensed, at: int) -> None:
    """Reserve, extend, settle in time and too late, and charge a record, under the licence."""
    under: dict[str, Any] = {"license": "bound", "facts": ADMITTED, "license_key": "a" * 32}
    held = acme.reserve(at, request_hash="cd" * 32, **under)
    more = {"id": "extend", "reservation": held.id, "estimate": {"requests": 1}}
    acme.send(at, ("extend", more))[0].result()
    assert acme.reserve(at, **under).code == "license_limit_reached"
    acme.settle(at, held.id, 2, final=False, response_hash="ef" * 32).result()
    acme.settle(at, held.id, 0, response_hash="ef" * 32).result()
    late = acme.reserve(at + MINUTE, ttl_seconds=5, **under)
    acme.settle(at + MINUTE + 10 * SECOND, late.id, 1).result()
    for license in ("bound", "nobodys"):
        kind, body = acme.usage(1, at + MINUTE)
        acme.send(at + MINUTE + 20 * SECOND, (kind, {**body, "license": license}))[0].result()


def _lease(acme: Licensed, at: int) -> None:
    facts = {**ADMITTED, "hardware": MACHINE}
    seat = {"model": MODEL, "holder": HOLDER, "facts": facts}
    acme.on(at, "lease_seat", "license_borrow_denied", borrow_seconds=601, **seat)
    lease = acme.on(at, "lease_seat", **seat)
    acme.on(at, "lease_seat", "license_seats_taken", **seat)
    acme.on(at + SECOND, "renew_lease", lease=lease, facts=facts)
    acme.on(at + SECOND, "return_lease", lease=lease)
    acme.on(at + SECOND, "renew_lease", "license_lease_ended", lease=lease, facts=facts)
    acme.on(at + SECOND, "lease_seat", borrow_seconds=600, **seat)


def _live(acme: Licensed, at: int) -> None:
    """Go through the rest of a licence's life."""
    acme.on(at, "rotate_license_key", overlap_seconds=60, key_hash="b" * 32, key_hint="efgh")
    acme.on(at, "suspend_license", reason="not paid")
    acme.validate(at, "license_suspended")
    acme.on(at, "reinstate_license", reason="paid")
    acme.on(at, "reinstate_license", "license_not_suspended")
    acme.on(at, "expire_license", "license_not_expired")
    own = {"grace_seconds": 120, "limits": [{**BOUND["limits"][0], "limit": 9}]}
    acme.on(at, "upgrade_license", overrides=own)
    acme.on(at, "deactivate_license", device="device")
    acme.on(at, "deactivate_license", "license_device_unknown", device="device")
    acme.validate(NOON + HOUR + MINUTE)
    acme.on(NOON + HOUR + 2 * MINUTE, "expire_license")
    acme.validate(NOON + HOUR + 2 * MINUTE, "license_expired")
    end = NOON + 2 * HOUR
    acme.on(end, "renew_license", expires_at=format_instant(end + HOUR), reference="offer 2")
    acme.validate(end)
    acme.on(end, "revoke_license", reason="fraud")
    acme.validate(end, "license_revoked")
