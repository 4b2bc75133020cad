"""How each event changes what is used of a customer's licences."""

from bisect import insort
from collections.abc import Callable, Sequence
from typing import Any

from domain.balance import Balance, earliest_expiry
from domain.event import Event
from domain.events import (
    CustomerChanged,
    HoldsExpired,
    ReservationExtended,
    ReservationHeld,
    ReservationReleased,
    ReservationSettled,
    UsageCharged,
)
from domain.holds import Hold, Holds
from domain.license_events import (
    LeaseRenewed,
    LicenseIssued,
    LicenseRevoked,
    LicenseUpgraded,
    LicenseValidated,
    LimitsIssued,
    SeatLeased,
    SeatReturned,
)
from domain.license_use import Lease, Use, Used, Uses, admit, live, rezoned, set_up, settle
from domain.licensing import ONE_REQUEST
from domain.reservation import of_all, remaining

Fold = Callable[[Balance, Any, int, Holds], Uses | None]


def uses_after(balance: Balance, event: Event, at: int, holds: Holds) -> Uses | None:
    """Return the uses after an event, or None when they stay; `holds` are those after it."""
    return _FOLDS[type(event)](balance, event, at, holds)


def _zone(balance: Balance) -> str:
    return balance.customer.time_zone if balance.customer else "UTC"


def _held(balance: Balance, event: ReservationHeld, at: int, _holds: Holds) -> Uses | None:
    use = None if event.license is None else balance.uses.get(event.license)
    if use is None or event.license is None or not use.counts:
        return None
    units = of_all(event.estimate, event.inferences)
    counted = admit(use, event.model, units, at, _zone(balance), new=True)
    return balance.uses.put(event.license, counted)


def _extended(balance: Balance, event: ReservationExtended, at: int, holds: Holds) -> Uses | None:
    hold = holds.get(event.reservation)
    if hold is None or hold.license is None or event.estimate is None:
        return None
    use = balance.uses.get(hold.license)
    if use is None:
        return None
    more = admit(use, hold.model, event.estimate, at, _zone(balance), new=False)
    return balance.uses.put(hold.license, more)


def _settled(balance: Balance, event: ReservationSettled, at: int, holds: Holds) -> Uses | None:
    hold = balance.holds.get(event.reservation)
    name = event.licensed if hold is None else hold.license
    after = holds.get(event.reservation)
    used = Used(event.usage, event.is_inference)
    if hold is None or hold.each is None or after is not None:
        return _ended(balance, name, event.model, hold, after, used, at)
    # The last of several: it takes the place of one, and then the others are given back.
    others = hold._replace(estimate=remaining(hold.estimate, hold.each))
    uses = _ended(balance, name, event.model, hold, others, used, at)
    if uses is None:
        return None
    return _ended(balance._replace(uses=uses), name, event.model, others, None, None, at)


def _released(balance: Balance, event: ReservationReleased, at: int, _holds: Holds) -> Uses | None:
    hold = balance.holds.get(event.reservation)
    return _ended(balance, hold.license, hold.model, hold, None, None, at) if hold else None


def _holds_expired(balance: Balance, event: HoldsExpired, at: int, _holds: Holds) -> Uses | None:
    uses: Uses | None = None
    for name, _ in event.holds:
        hold = balance.holds.get(name)
        if hold is not None and hold.license is not None:
            changed = _ended(balance, hold.license, hold.model, hold, None, None, at)
            if changed is not None:
                uses = changed
                balance = balance._replace(uses=changed)
    return uses


def _ended(
    balance: Balance,
    name: str | None,
    model: str,
    before: Hold | None,
    after: Hold | None,
    used: Used | None,
    at: int,
) -> Uses | None:
    use = None if name is None else balance.uses.get(name)
    if use is None or name is None or not use.counts:
        return None
    return balance.uses.put(name, settle(use, model, before, after, used, at, _zone(balance)))


def _charged(balance: Balance, event: UsageCharged, at: int, _holds: Holds) -> Uses | None:
    return _ended(balance, event.license, event.model, None, None, Used(event.usage, True), at)


def _validated(balance: Balance, event: LicenseValidated, at: int, _holds: Holds) -> Uses | None:
    use = balance.uses.get(event.license)
    if use is None or not use.counts:
        return None
    units = ONE_REQUEST if event.usage is None else event.usage
    counted = admit(use, event.model, units, at, _zone(balance), new=True)
    return balance.uses.put(event.license, counted)


