"""What answers about licences get beside their event: the terms of the policy, and lease tokens."""

from typing import Any

from tollbook import lease
from tollbook.lease import Lease
from tollbook.times import format_instant
from tollbook.tokens import SigningKey

from application.loading import load_license
from application.ports import EventStore
from domain.event import Recorded
from domain.facts import Facts
from domain.license import License
from domain.license_events import LeaseRenewed
from domain.policy import Policy


def terms(policy: Policy) -> dict[str, Any]:
    """Return what a client needs to know of the policy that admitted it."""
    return {
        "features": list(policy.features),
        "priority": policy.priority,
        "pool": policy.pool,
        "watermark": policy.watermark,
    }


def license_at(store: EventStore, name: str, position: int) -> License:
    """Return a licence that there is, as of a position."""
    found = load_license(store, name, position)
    assert found is not None
    return found


def leased(store: EventStore, recorded: Recorded, key: SigningKey) -> dict[str, Any]:
    """Return the token of a lease that was granted or renewed: of one event always the same."""
    event: Any = recorded.event
    granted = event
    if isinstance(event, LeaseRenewed):
        stream = store.stream_events(f"lease-{event.lease}", recorded.position)
        granted = next(iter(stream)).event
    license = license_at(store, event.license, recorded.position - 1)
    device = _device(event.facts) or _device(granted.facts)
    made = Lease(
        id=event.lease,
        license=license.id,
        customer=license.customer,
        model=granted.model,
        holder=granted.holder,
        policy=event.decision["policy"],
        issued_at=recorded.recorded_at,
        expires_at=event.expires_at,
        features=license.policy.features,
        borrowed=granted.borrow_seconds is not None,
        device=device if any(each.id == device for each in license.devices) else None,
    )
    return {
        "model": made.model,
        "holder": made.holder,
        "borrowed": made.borrowed,
        "renew_at": format_instant(made.renew_at()),
        **terms(license.policy),
        "token": lease.sign(made, key),
    }


def _device(facts: Facts | None) -> str | None:
    fact = None if facts is None else facts.get("device")
    return None if fact is None else str(fact.value)
