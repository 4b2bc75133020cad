"""How each event changes a balance: the fold over everything that happened to a customer."""

from collections.abc import Callable
from typing import Any

from domain.allocation import NEVER, Grant, Parts, in_burn_order, moved
from domain.balance import Balance, earliest_expiry
from domain.customer import changed, created
from domain.event import Event
from domain.events import (
    CommandRefused,
    CustomerChanged,
    CustomerCreated,
    GrantIssued,
    GrantsExpired,
    HoldsExpired,
    ReservationExtended,
    ReservationHeld,
    ReservationReleased,
    ReservationSettled,
    UsageCharged,
)
from domain.fraud_folding import FRAUD_FOLDS
from domain.guard_events import CapsSet
from domain.holds import Hold
from domain.inferences import InferencesSettled
from domain.license_folding import OF_KNOWN_USE, OF_USE, uses_after
from domain.metering import reheld
from domain.metering_folding import caps_set, used, zone_changed
from domain.pricing import token_volume
from domain.reservation import expected, of_all, remaining

Changes = dict[str, Any]
"""Fields of a balance and their new values."""


_PLACES = {name: place for place, name in enumerate(Balance._fields)}
_SEQUENCE = _PLACES["sequence"]


def evolve(balance: Balance, event: Event, at: int) -> Balance:
    """Apply one event of the customer; `at` is its recorded time."""
    kind = type(event)
    if kind is InferencesSettled:
        return _lines_settled(balance, event, at)
    fold = _FOLDS.get(kind)
    changes: Changes = {} if fold is None else fold(balance, event)
    timed = _TIMED.get(kind)
    if timed is not None:
        changes.update(timed(balance, event, at))
    if balance.meters and "holds" in changes:
        meters = changes.get("meters", balance.meters)
        names = _reservations(event)
        changes["meters"] = reheld(meters, balance.holds, changes["holds"], names)
    if kind in OF_USE and (balance.uses or kind not in OF_KNOWN_USE):
        uses = uses_after(balance, event, at, changes.get("holds", balance.holds))
        if uses is not None:
            changes["uses"] = uses
    changes["sequence"] = balance.sequence + 1
    if kind in _OWN:
        changes["own_version"] = balance.own_version + 1
    first = changes.get("next_expiry", balance.next_expiry)
    if at >= first:
        changes["next_expiry"] = earliest_expiry(balance._replace(**changes))
    else:
        for grant in changes.get("grants", ()):
            if grant.expires_at < first and grant.free:
                changes["next_expiry"] = first = grant.expires_at
    # As `_replace` does it, in half of its time.
    fields = list(balance)
    for name, value in changes.items():
        fields[_PLACES[name]] = value
    return Balance._make(fields)


def evolve_further(balance: Balance, event: Event, at: int) -> Balance:
    """Apply what belongs to the event before, and so has the same number."""
    fields: list[Any] = list(balance)
    fields[_SEQUENCE] -= 1
    return evolve(Balance._make(fields), event, at)


def _lines_settled(balance: Balance, event: Any, at: int) -> Balance:
    first, *others = event.facts()
    balance = evolve(balance, first, at)
    for fact in others:
        balance = evolve_further(balance, fact, at)
    return balance


def _held(balance: Balance, event: ReservationHeld, at: int) -> Changes:
    hold = Hold(
        event.held,
        event.expires_at,
        event.grants,
        event.credit,
        event.model,
        of_all(event.estimate, event.inferences),
        event.license,
        at,
        None if event.inferences is None else of_all(event.estimate, 1),
        event.inferences is None,
    )
    return {
        "grants": _set_aside(balance.grants, event.grants),
        "holds": balance.holds.put(event.reservation, hold),
        "held": balance.held + event.held,
        "credit_held": balance.credit_held + event.credit,
        "next_expiry": min(balance.next_expiry, event.expires_at),
    }


def _set_aside(grants: tuple[Grant, ...], parts: Parts) -> tuple[Grant, ...]:
    """Move parts of grants from free to held."""
    return moved(grants, {name: -part for name, part in parts}, dict(parts))


def _extended(balance: Balance, event: ReservationExtended) -> Changes:
    hold = balance.holds.get(event.reservation)
    if hold is None:
        return {}
    merged = dict(hold.parts)
    for name, part in event.grants:
        merged[name] = merged.get(name, 0) + part
    grants = _set_aside(balance.grants, event.grants)
    parts = tuple((grant.id, merged[grant.id]) for grant in grants if grant.id in merged)
    estimate = expected(hold.estimate, event.estimate or {})
    credit = hold.credit + event.credit
    larger = hold._replace(
        amount=event.held,
        expires_at=event.expires_at,
        parts=parts,
        credit=credit,
        estimate=estimate,
        untouched=False,
    )
    return {
        "grants": grants,
        "holds": balance.holds.put(event.reservation, larger),
        "held": balance.held + event.held - hold.amount,
        "credit_held": balance.credit_held + event.credit,
    }


def _settled(balance: Balance, event: ReservationSettled) -> Changes:
    hold = balance.holds.get(event.reservation)
    changes = _charged(balance, event)
    if hold is None:
        changes["grants"] = moved(balance.grants, _debits(event.grants), {})
    elif event.final:
        changes.update(_closed(balance, event.reservation, hold, event.grants))
    else:
        changes.update(_partly_used(balance, event, hold))
    return changes


