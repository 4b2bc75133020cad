"""The life of a licence: issue, activation, renewal, upgrade, suspension, revocation (C6)."""

from calendar import monthrange
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Any, NamedTuple

from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.admission import standing
from domain.allocation import NEVER
from domain.command import in_key_order
from domain.license import License
from domain.license_commands import (
    ActivateLicense,
    DeactivateLicense,
    ExpireLicense,
    IssueLicense,
    ReinstateLicense,
    RenewLicense,
    RevokeLicense,
    RotateLicenseKey,
    SuspendLicense,
    UpgradeLicense,
)
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
from domain.outcomes import Decision, Refusal
from domain.policy import Policy, merged
from domain.values import INSTANT_MAX

KEYS_MAX = 10
"""So many keys of one licence may be good at a time."""

MAINTENANCE_MONTHS = 12
"""The maintenance window where a policy does not say."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Template(NamedTuple):
    """A policy template as it stands now."""

    name: str
    version: int
    policy: Policy


def decide_issue(
    command: IssueLicense,
    template: Template,
    policy: Policy,
    provenance: dict[str, str],
    now: int,
) -> Decision:
    """Issue a licence under a policy: the template with the overrides put in."""
    starts_at = now if command.starts_at is None else command.starts_at
    if command.expires_at is not None and command.expires_at <= max(now, starts_at):
        raise Invalid.because(
            "expires_at", format_instant(command.expires_at), "in the future and after starts_at"
        )
    return (
        LicenseIssued(
            customer=command.customer,
            deployment=command.deployment,
            expires_at=command.expires_at,
            key_hash=command.key_hash,
            key_hint=command.key_hint,
            license=command.id,
            maintenance_until=_months_after(starts_at, _months(policy)),
            overrides=command.overrides,
            policy=policy,
            provenance=provenance,
            reference=command.reference,
            starts_at=command.starts_at,
            template=template.name,
            template_version=template.version,
        ),
    )


def effective(template: Template, overrides: dict[str, Any] | None) -> Policy:
    """Return a template's policy with the overrides put in; raises Invalid."""
    try:
        return merged(template.policy, overrides or {})
    except ValueError as error:
        raise Invalid.because("overrides", overrides, str(error)) from None


def _months(policy: Policy) -> int:
    rule = policy.versions
    months = None if rule is None else rule.months
    return MAINTENANCE_MONTHS if months is None else months


def _months_after(instant: int, months: int) -> int:
    """Return the same day and time some months later, or the last day of that month (UTC)."""
    begin = _EPOCH + timedelta(microseconds=instant)
    year, month = divmod(begin.year * 12 + begin.month - 1 + months, 12)
    if year > MAXYEAR:
        return INSTANT_MAX
    day = min(begin.day, monthrange(year, month + 1)[1])
    return (begin.replace(year=year, month=month + 1, day=day) - _EPOCH) // _MICROSECOND


def decide_activate(license: License, command: ActivateLicense, now: int) -> Decision:
    """Register a machine, if there is a place for one more and it names what binds it."""
    refusal = standing(license, now) or _api_only(license)
    if refusal is not None:
        return refusal
    policy = license.policy
    if len(license.devices) >= policy.devices:
        return Refusal(
            "license_devices_taken",
            f"licence {license.id} is active on {len(license.devices)} devices, of which it "
            f"allows {policy.devices}",
            {**_which(license), "devices": policy.devices},
        )
    named = len(command.components or {})
    if policy.hardware is not None and named < policy.hardware:
        rule = f"at least {policy.hardware}, because the policy binds so many"
        raise Invalid.because("components", named, rule)
    return (
        LicenseActivated(
            components=in_key_order(command.components),
            customer=license.customer,
            device=command.id,
            facts=command.facts,
            holder=command.holder,
            license=license.id,
        ),
    )


def _api_only(license: License) -> Refusal | None:
    if license.deployment != "saas":
        return None
    facts = {**_which(license), "channel": "on_premise"}
    return Refusal("license_channel_denied", f"licence {license.id} is for the API alone", facts)


