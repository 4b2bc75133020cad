"""The rules of seats: who gets one, for how long, and when it is free again (C12)."""

from tollbook.times import format_instant

from domain.admission import denied
from domain.facts import Facts
from domain.license import License
from domain.license_commands import LeaseSeat, RenewLease, ReturnLease
from domain.license_events import LeaseRenewed, SeatLeased, SeatReturned
from domain.license_use import Lease, Use, lease_of, live
from domain.licensing import Ask, Licensed, admitted
from domain.outcomes import Decision, Refusal
from domain.values import INSTANT_MAX, SECOND


def decide_lease(licensed: Licensed, command: LeaseSeat, now: int) -> Decision:
    """Give a free seat to a holder."""
    license, policy = licensed.license, licensed.license.policy
    ask = Ask(command.model, {}, command.facts, command.license_key)
    decision = admitted(licensed._replace(use=None), ask, now, channel="on_premise")
    if isinstance(decision, Refusal):
        return decision
    other = _held_by_another(license, command.facts, command.holder)
    if other is not None:
        return denied(license, "license_hardware_mismatch", {"device": other})
    asked = command.borrow_seconds
    if asked is not None and asked > policy.borrow_seconds:
        return Refusal(
            "license_borrow_denied",
            f"licence {license.id} lends a seat for at most {policy.borrow_seconds} s",
            {**_which(license), "borrow_seconds": policy.borrow_seconds},
        )
    taken = live(licensed.use, now)
    if len(taken) >= policy.seats:
        return _seats_taken(license, taken)
    return (
        SeatLeased(
            borrow_seconds=asked,
            customer=license.customer,
            decision=decision,
            expires_at=_until(license, now, asked or policy.lease_seconds),
            facts=command.facts,
            holder=command.holder,
            lease=command.id,
            license=license.id,
            license_key=command.license_key,
            model=command.model,
        ),
    )


def _held_by_another(license: License, facts: Facts | None, holder: str) -> str | None:
    """Return the device that is named, if it was activated for another holder than this one."""
    fact = (facts or {}).get("device")
    for device in license.devices:
        if fact is not None and device.id == fact.value:
            return device.id if device.holder not in (None, holder) else None
    return None


def decide_renew_lease(licensed: Licensed, command: RenewLease, now: int) -> Decision:
    """Let a live lease live longer; with fewer seats than leases, only the oldest may."""
    license = licensed.license
    leases = live(licensed.use, now)
    lease = next((each for each in leases if each.id == command.lease), None)
    if lease is None:
        return _ended(licensed, command.lease, now)
    ask = Ask(lease.model, {}, command.facts, None)
    decision = admitted(licensed._replace(use=None), ask, now, channel="on_premise")
    if isinstance(decision, Refusal):
        return decision
    other = _held_by_another(license, command.facts, lease.holder)
    if other is not None:
        return denied(license, "license_hardware_mismatch", {"device": other})
    if lease not in leases[: license.policy.seats]:
        return _seats_taken(license, leases)
    until = _until(license, now, license.policy.lease_seconds)
    return (
        LeaseRenewed(
            customer=license.customer,
            decision=decision,
            expires_at=max(lease.expires_at, until),
            facts=command.facts,
            lease=lease.id,
            license=license.id,
        ),
    )


def decide_return(licensed: Licensed, command: ReturnLease, now: int) -> Decision:
    """Free a seat before its lease expires."""
    leases = live(licensed.use, now)
    if all(each.id != command.lease for each in leases):
        return _ended(licensed, command.lease, now)
    license = licensed.license
    return (SeatReturned(customer=license.customer, lease=command.lease, license=license.id),)


def model_of(use: Use | None, name: str) -> str:
    """Return the model of a lease; empty when the lease is not known any more."""
    known = lease_of(use, name)
    return "" if known is None else known.model


def _until(license: License, now: int, seconds: int) -> int:
    return min(now + seconds * SECOND, license.ends_at(), INSTANT_MAX)


def _which(license: License) -> dict[str, str]:
    return {"license": license.id, "policy_version": license.policy_version()}


def _seats_taken(license: License, leases: tuple[Lease, ...]) -> Refusal:
    seats = license.policy.seats
    facts = {**_which(license), "seats": seats}
    if leases:
        facts["resets_at"] = format_instant(min(lease.expires_at for lease in leases))
    return Refusal(
        "license_seats_taken", f"all {seats} seats of licence {license.id} are taken", facts
    )


def _ended(licensed: Licensed, name: str, now: int) -> Refusal:
    known: Lease | None = lease_of(licensed.use, name)
    facts = {**_which(licensed.license), "lease": name}
    if known is not None and known.expires_at <= now:
        facts["expired_at"] = format_instant(known.expires_at)
    return Refusal("license_lease_ended", f"lease {name} is not live", facts)
