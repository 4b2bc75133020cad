"""Reservation: the permission to run one inference or several, from its hold to its final outcome.

Each decision takes the customer's balance (with everything due already booked), the reservation
and the prices, and returns the facts or a refusal. The same facts change both aggregates.
"""

from typing import Any, NamedTuple

from tollbook.amounts import format_pico

from domain.event import Event
from domain.events import (
    ReservationExtended,
    ReservationHeld,
    ReservationReleased,
    ReservationSettled,
)
from domain.holds import Hold
from domain.inferences import InferencesSettled
from domain.units import Quantities


class Reservation(NamedTuple):
    """One reservation; amounts in 10^-12, instants in microseconds."""

    id: str
    customer: str
    model: str
    estimate: Quantities
    used: Quantities
    """What partial settlements have charged so far, by unit."""
    opened_at: int
    expires_at: int
    charged: int
    status: str
    """`open`, `settled` or `released`; an open one may have expired."""
    outcome: dict[str, Any] | None
    """What closed it, as later refusals name it."""
    version: int
    license: str | None = None
    inferences: int | None = None
    """For how many inferences it is, if not for one alone; `estimate` is for all of them."""


def of_all(estimate: Quantities, inferences: int | None) -> Quantities:
    """Return what a reservation counts on in all: so many times the estimate of one inference.

    Each of several is one request unless its estimate says more.
    """
    if inferences is None:
        return estimate
    one = {"requests": 1, **estimate}
    return {unit: inferences * one[unit] for unit in sorted(one)}


def remaining(estimate: Quantities, used: Quantities) -> Quantities:
    """Return the part of an estimate that has not been charged yet."""
    if not used:
        return estimate
    return {unit: max(0, units - used.get(unit, 0)) for unit, units in estimate.items()}


def added(one: Quantities, other: Quantities) -> Quantities:
    """Return the sum of two usages, unit by unit."""
    if not one:
        return other
    if one.keys() == other.keys():
        return {unit: one[unit] + other[unit] for unit in one}
    return {unit: one.get(unit, 0) + other.get(unit, 0) for unit in sorted({*one, *other})}


def expected(estimate: Quantities, more: Quantities) -> Quantities:
    """Return what a hold counts on after more was added; it is one request unless it said more."""
    if "requests" in more and "requests" not in estimate:
        estimate = {**estimate, "requests": 1}
    return added(estimate, more)


def opened(
    id: str,
    customer: str,
    model: str,
    estimate: Quantities,
    at: int,
    expires_at: int,
    license: str | None,
    inferences: int | None,
) -> Reservation:
    """Return a reservation whose money was set aside at an instant; `estimate` is of one."""
    whole = of_all(estimate, inferences)
    return Reservation(
        id,
        customer,
        model,
        whole,
        {},
        at,
        expires_at,
        0,
        "open",
        None,
        1,
        license,
        inferences,
    )


def of_hold(id: str, customer: str, hold: Hold) -> Reservation | None:
    """Return the reservation that a customer's hold tells of, if it tells all of it."""
    if not hold.untouched:
        return None
    opened_at, expires_at = hold.opened_at, hold.expires_at
    return opened(
        id, customer, hold.model, hold.estimate, opened_at, expires_at, hold.license, None
    )


def evolve(
    reservation: Reservation | None, event: Event, at: int, command: str
) -> Reservation | None:
    """Apply one event of the reservation's stream; `at` is its recorded time."""
    if isinstance(event, ReservationHeld):
        return opened(
            event.reservation,
            event.customer,
            event.model,
            event.estimate,
            at,
            event.expires_at,
            event.license,
            event.inferences,
        )
    if reservation is None:
        return None
    if isinstance(event, ReservationSettled):
        return _settled(reservation, event, command, reservation.version + 1)
    if isinstance(event, InferencesSettled):
        version = reservation.version + 1
        for fact in event.facts():
            reservation = _settled(reservation, fact, command, version)
        return reservation
    if isinstance(event, ReservationExtended):
        more = event.estimate or {}
        return reservation._replace(
            estimate=added(reservation.estimate, more),
            expires_at=event.expires_at,
            version=reservation.version + 1,
        )
    if isinstance(event, ReservationReleased):
        outcome = {"kind": "release", "id": command, "released": format_pico(event.released)}
        return reservation._replace(
            status="released", outcome=outcome, version=reservation.version + 1
        )
    return reservation


def evolve_further(
    reservation: Reservation, event: ReservationSettled, command: str
) -> Reservation:
    """Apply what belongs to the event before, and so makes no version of its own."""
    return _settled(reservation, event, command, reservation.version)


def _settled(
    reservation: Reservation, event: ReservationSettled, command: str, version: int
) -> Reservation:
    charged = reservation.charged + event.charged
    outcome = None
    if event.final:
        outcome = {"kind": "settle", "id": command, "charged": format_pico(charged)}
    return Reservation(
        reservation.id,
        reservation.customer,
        reservation.model,
        reservation.estimate,
        added(reservation.used, event.usage),
        reservation.opened_at,
        reservation.expires_at,
        charged,
        "settled" if event.final else "open",
        outcome,
        version,
        reservation.license,
        reservation.inferences,
    )