def decide_deactivate(license: License, command: DeactivateLicense, _now: int) -> Decision:
    """Free the place of a machine."""
    if all(device.id != command.device for device in license.devices):
        return Refusal(
            "license_device_unknown",
            f"licence {license.id} is not active on {command.device}",
            {**_which(license), "device": command.device},
        )
    return (
        LicenseDeactivated(customer=license.customer, device=command.device, license=license.id),
    )


def decide_renew(license: License, command: RenewLicense, now: int) -> Decision:
    """Move the end of a licence later; the maintenance window moves on by its own length."""
    if license.status == "revoked":
        return standing(license, now) or ()
    ends = license.expires_at
    earliest = now if ends == NEVER else max(now, ends)
    if command.expires_at <= earliest:
        raise Invalid.because(
            "expires_at", format_instant(command.expires_at), f"after {format_instant(earliest)}"
        )
    until = command.maintenance_until
    if until is None:
        begin = max(license.maintenance_until, now)
        until = _months_after(begin, _months(license.policy))
    return (
        LicenseRenewed(
            customer=license.customer,
            expires_at=command.expires_at,
            license=license.id,
            maintenance_until=until,
            reference=command.reference,
        ),
    )


def decide_upgrade(
    license: License,
    command: UpgradeLicense,
    template: Template,
    policy: Policy,
    provenance: dict[str, str],
    now: int,
) -> Decision:
    """Give a licence the newest version of a template, with these overrides and no others."""
    if license.status == "revoked":
        return standing(license, now) or ()
    return (
        LicenseUpgraded(
            customer=license.customer,
            deployment=command.deployment,
            license=license.id,
            overrides=command.overrides,
            policy=policy,
            provenance=provenance,
            template=template.name,
            template_version=template.version,
        ),
    )


def decide_suspend(license: License, command: SuspendLicense, now: int) -> Decision:
    """Stop a licence that is active or has expired."""
    if license.status in ("revoked", "suspended"):
        return standing(license, now) or ()
    return (LicenseSuspended(customer=license.customer, license=license.id, reason=command.reason),)


def decide_reinstate(license: License, command: ReinstateLicense, now: int) -> Decision:
    """Let a suspended licence admit again."""
    if license.status == "revoked":
        return standing(license, now) or ()
    if license.status != "suspended":
        detail = f"licence {license.id} is not suspended"
        return Refusal("license_not_suspended", detail, _which(license))
    return (
        LicenseReinstated(customer=license.customer, license=license.id, reason=command.reason),
    )


def decide_revoke(license: License, command: RevokeLicense, now: int) -> Decision:
    """End a licence for ever."""
    if license.status == "revoked":
        return standing(license, now) or ()
    return (LicenseRevoked(customer=license.customer, license=license.id, reason=command.reason),)


def decide_expire(license: License, _command: ExpireLicense, now: int) -> Decision:
    """Book the end of an active licence whose end and grace have passed."""
    if license.status != "active" or now < license.ends_at():
        detail = f"licence {license.id} is {license.status} and has not come to its end"
        return Refusal("license_not_expired", detail, _which(license))
    return (LicenseExpired(customer=license.customer, license=license.id),)


def decide_rotate(license: License, command: RotateLicenseKey, now: int) -> Decision:
    """Give a licence a new key; the older ones end with the overlap."""
    if license.status == "revoked":
        return standing(license, now) or ()
    good = sum(key.ends_at > now for key in license.keys)
    if command.overlap_seconds and good >= KEYS_MAX:
        rule = f"0 while {KEYS_MAX} keys are good"
        raise Invalid.because("overlap_seconds", command.overlap_seconds, rule)
    return (
        LicenseKeyRotated(
            customer=license.customer,
            key_hash=command.key_hash,
            key_hint=command.key_hint,
            license=license.id,
            overlap_seconds=command.overlap_seconds,
        ),
    )


def _which(license: License) -> dict[str, Any]:
    return {"license": license.id, "policy_version": license.policy_version()}
