"""License: what a customer may run, for how long and how; its life from issue to its end.

What was used of a licence, and who holds its seats, is kept with its customer: `license_use`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from domain.allocation import NEVER
from domain.event import Event
from domain.license_events import (
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
)
from domain.policy import Policy
from domain.values import SECOND


class LicenseKey(NamedTuple):
    """A key of a licence, known by its keyed hash alone."""

    hash: str
    """The first 32 hex digits of its HMAC."""
    hint: str
    """The last characters, so that people can tell keys apart."""
    ends_at: int
    """The instant from which it opens nothing; NEVER for the newest key."""


class Device(NamedTuple):
    """A machine that a licence was activated on."""

    id: str
    components: dict[str, str]
    """Component to keyed hash, as they were at its activation."""
    holder: str | None
    """The thumbprint of the key that leases for this machine must be for, if it named one."""


class License(NamedTuple):
    """One licence; instants in microseconds."""

    id: str
    customer: str
    deployment: str
    """`saas`, `on_premise` or `hybrid`."""
    template: str
    template_version: int
    revision: int
    """How often the policy of this very licence has changed."""
    policy: Policy
    reference: str | None
    """The purchase or offer that it comes from."""
    issued_at: int
    starts_at: int
    expires_at: int
    """NEVER when it has no end."""
    maintenance_until: int
    """The last release time of versions that the rule `maintenance` allows."""
    status: str
    """`active`, `suspended`, `expired` (booked) or `revoked`; an active one may have expired."""
    since: int
    """When it got that status."""
    reason: str
    keys: tuple[LicenseKey, ...]
    devices: tuple[Device, ...]
    provenance: dict[str, str]
    """Model to the hash of its registry entry, as it was when the licence was issued."""
    version: int

    def policy_version(self) -> str:
        """Return what each decision names: template, its version, and this licence's revision."""
        return f"{self.template}:{self.template_version}:{self.revision}"

    def ends_at(self) -> int:
        """Return the instant from which nothing is admitted: the end and its grace."""
        return self.expires_at + self.policy.grace_seconds * SECOND


def evolve(license: License | None, event: Event, at: int) -> License | None:
    """Apply one event of the licence's stream; `at` is its recorded time."""
    if isinstance(event, LicenseIssued):
        return _issued(event, at)
    if license is None:
        return None
    fold = _FOLDS.get(type(event))
    if fold is None:
        return license
    changed: License = fold(license, event, at)
    return changed._replace(version=license.version + 1)


def _issued(event: LicenseIssued, at: int) -> License:
    return License(
        event.license,
        event.customer,
        event.deployment,
        event.template,
        event.template_version,
        0,
        event.policy,
        event.reference,
        at,
        at if event.starts_at is None else event.starts_at,
        NEVER if event.expires_at is None else event.expires_at,
        event.maintenance_until,
        "active",
        at,
        "",
        (LicenseKey(event.key_hash, event.key_hint, NEVER),),
        (),
        event.provenance,
        1,
    )


def _activated(license: License, event: LicenseActivated, _at: int) -> License:
    device = Device(event.device, event.components or {}, event.holder)
    return license._replace(devices=(*license.devices, device))


def _deactivated(license: License, event: LicenseDeactivated, _at: int) -> License:
    kept = tuple(device for device in license.devices if device.id != event.device)
    return license._replace(devices=kept)


def _renewed(license: License, event: LicenseRenewed, at: int) -> License:
    renewed = license._replace(
        expires_at=event.expires_at,
        maintenance_until=event.maintenance_until,
        reference=license.reference if event.reference is None else event.reference,
    )
    return _with_status(renewed, "active", at) if license.status == "expired" else renewed


def _upgraded(license: License, event: LicenseUpgraded, _at: int) -> License:
    return license._replace(
        deployment=license.deployment if event.deployment is None else event.deployment,
        template=license.template if event.template is None else event.template,
        template_version=event.template_version,
        revision=license.revision + 1,
        policy=event.policy,
        provenance=event.provenance,
    )


def _suspended(license: License, event: LicenseSuspended, at: int) -> License:
    return _with_status(license, "suspended", at, event.reason)


def _reinstated(license: License, _event: LicenseReinstated, at: int) -> License:
    return _with_status(license, "active", at)


def _revoked(license: License, event: LicenseRevoked, at: int) -> License:
    return _with_status(license, "revoked", at, event.reason)


def _expired(license: License, _event: LicenseExpired, at: int) -> License:
    return _with_status(license, "expired", at)


def _with_status(license: License, status: str, at: int, reason: str = "") -> License:
    return license._replace(status=status, since=at, reason=reason)


def _rotated(license: License, event: LicenseKeyRotated, at: int) -> License:
    last = at + event.overlap_seconds * SECOND
    older = (key._replace(ends_at=min(key.ends_at, last)) for key in license.keys)
    kept = tuple(key for key in older if key.ends_at > at)
    return license._replace(keys=(*kept, LicenseKey(event.key_hash, event.key_hint, NEVER)))


_FOLDS: dict[type[Event], Callable[[License, Any, int], License]] = {
    LicenseActivated: _activated,
    LicenseDeactivated: _deactivated,
    LicenseRenewed: _renewed,
    LicenseUpgraded: _upgraded,
    LicenseSuspended: _suspended,
    LicenseReinstated: _reinstated,
    LicenseRevoked: _revoked,
    LicenseExpired: _expired,
    LicenseKeyRotated: _rotated,
}
