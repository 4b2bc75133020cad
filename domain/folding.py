"""How each event changes a balance: the fold over everything that happened to a customer."""

from collections.abc import Callable
from typing import Any

from domain.allocation import moved
from domain.balance import Balance, earliest_expiry, granted
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
from domain.holds import Hold
from domain.pricing import token_volume


def evolve(balance: Balance, event: Event, at: int) -> Balance:
    """Apply one event of the customer; `at` is its recorded time."""
    fold = _FOLDS.get(type(event))
    changed_balance = balance if fold is None else fold(balance, event)
    first = changed_balance.next_expiry
    if at >= first:
        first = earliest_expiry(changed_balance)
    else:
        for grant in changed_balance.grants:
            if grant.free and grant.expires_at < first:
                first = grant.expires_at
    return changed_balance._replace(
        next_expiry=first,
        sequence=balance.sequence + 1,
        own_version=balance.own_version + (type(event) in _OWN),
    )


def _held(balance: Balance, event: ReservationHeld) -> Balance:
    grants = moved(balance.grants, {name: -part for name, part in event.grants}, dict(event.grants))
    hold = Hold(event.held, event.expires_at, event.grants, event.credit)
    return balance._replace(
        grants=grants,
        holds=balance.holds.put(event.reservation, hold),
        held=balance.held + event.held,
        credit_held=balance.credit_held + event.credit,
        next_expiry=min(balance.next_expiry, event.expires_at),
    )


def _extended(balance: Balance, event: ReservationExtended) -> Balance:
    hold = balance.holds.get(event.reservation)
    if hold is None:
        return balance
    merged = dict(hold.parts)
    for name, part in event.grants:
        merged[name] = merged.get(name, 0) + part
    grants = moved(balance.grants, {name: -part for name, part in event.grants}, dict(event.grants))
    parts = tuple((grant.id, merged[grant.id]) for grant in grants if grant.id in merged)
    larger = Hold(event.held, event.expires_at, parts, hold.credit + event.credit)
    return balance._replace(
        grants=grants,
        holds=balance.holds.put(event.reservation, larger),
        held=balance.held + event.held - hold.amount,
        credit_held=balance.credit_held + event.credit,
    )


def _settled(balance: Balance, event: ReservationSettled) -> Balance:
    hold = balance.holds.get(event.reservation)
    balance = _charged(balance, event)
    if hold is None:
        debits = {name: -part for name, part in event.grants}
        return balance._replace(
            grants=moved(balance.grants, debits, {}), overdraft=balance.overdraft + event.credit
        )
    if event.final:
        return _closed(balance, event.reservation, hold, dict(event.grants), event.credit)
    return _partly_used(balance, event, hold)


def _partly_used(balance: Balance, event: ReservationSettled, hold: Hold) -> Balance:
    """Take a part's debits from the hold's own money first, the rest from free money."""
    own = dict(hold.parts)
    used = {name: min(part, own.get(name, 0)) for name, part in event.grants}
    free = {name: used[name] - part for name, part in event.grants}
    kept = tuple((name, left) for name, part in hold.parts if (left := part - used.get(name, 0)))
    credit = min(event.credit, hold.credit)
    amount = hold.amount - sum(used.values()) - credit
    smaller = Hold(amount, hold.expires_at, kept, hold.credit - credit)
    return balance._replace(
        grants=moved(balance.grants, free, {name: -part for name, part in used.items()}),
        holds=balance.holds.put(event.reservation, smaller),
        held=balance.held - hold.amount + amount,
        credit_held=balance.credit_held - credit,
        overdraft=balance.overdraft + event.credit,
    )


def _closed(
    balance: Balance, reservation: str, hold: Hold, debits: dict[str, int], credit: int
) -> Balance:
    """Give a hold's money back to where it came from, less what is debited."""
    held = {name: -part for name, part in hold.parts}
    free = dict(hold.parts)
    for name, part in debits.items():
        free[name] = free.get(name, 0) - part
    return balance._replace(
        grants=moved(balance.grants, free, held),
        holds=balance.holds.drop(reservation),
        held=balance.held - hold.amount,
        credit_held=balance.credit_held - hold.credit,
        overdraft=balance.overdraft + credit,
    )


def _released(balance: Balance, event: ReservationReleased) -> Balance:
    hold = balance.holds.get(event.reservation)
    return balance if hold is None else _closed(balance, event.reservation, hold, {}, 0)


def _holds_expired(balance: Balance, event: HoldsExpired) -> Balance:
    for name, _ in event.holds:
        hold = balance.holds.get(name)
        if hold is not None:
            balance = _closed(balance, name, hold, {}, 0)
    return balance


def _grants_expired(balance: Balance, event: GrantsExpired) -> Balance:
    lost = {name: -part for name, part in event.grants}
    return balance._replace(
        grants=moved(balance.grants, lost, {}),
        breakage=balance.breakage + sum(part for _, part in event.grants),
    )


def _charged(balance: Balance, event: ReservationSettled | UsageCharged) -> Balance:
    """Count a charge into the totals and into the volume that picks the tier."""
    key = f"{event.model}/{event.period}"
    volume = event.volume + token_volume(event.usage)
    return balance._replace(
        spent=balance.spent + event.from_balance,
        receivable=balance.receivable + event.receivable,
        volumes={**balance.volumes, key: volume},
    )


def _usage_charged(balance: Balance, event: UsageCharged) -> Balance:
    balance = _charged(balance, event)
    debits = {name: -part for name, part in event.grants}
    return balance._replace(
        grants=moved(balance.grants, debits, {}), overdraft=balance.overdraft + event.credit
    )


def _created(balance: Balance, event: CustomerCreated) -> Balance:
    return balance._replace(customer=created(event))


def _changed(balance: Balance, event: CustomerChanged) -> Balance:
    if balance.customer is None:
        return balance
    return balance._replace(customer=changed(balance.customer, event))


_FOLDS: dict[type[Event], Callable[[Balance, Any], Balance]] = {
    CustomerCreated: _created,
    CustomerChanged: _changed,
    GrantIssued: granted,
    GrantsExpired: _grants_expired,
    HoldsExpired: _holds_expired,
    ReservationHeld: _held,
    ReservationExtended: _extended,
    ReservationSettled: _settled,
    ReservationReleased: _released,
    UsageCharged: _usage_charged,
}

_OWN = frozenset(
    {CustomerCreated, CustomerChanged, GrantsExpired, HoldsExpired, UsageCharged, CommandRefused}
)
"""The events that stand in the customer's own stream."""
