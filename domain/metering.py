"""Metering: what counts against each cap of a customer, in its window and in open holds.

What was used counts from the moment at which the cap was set, by the time at which it occurred. It
is kept per calendar window (the newest two) or per step of a rolling one.
"""

from collections.abc import Iterable
from typing import NamedTuple

from domain.activity import requests_of
from domain.cap import Cap
from domain.holds import Hold, Holds
from domain.units import Quantities
from domain.values import SECOND

CALENDAR_WINDOWS = 2
"""Usage may be stamped a few seconds ahead, into the window after the present one."""


class Meter(NamedTuple):
    """A cap, and what counts against it."""

    cap: Cap
    used: tuple[tuple[int, int], ...] = ()
    """(start of the window or step, units in base units), oldest first."""
    held: int = 0
    """What open holds may still use; expired ones count until they are booked."""


Meters = tuple[Meter, ...]
"""In the order in which the caps were given."""


def set_up(caps: Iterable[Cap], before: Meters, holds: Holds) -> Meters:
    """Return meters for these caps; one that stayed the same, its limit apart, keeps its count."""
    counts = {meter.cap._replace(limit=0): meter.used for meter in before}
    return tuple(
        Meter(
            cap,
            counts.get(cap._replace(limit=0), ()),
            sum(asked(cap, hold) for _, hold in holds.items()),
        )
        for cap in caps
    )


def asked(cap: Cap, hold: Hold | None) -> int:
    """Return what a hold may still use of what a cap counts."""
    return cap.asked(hold.estimate) if hold is not None and cap.concerns(hold.model) else 0


def reheld(meters: Meters, before: Holds, after: Holds, names: Iterable[str]) -> Meters:
    """Return meters after the holds of these reservations changed."""
    names = tuple(names)
    return tuple(
        meter._replace(
            held=meter.held
            + sum(asked(meter.cap, after.get(name)) for name in names)
            - sum(asked(meter.cap, before.get(name)) for name in names)
        )
        for meter in meters
    )


class Used(NamedTuple):
    """Usage that was charged, as meters count it."""

    model: str
    usage: Quantities
    inference: bool
    """Whether it is one of its own, and not a part of one."""
    occurred_at: int


def counted(meters: Meters, used: Used, now: int, time_zone: str) -> Meters:
    """Count usage that is charged now."""
    return tuple(_counted(meter, used, now, time_zone) for meter in meters)


def _counted(meter: Meter, used: Used, now: int, time_zone: str) -> Meter:
    cap = meter.cap
    if not cap.concerns(used.model):
        return meter
    units = used.usage.get(cap.unit, 0)
    if cap.unit == "requests":
        units = requests_of(used.usage, used.inference)
    if not units:
        return meter
    if cap.calendar is not None:
        start = cap.window(used.occurred_at, time_zone)[0]
        kept = _added(meter.used, start, units)[-CALENDAR_WINDOWS:]
    else:
        start = used.occurred_at - used.occurred_at % cap.step()
        first = cap.first_step(now)
        kept = tuple(step for step in _added(meter.used, start, units) if step[0] >= first)
    return meter._replace(used=kept)


def _added(
    used: tuple[tuple[int, int], ...], start: int, units: int
) -> tuple[tuple[int, int], ...]:
    if used and used[-1][0] == start:  # the usual case
        return (*used[:-1], (start, used[-1][1] + units))
    sums = dict(used)
    sums[start] = sums.get(start, 0) + units
    return tuple(sorted(sums.items()))


def rezoned(meters: Meters, now: int, before: str, after: str) -> Meters:
    """Return meters after a change of time zone: the present window's count goes on in the new."""
    return tuple(
        meter
        if meter.cap.calendar is None
        else meter._replace(used=_carried(meter, now, before, after))
        for meter in meters
    )


def _carried(meter: Meter, now: int, before: str, after: str) -> tuple[tuple[int, int], ...]:
    units = used_at(meter, now, before)
    return ((meter.cap.window(now, after)[0], units),) if units else ()


def used_at(meter: Meter, now: int, time_zone: str) -> int:
    """Return what counts as used in the window of an instant."""
    if meter.cap.calendar is not None:
        start = meter.cap.window(now, time_zone)[0]
        return dict(meter.used).get(start, 0)
    first = meter.cap.first_step(now)
    return sum(units for start, units in meter.used if start >= first)


def resets_at(meter: Meter, now: int, time_zone: str) -> int:
    """Return when a calendar window ends, or the oldest step leaves a rolling one.

    With nothing used, a rolling window resets a whole length from now.
    """
    cap = meter.cap
    if cap.calendar is not None:
        return cap.window(now, time_zone)[1]
    assert cap.rolling_seconds is not None
    first = cap.first_step(now)
    oldest = min((start + cap.step() for start, _ in meter.used if start >= first), default=now)
    return oldest + cap.rolling_seconds * SECOND