def _issued(balance: Balance, event: LicenseIssued, _at: int, _holds: Holds) -> Uses | None:
    return _limits_issued(balance, LimitsIssued(event.license, event.policy.limits), _at, _holds)


def _limits_issued(balance: Balance, event: LimitsIssued, _at: int, _holds: Holds) -> Uses | None:
    if not event.limits:
        return None
    return balance.uses.put(event.license, set_up(event.limits, None))


def _upgraded(balance: Balance, event: LicenseUpgraded, at: int, _holds: Holds) -> Uses:
    # A new limit counts from the next instant on: a hold of this one may have been before it.
    use = set_up(event.policy.limits, balance.uses.get(event.license), at + 1)
    return _kept(balance.uses, event.license, use)


def _kept(uses: Uses, name: str, use: Use) -> Uses:
    """Keep a use that says something, and no other."""
    return uses.put(name, use) if use.counts or use.leases else uses.drop(name)


def _revoked(balance: Balance, event: LicenseRevoked, _at: int, _holds: Holds) -> Uses:
    return balance.uses.drop(event.license)


def _leased(balance: Balance, event: SeatLeased, at: int, _holds: Holds) -> Uses:
    use = balance.uses.get(event.license) or Use()
    borrowed = event.borrow_seconds is not None
    lease = Lease(event.lease, event.model, event.holder, at, event.expires_at, borrowed, 1)
    leases = [*live(use, at)]
    insort(leases, lease, key=lambda each: (each.leased_at, each.id))
    return balance.uses.put(event.license, use._replace(leases=tuple(leases)))


def _renewed(balance: Balance, event: LeaseRenewed, at: int, _holds: Holds) -> Uses:
    use = balance.uses.get(event.license) or Use()
    leases = tuple(
        lease._replace(expires_at=event.expires_at, version=lease.version + 1)
        if lease.id == event.lease
        else lease
        for lease in live(use, at)
    )
    return balance.uses.put(event.license, use._replace(leases=leases))


def _returned(balance: Balance, event: SeatReturned, at: int, _holds: Holds) -> Uses:
    use = balance.uses.get(event.license) or Use()
    leases = tuple(lease for lease in live(use, at) if lease.id != event.lease)
    return _kept(balance.uses, event.license, use._replace(leases=leases))


def _rezoned(balance: Balance, event: CustomerChanged, at: int, _holds: Holds) -> Uses | None:
    before, after = _zone(balance), event.time_zone
    if after is None or after == before:
        return None
    uses = balance.uses
    for name, use in balance.uses.items():
        uses = uses.put(name, rezoned(use, at, before, after))
    return uses


def after_issues(balance: Balance, issues: Sequence[LimitsIssued], at: int) -> Balance:
    """Apply issues that follow one another, as `folding.evolve` does one by one.

    `at` is the recorded time of the last one.
    """
    issued: dict[str, Use] = {}
    limits, use = None, Use()
    for issue in issues:
        if issue.limits is not limits:  # issues that follow one another are mostly alike
            limits, use = issue.limits, set_up(issue.limits, None)
        if limits:
            issued[issue.license] = use
    uses = balance.uses.put_all(issued) if issued else balance.uses
    after = balance._replace(uses=uses, sequence=balance.sequence + len(issues))
    return after._replace(next_expiry=earliest_expiry(after)) if at >= after.next_expiry else after


_FOLDS: dict[type[Event], Fold] = {
    ReservationHeld: _held,
    ReservationExtended: _extended,
    ReservationSettled: _settled,
    ReservationReleased: _released,
    HoldsExpired: _holds_expired,
    UsageCharged: _charged,
    LicenseValidated: _validated,
    LicenseIssued: _issued,
    LimitsIssued: _limits_issued,
    LicenseUpgraded: _upgraded,
    LicenseRevoked: _revoked,
    SeatLeased: _leased,
    LeaseRenewed: _renewed,
    SeatReturned: _returned,
    CustomerChanged: _rezoned,
}

OF_USE = frozenset(_FOLDS)
"""The events that can change what is used of a licence."""

OF_KNOWN_USE = frozenset[type[Event]](
    {
        *(ReservationHeld, ReservationExtended, ReservationSettled),
        *(ReservationReleased, HoldsExpired, UsageCharged),
    }
)
"""Of these, the ones that change nothing while no licence has a use."""
