"""Use of licences: what counts against their limits, and who has their seats.

A use counts in the window of its admission. Decisions go forward in time, so of each limit only
the newest window is kept (docs/formats/licenses.md).
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from domain.buckets import Buckets
from domain.cap import calendar_window
from domain.holds import Hold
from domain.policy import Limit, fits
from domain.units import Quantities
from domain.values import INSTANT_MAX, SECOND

_LENGTHS = {"second": SECOND, "minute": 60 * SECOND}
_CALENDARS = {"day": "day", "period": "month"}


class Count(NamedTuple):
    """A limit, and the units that count in its newest window."""

    limit: Limit
    start: int = 0
    """Since when they are counted: from the window's start on, or from the change after it that
    brought the limit or the time zone. What was admitted before gives nothing back to it."""
    units: int = 0


class Lease(NamedTuple):
    """A seat that somebody has."""

    id: str
    model: str
    holder: str
    leased_at: int
    expires_at: int
    is_borrowed: bool
    version: int


class Use(NamedTuple):
    """What is used of one licence."""

    counts: tuple[Count, ...] = ()
    """In the order of the policy's limits."""
    leases: tuple[Lease, ...] = ()
    """In order of grant, then id; those that have expired may still stand here."""


Uses = Buckets[Use]
"""Licence id to its use; a licence without limits or seats in use has none."""


Room = tuple[Limit, int, int, int]
"""A limit, what is used of it before the request at hand, what that asks for, when it resets."""


def window(limit: Limit, instant: int, time_zone: str) -> tuple[int, int]:
    """Return the first instant of a limit's window, and that of the next one."""
    return _window(limit.per, instant, time_zone)


@lru_cache(maxsize=4096)
def _window(per: str, instant: int, time_zone: str) -> tuple[int, int]:
    # The commands of a batch are decided at one instant: the same is asked again and again.
    length = _LENGTHS.get(per)
    if length is not None:
        start = instant - instant % length
        return start, start + length
    calendar = _CALENDARS.get(per)
    if calendar is None:
        return 0, INSTANT_MAX
    start, end = calendar_window(calendar, instant, time_zone)
    return max(0, start), end


def asked(limit: Limit, estimate: Quantities, *, new: bool) -> int:
    """Return what an estimate asks of a limit; a new use is one request unless it says more."""
    unit = limit.unit
    return estimate.get(unit, 1 if new and unit == "requests" else 0)


def rooms(
    use: Use | None, model: str, estimate: Quantities, now: int, time_zone: str, *, new: bool
) -> list[Room]:
    """Return, in order, what each limit that concerns a model leaves now."""
    if use is None:
        return []
    found: list[Room] = []
    for limit, start, units in use.counts:
        if limit.models is None or fits(limit.models, model):
            begun, ends = _window(limit.per, now, time_zone)
            used = units if start >= begun else 0
            found.append((limit, used, asked(limit, estimate, new=new), ends))
    return found


def set_up(limits: Iterable[Limit], before: Use | None, since: int = 0) -> Use:
    """Return the use under these limits; one that stayed, its bound apart, keeps its count.

    A new one counts from `since` on.
    """
    if before is None:
        return _unused(tuple(limits), since)
    counts = {count.limit._replace(limit=0): count for count in before.counts}
    return Use(
        tuple(
            counts.get(limit._replace(limit=0), Count(limit, since))._replace(limit=limit)
            for limit in limits
        ),
        before.leases,
    )


@lru_cache(maxsize=256)
def _unused(limits: tuple[Limit, ...], since: int) -> Use:
    # Many licences have the same limits, and none is used when it is issued.
    return Use(tuple(Count(limit, since) for limit in limits))


def admit(
    use: Use, model: str, estimate: Quantities, now: int, time_zone: str, *, new: bool
) -> Use:
    """Count what was admitted now."""
    counts = []
    for count in use.counts:
        limit, after = count.limit, count
        if limit.models is None or fits(limit.models, model):
            after = _moved(count, asked(limit, estimate, new=new), now, now, time_zone)
        counts.append(after)
    return Use(tuple(counts), use.leases)


class Used(NamedTuple):
    """What a charge says was used."""

    usage: Quantities
    inference: bool
    """Whether it is one of its own, and not a part of one."""


def settle(
    use: Use, model: str, before: Hold | None, after: Hold | None, used: Used | None, now: int,
    time_zone: str,
) -> Use:  # fmt: skip
    """Count what was used, and give back what a hold no longer expects, in one step."""
    opened_at = before.opened_at if before is not None else now
    counts = []
    for count in use.counts:
        limit = count.limit
        net = 0
        if used is not None:
            net = asked(limit, used.usage, new=used.inference)
        if before is not None:
            net -= asked(limit, before.estimate, new=True)
        if after is not None:
            net += asked(limit, after.estimate, new=True)
        if net and (limit.models is None or fits(limit.models, model)):
            count = _moved(count, net, opened_at, now, time_zone)  # noqa: PLW2901
        counts.append(count)
    return Use(tuple(counts), use.leases)


def _moved(count: Count, net: int, opened_at: int, now: int, time_zone: str) -> Count:
    """Add to the present window; take from it only what it admitted itself."""
    if net == 0:
        return count
    limit, start, units = _present(count, now, time_zone)
    if net < 0 and opened_at < start:
        return count
    units += net
    return Count(limit, start, max(0, units))


def _present(count: Count, now: int, time_zone: str) -> Count:
    """Return since when the present window is counted, and its units."""
    begun = _window(count.limit.per, now, time_zone)[0]
    return count if count.start >= begun else Count(count.limit, begun)


def rezoned(use: Use, now: int, before: str, after: str) -> Use:
    """Return the use after a change of time zone: present counts go on in the new windows."""
    counts = []
    for count in use.counts:
        if count.limit.per not in _CALENDARS:
            counts.append(count)
            continue
        present = _present(count, now, before)
        start = max(present.start, window(count.limit, now, after)[0])
        counts.append(present._replace(start=start))
    return use._replace(counts=tuple(counts))


def live(use: Use | None, now: int) -> tuple[Lease, ...]:
    """Return the leases that count now."""
    if use is None:
        return ()
    return tuple(lease for lease in use.leases if lease.expires_at > now)


def lease_of(use: Use | None, name: str) -> Lease | None:
    """Return a lease by its id, expired or not, or None when it is not known any more."""
    return next((lease for lease in use.leases if lease.id == name), None) if use else None
