"""What the API and the commands show of licences and policy templates, read from the log itself."""

from typing import Any

from tollbook.times import format_instant

from application.loading import load_balance, load_license
from application.ports import EventStore
from domain.allocation import NEVER
from domain.balance import Balance, due
from domain.event import Recorded
from domain.folding import evolve
from domain.license import Device, License, LicenseKey
from domain.license_events import LeaseRenewed, PolicyPublished, SeatLeased
from domain.license_use import Count, Lease, Use, live, window
from domain.policy import policy_to_wire
from domain.tiers import TEMPLATES
from domain.units import quantities_to_wire
from domain.values import INSTANT_MAX, is_id
from projections import policies
from projections.decisions import LicenseUse
from projections.model import Run

Document = dict[str, Any]

WHOLE_MAX = 2**53 - 1
"""JSON carries no larger whole number: counts shown stop there."""


class LicenseSeen:
    """A licence and what is used of it, at the head of the log and at an instant."""

    def __init__(self, license: License, balance: Balance, position: int, now: int) -> None:
        """Take the states; what has run out by now is booked first, and counts nowhere."""
        for event in due(balance, now):
            balance = evolve(balance, event, now)
        assert balance.customer is not None
        self.license = license
        self.use: Use | None = balance.uses.get(license.id)
        self.time_zone = balance.customer.time_zone
        self.position = position
        self.now = now


def license_seen(store: EventStore, name: str, now: int) -> LicenseSeen | None:
    """Return a licence as it stands now, or None when there is none by that id."""
    position = store.head().position
    license = load_license(store, name, position) if is_id(name) else None
    if license is None:
        return None
    balance = load_balance(store, license.customer, position)
    return LicenseSeen(license, balance, position, now)


def effective_status(license: License, now: int) -> str:
    """Return how a licence stands: an active one has expired once its end and grace have passed."""
    if license.status == "active" and now >= license.ends_at():
        return "expired"
    return license.status


def license_document(seen: LicenseSeen, used: LicenseUse | None = None) -> Document:
    """Return all that is known of a licence; when its keys were used, the views say."""
    license, now = seen.license, seen.now
    status = effective_status(license, now)
    return {
        "id": license.id,
        "customer": license.customer,
        "status": status,
        "grace": status == "active" and now >= license.expires_at,
        "since": format_instant(license.since),
        "reason": license.reason or None,
        "deployment": license.deployment,
        "template": license.template,
        "policy_version": license.policy_version(),
        "policy": policy_to_wire(license.policy),
        "reference": license.reference,
        "issued_at": format_instant(license.issued_at),
        "starts_at": format_instant(license.starts_at),
        "expires_at": _end(license.expires_at),
        "ends_at": _grace_ends(license),
        "maintenance_until": format_instant(license.maintenance_until),
        "keys": [
            {"hint": key.hint, "ends_at": _end(key.ends_at), **_last_use(key, used)}
            for key in license.keys
            if key.ends_at > now
        ],
        "devices": [_device(each) for each in license.devices],
        "seats": license.policy.seats,
        "leases": [_lease(each) for each in live(seen.use, now)],
        "limits": [_limit(seen, count) for count in (seen.use.counts if seen.use else ())],
        "provenance": license.provenance,
        "position": seen.position,
        "at": format_instant(now),
    }