def _debits(parts: Parts) -> dict[str, int]:
    return {name: -part for name, part in parts}


def _partly_used(balance: Balance, event: ReservationSettled, hold: Hold) -> Changes:
    """Take a part's debits from the hold's own money first, the rest from free money."""
    own = dict(hold.parts)
    used = {name: min(part, own.get(name, 0)) for name, part in event.grants}
    free = {name: used[name] - part for name, part in event.grants}
    kept = tuple((name, left) for name, part in hold.parts if (left := part - used.get(name, 0)))
    credit = min(event.credit, hold.credit)
    amount = hold.amount - sum(used.values()) - credit
    # Of several inferences, one that used less than it might have leaves the rest as they were.
    estimate = remaining(hold.estimate, hold.each or event.usage)
    credit_left = hold.credit - credit
    smaller = hold._replace(
        amount=amount, parts=kept, credit=credit_left, estimate=estimate, untouched=False
    )
    return {
        "grants": moved(balance.grants, free, {name: -part for name, part in used.items()}),
        "holds": balance.holds.put(event.reservation, smaller),
        "held": balance.held - hold.amount + amount,
        "credit_held": balance.credit_held - credit,
    }


def _closed(balance: Balance, reservation: str, hold: Hold, debits: Parts = ()) -> Changes:
    """Give a hold's money back to where it came from, less what is debited."""
    free = dict(hold.parts)
    for name, part in debits:
        free[name] = free.get(name, 0) - part
    return {
        "grants": moved(balance.grants, free, _debits(hold.parts)),
        "holds": balance.holds.drop(reservation),
        "held": balance.held - hold.amount,
        "credit_held": balance.credit_held - hold.credit,
    }


def _released(balance: Balance, event: ReservationReleased) -> Changes:
    hold = balance.holds.get(event.reservation)
    return {} if hold is None else _closed(balance, event.reservation, hold)


def _holds_expired(balance: Balance, event: HoldsExpired) -> Changes:
    changes: Changes = {}
    for name, _ in event.holds:
        hold = balance.holds.get(name)
        if hold is not None:
            changes = _closed(balance, name, hold)
            balance = balance._replace(**changes)
    return changes


def _grants_expired(balance: Balance, event: GrantsExpired) -> Changes:
    return {
        "grants": moved(balance.grants, _debits(event.grants), {}),
        "breakage": balance.breakage + sum(part for _, part in event.grants),
    }


def _charged(balance: Balance, event: ReservationSettled | UsageCharged) -> Changes:
    """Count a charge into the totals and into the volume that picks the tier."""
    volume = event.volume + token_volume(event.usage)
    return {
        "spent": balance.spent + event.from_balance,
        "receivable": balance.receivable + event.receivable,
        "overdraft": balance.overdraft + event.credit,
        "volumes": {**balance.volumes, f"{event.model}/{event.period}": volume},
    }


def _usage_charged(balance: Balance, event: UsageCharged) -> Changes:
    changes = _charged(balance, event)
    changes["grants"] = moved(balance.grants, _debits(event.grants), {})
    return changes


def _granted(balance: Balance, event: GrantIssued) -> Changes:
    expires_at = NEVER if event.expires_at is None else event.expires_at
    free = event.amount - event.overdraft_repaid
    changes: Changes = {
        "granted": balance.granted + event.amount,
        "overdraft": balance.overdraft - event.overdraft_repaid,
    }
    if free:
        grant = Grant(event.grant, event.kind, event.priority, expires_at, event.models, free, 0)
        changes["grants"] = in_burn_order((*balance.grants, grant))
    return changes


def _created(_balance: Balance, event: CustomerCreated) -> Changes:
    return {"customer": created(event)}


def _changed(balance: Balance, event: CustomerChanged) -> Changes:
    return {} if balance.customer is None else {"customer": changed(balance.customer, event)}


_FOLDS: dict[type[Event], Callable[[Balance, Any], Changes]] = {
    CustomerCreated: _created,
    CustomerChanged: _changed,
    GrantIssued: _granted,
    GrantsExpired: _grants_expired,
    HoldsExpired: _holds_expired,
    ReservationExtended: _extended,
    ReservationSettled: _settled,
    ReservationReleased: _released,
    UsageCharged: _usage_charged,
}


def _reservations(event: Any) -> list[str]:
    """Return the reservations whose holds an event changes."""
    if isinstance(event, HoldsExpired):
        return [name for name, _ in event.holds]
    return [event.reservation]


_TIMED: dict[type[Event], Callable[[Balance, Any, int], Changes]] = {
    ReservationHeld: _held,
    ReservationSettled: used,
    UsageCharged: used,
    CustomerChanged: zone_changed,
    CapsSet: caps_set,
    **FRAUD_FOLDS,
}
"""What an event changes where the time of its recording matters."""

_OWN = frozenset(
    {
        *(CustomerCreated, CustomerChanged, GrantsExpired, HoldsExpired, UsageCharged),
        *(CommandRefused, CapsSet),
        *FRAUD_FOLDS,
    }
)
"""The events that stand in the customer's own stream."""
