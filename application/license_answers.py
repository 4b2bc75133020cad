"""What commands about licences answer, derived from the stored event."""

from typing import Any

from tollbook.times import format_instant

from domain.event import Event
from domain.license_events import (
    LeaseRenewed,
    LicenseActivated,
    LicenseDeactivated,
    LicenseExpired,
    LicenseIssued,
    LicenseKeyRotated,
    LicenseReinstated,
    LicenseRenewed,
    LicenseRevoked,
    LicenseSuspended,
    LicenseUpgraded,
    LicenseValidated,
    PolicyPublished,
    SeatLeased,
    SeatReturned,
)
from domain.policy import policy_to_wire
from domain.values import INSTANT_MAX

MADE_AT_THE_EDGE = frozenset({"key_hash", "key_hint"})
"""Fields of commands that are new each time: a repeated command has others."""

FILLED_IN = frozenset({"maintenance_until", "template"})
"""Fields of events that the ledger fills in where the command leaves them out."""

_NEVER = format_instant(INSTANT_MAX)

_STATUS_AFTER: dict[type[Event], str] = {
    LicenseSuspended: "suspended",
    LicenseReinstated: "active",
    LicenseRevoked: "revoked",
    LicenseExpired: "expired",
}


def license_result_of(event: Any) -> dict[str, Any]:
    """Return what a done command about a licence answers; nothing for any other event."""
    kind = type(event)
    if kind in _STATUS_AFTER:
        return {**_whose(event), "license_status": _STATUS_AFTER[kind]}
    shown = _SHOWN.get(kind)
    return {} if shown is None else shown(event)


def decision_result(decision: dict[str, Any]) -> dict[str, Any]:
    """Return a stored decision as answers show it."""
    return {
        "policy_version": decision["policy"],
        "grace": decision.get("grace", False),
        "remaining": [
            {"limit": limit, "remaining": units, "resets_at": _reset(resets_at)}
            for limit, units, resets_at in decision.get("remaining", ())
        ],
    }


def denial_facts(code: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the stored facts of a refusal as answers show them."""
    if code != "license_limit_reached":
        return dict(facts)
    return {**facts, "resets_at": _reset(facts["resets_at"])}


def _reset(stored: str) -> str | None:
    """Return when a limit resets; the end of time, which events keep for never, is None."""
    return None if stored == _NEVER else stored


def _whose(event: Any) -> dict[str, Any]:
    return {"license": event.license, "customer": event.customer}


def _issued(event: LicenseIssued) -> dict[str, Any]:
    return {
        **_whose(event),
        "license_status": "active",
        "deployment": event.deployment,
        "template": event.template,
        "policy_version": f"{event.template}:{event.template_version}:0",
        "expires_at": None if event.expires_at is None else format_instant(event.expires_at),
        "maintenance_until": format_instant(event.maintenance_until),
        "key_hint": event.key_hint,
    }


def _activated(event: LicenseActivated | LicenseDeactivated) -> dict[str, Any]:
    return {**_whose(event), "device": event.device}


def _renewed(event: LicenseRenewed) -> dict[str, Any]:
    return {
        **_whose(event),
        "expires_at": format_instant(event.expires_at),
        "maintenance_until": format_instant(event.maintenance_until),
    }


def _upgraded(event: LicenseUpgraded) -> dict[str, Any]:
    return {**_whose(event), "template": event.template, "template_version": event.template_version}


def _rotated(event: LicenseKeyRotated) -> dict[str, Any]:
    return {**_whose(event), "key_hint": event.key_hint, "overlap_seconds": event.overlap_seconds}


def _validated(event: LicenseValidated) -> dict[str, Any]:
    return {
        **_whose(event),
        "model": event.model,
        "admitted": True,
        **decision_result(event.decision),
    }


def _leased(event: SeatLeased) -> dict[str, Any]:
    return {
        **_whose(event),
        "lease": event.lease,
        "model": event.model,
        "holder": event.holder,
        "expires_at": format_instant(event.expires_at),
        "borrowed": event.borrow_seconds is not None,
        "policy_version": event.decision["policy"],
    }


def _lease_renewed(event: LeaseRenewed) -> dict[str, Any]:
    return {
        **_whose(event),
        "lease": event.lease,
        "expires_at": format_instant(event.expires_at),
        "policy_version": event.decision["policy"],
    }


def _returned(event: SeatReturned) -> dict[str, Any]:
    return {**_whose(event), "lease": event.lease}


def _published(event: PolicyPublished) -> dict[str, Any]:
    return {"name": event.name, "version": event.version, "policy": policy_to_wire(event.policy)}


_SHOWN: dict[type[Event], Any] = {
    LicenseIssued: _issued,
    LicenseActivated: _activated,
    LicenseDeactivated: _activated,
    LicenseRenewed: _renewed,
    LicenseUpgraded: _upgraded,
    LicenseKeyRotated: _rotated,
    LicenseValidated: _validated,
    SeatLeased: _leased,
    LeaseRenewed: _lease_renewed,
    SeatReturned: _returned,
    PolicyPublished: _published,
}