def lease_document(store: EventStore, seen: LicenseSeen, name: str) -> Document | None:
    """Return a lease of a licence, live or over, or None when it has none by that id."""
    recorded = list(store.stream_events(f"lease-{name}", seen.position)) if is_id(name) else []
    granted = recorded[0].event if recorded else None
    license = seen.license
    if not isinstance(granted, SeatLeased) or granted.license != license.id:
        return None
    until = granted.expires_at
    returned_at = None
    for each in recorded[1:]:
        if isinstance(each.event, LeaseRenewed):
            until = each.event.expires_at
        else:
            returned_at = each.recorded_at
    status = "live" if seen.now < until else "expired"
    if returned_at is not None:
        status = "returned"
    elif license.status == "revoked" and license.since < until:
        status = "revoked"
    return {
        "lease": name,
        "license": license.id,
        "customer": license.customer,
        "status": status,
        "model": granted.model,
        "holder": granted.holder,
        "borrowed": granted.borrow_seconds is not None,
        "leased_at": format_instant(recorded[0].recorded_at),
        "expires_at": format_instant(until),
        "returned_at": None if returned_at is None else format_instant(returned_at),
    }


def _lease(lease: Lease) -> Document:
    return {
        "lease": lease.id,
        "model": lease.model,
        "holder": lease.holder,
        "borrowed": lease.is_borrowed,
        "leased_at": format_instant(lease.leased_at),
        "expires_at": format_instant(lease.expires_at),
    }


def _last_use(key: LicenseKey, used: LicenseUse | None) -> Document:
    return {} if used is None else {"last_used_at": used.last_used.get(key.hash)}


def _device(device: Device) -> Document:
    """Show a machine by the names of its components; their hashes help nobody."""
    return {
        "device": device.id,
        "components": sorted(device.components),
        "holder": device.holder,
    }


def _limit(seen: LicenseSeen, count: Count) -> Document:
    limit = count.limit
    start, end = window(limit, seen.now, seen.time_zone)
    used = count.units if count.start >= start else 0  # it may count since a change in the window
    models = {} if limit.models is None else {"models": list(limit.models)}
    return {
        "limit": limit.id,
        "unit": limit.unit,
        "per": limit.per,
        **models,
        "allowed": _shown(limit.unit, limit.limit),
        "used": _shown(limit.unit, used),
        "remaining": _shown(limit.unit, max(0, limit.limit - used)),
        "resets_at": None if limit.per == "total" else format_instant(end),
    }


def _shown(unit: str, units: int) -> int | str:
    shown = quantities_to_wire({unit: units})[unit]
    return min(shown, WHOLE_MAX) if type(shown) is int else shown


def _grace_ends(license: License) -> str | None:
    """Return the end of the grace; one that cannot be written is the last that can."""
    ends = license.ends_at()
    return None if license.expires_at == NEVER else format_instant(min(ends, INSTANT_MAX))


def _end(instant: int) -> str | None:
    return None if instant == NEVER else format_instant(instant)


def policy_page(
    store: EventStore, run: Run, after: str | None, limit: int
) -> tuple[list[Document], str | None]:
    """Return a page of the newest versions of all templates by name, and the next cursor."""
    found = dict(policies.newest(run))
    names = sorted(name for name in {*TEMPLATES, *found} if name > (after or ""))
    shown = names[:limit]
    events = store.at([found[name] for name in shown if name in found])
    items = [
        _published(events[found[name]]) if name in found else _built_in(name) for name in shown
    ]
    return items, shown[-1] if len(names) > limit else None


def policy_document(store: EventStore, name: str) -> Document | None:
    """Return all versions of a template, the newest first, or None when there is none."""
    versions = [_built_in(name)] if name in TEMPLATES else []
    if is_id(name):
        events = store.stream_events(f"policy-{name}", store.head().position)
        versions += [_published(recorded) for recorded in events]
    if not versions:
        return None
    return {**versions[-1], "versions": versions[::-1]}


def _built_in(name: str) -> Document:
    policy = policy_to_wire(TEMPLATES[name])
    return {"name": name, "version": 0, "policy": policy, "position": None, "recorded_at": None}


def _published(recorded: Recorded) -> Document:
    event = recorded.event
    assert isinstance(event, PolicyPublished)
    return {
        "name": event.name,
        "version": event.version,
        "policy": policy_to_wire(event.policy),
        "position": recorded.position,
        "recorded_at": format_instant(recorded.recorded_at),
    }
