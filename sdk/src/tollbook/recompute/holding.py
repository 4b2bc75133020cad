"""Checks of holds: how large, out of which grants, until when, and what goes back."""

from tollbook.recompute.account import Account, Draws, Hold, Reservation
from tollbook.recompute.fact import Fact, Place
from tollbook.recompute.guarding import check_admitted
from tollbook.recompute.license_seats import check_held, check_more
from tollbook.recompute.license_use import count_ended
from tollbook.recompute.prices import Quantities, Unpriced, quantities
from tollbook.recompute.quoting import hold_size
from tollbook.recompute.stages import Outcome
from tollbook.times import SECOND, format_instant

TTL_DEFAULT_SECONDS = 300
LIFE_MAX_SECONDS = 7 * 86_400
"""However often it is extended, a hold ends a week after it began."""
INFERENCES_MAX = 10_000


def reservation_held(account: Account, fact: Fact) -> Place:
    """Hold the worst price of the estimate: grants first, then credit."""
    data, at = fact.data, fact.at
    name, model, estimate = data["reservation"], data["model"], quantities(data["estimate"])
    if fact.command != name:
        fact.differ("command", name, fact.command)
    if name in account.reservations:
        fact.differ("reservation", "an id that is new", name)
        count_ended(account, name, at)
        account.give_back(name)
    expires_at = at + data.get("ttl_seconds", TTL_DEFAULT_SECONDS) * SECOND
    fact.check("expires_at", format_instant(expires_at))
    several, under = _inferences(fact), data.get("license")
    reservation = Reservation(model, estimate, at, expires_at, under, several)
    check_admitted(account, fact, model, reservation.estimate, new=True)
    size = hold_size(account, model, estimate, at, expires_at, several or 1)
    amount = _checked_size(fact, size)
    draws, credit = funded(account, fact, model, amount)
    check_held(account, fact, reservation.estimate)
    account.reservations[name] = reservation
    parts = {grant.id: taken for grant, taken in draws}
    account.hold(name, Hold(expires_at, parts, credit))
    return f"reservation-{name}", 1


def _inferences(fact: Fact) -> int | None:
    """Return for how many inferences a reservation is, where it is for several."""
    found: int | None = fact.data.get("inferences")
    if found is not None and not 2 <= found <= INFERENCES_MAX:
        fact.differ("inferences", f"2 to {INFERENCES_MAX}", found)
    return found


def _checked_size(fact: Fact, size: int | Unpriced) -> int:
    if isinstance(size, Unpriced):
        fact.differ("held", f"refused: {size.code}", fact.data.get("held"))
        return fact.as_found("held")
    fact.check_money("held", size)
    return size


def funded(account: Account, fact: Fact, model: str, amount: int) -> tuple[Draws, int]:
    """Check who gives the money for a hold, and that it was there to give."""
    draws, uncovered = account.draw(model, fact.at, amount, account.spare())
    room = max(0, account.credit_left())
    if uncovered > room:
        fact.differ("credit", f"at most {room} of 10^-12", fact.data.get("credit"))
    fact.check_parts("grants", [(grant.id, taken) for grant, taken in draws])
    fact.check_money("credit", uncovered)
    return draws, uncovered


def wanted(
    reservation: Reservation, more: Quantities, ttl: int | None, at: int
) -> tuple[Quantities, int]:
    """Return what an extended hold must cover, and until when: never less, never shorter."""
    left = less(reservation.estimate, reservation.used)
    expires_at = reservation.expires_at
    if ttl is not None:
        latest = reservation.opened_at + LIFE_MAX_SECONDS * SECOND
        expires_at = max(expires_at, min(at + ttl * SECOND, latest))
    return total(left, more), expires_at


def less(estimate: Quantities, used: Quantities) -> Quantities:
    """Take what was used from an estimate, unit by unit and never below zero."""
    return {unit: max(0, quantity - used.get(unit, 0)) for unit, quantity in estimate.items()}


def total(one: Quantities, other: Quantities) -> Quantities:
    """Add two usages, unit by unit, units in the order of their names."""
    return {unit: one.get(unit, 0) + other.get(unit, 0) for unit in sorted({*one, *other})}


def reservation_extended(account: Account, fact: Fact) -> Place:
    """Add to a hold what its units or its time now need beyond what it has."""
    data, at = fact.data, fact.at
    name = data["reservation"]
    reservation, hold = account.reservations.get(name), account.holds.get(name)
    if reservation is None or hold is None or at >= reservation.expires_at:
        return _not_extended(account, fact, name)
    if reservation.inferences is not None:
        fact.differ("reservation", "one for a single inference", name)
    more = quantities(data.get("estimate", {}))
    estimate, expires_at = wanted(reservation, more, data.get("ttl_seconds"), at)
    fact.check("expires_at", format_instant(expires_at))
    gated = more if "estimate" in data else None
    check_admitted(account, fact, reservation.model, gated, new=False)
    check_more(account, fact, reservation, more)
    size = hold_size(account, reservation.model, estimate, at, expires_at)
    if isinstance(size, int):
        size = max(size, hold.amount)
    amount = _checked_size(fact, size)
    draws, credit = funded(account, fact, reservation.model, max(0, amount - hold.amount))
    merged = dict(hold.parts)
    for grant, taken in draws:
        merged[grant.id] = merged.get(grant.id, 0) + taken
    account.give_back(name)
    parts = {grant.id: merged[grant.id] for grant in account.grants if grant.id in merged}
    account.hold(name, Hold(expires_at, parts, hold.credit + credit))
    reservation.estimate = total(reservation.estimate, more)
    if "requests" in more:  # a reservation is one request, unless it said more
        reservation.left = {"requests": 1, **reservation.left}
    reservation.left = total(reservation.left, more)
    reservation.expires_at = expires_at
    reservation.version += 1
    return f"reservation-{name}", reservation.version


def _not_extended(account: Account, fact: Fact, name: str) -> Place:
    fact.differ("reservation", "an open hold", name)
    reservation = account.reservations.get(name)
    if reservation is None:
        return f"reservation-{name}", 0
    reservation.version += 1
    return f"reservation-{name}", reservation.version


def reservation_released(account: Account, fact: Fact) -> Place:
    """Give a hold back; after its expiry there is nothing left to give."""
    name = fact.data["reservation"]
    count_ended(account, name, fact.at)
    reservation = account.reservations.pop(name, None)
    hold = account.give_back(name)
    account.sweep(() if hold is None else hold.parts)
    outcome = Outcome(fact.command, fact.name, fact.data)
    account.runs.end(name, outcome, fact.at, account.reservations)
    if reservation is None:
        fact.differ("reservation", "one without a final outcome", name)
        return f"reservation-{name}", 0
    fact.check_money("released", 0 if hold is None else hold.amount)
    return f"reservation-{name}", reservation.version + 1
