"""Slicing: how much is set aside at once for inferences to come, and until when it may serve (B5).

A slice is one reservation for several inferences of one question, handed out place by place
without the ledger. Whatever the ledger would have looked at for each of them has to be the same
for all: so a slice serves in the windows that it was counted in, and what is recorded of its
customer fences it, unless it is of the ordinary course of inferences.
"""

from collections.abc import Iterable

from tollbook.times import parse_instant

from domain.event import Event
from domain.events import (
    CommandRefused,
    HoldsExpired,
    ReservationExtended,
    ReservationHeld,
    ReservationReleased,
    ReservationSettled,
    UsageCharged,
)
from domain.inferences import InferencesSettled
from domain.license import License
from domain.license_events import LeaseRenewed, LicenseValidated, SeatLeased, SeatReturned
from domain.pipeline_events import PipelineReleased, PipelineReserved, PipelineSettled
from domain.policy import fits as concerns
from domain.units import QUANTITY_MAX, Quantities
from domain.usage_events import UsageParked, UsageReleased
from domain.values import SECOND

PLACES_MIN = 8
"""A slice has no fewer places, as far as there is money for them."""
TRAFFIC_SECONDS = 2
"""A slice is to last so long."""
BITS_KEPT = 4
"""An envelope is rounded up to so many binary digits: to an eighth more at most."""

_ORDINARY: tuple[type[Event], ...] = (
    CommandRefused,
    HoldsExpired,
    InferencesSettled,
    LeaseRenewed,
    LicenseValidated,
    PipelineReleased,
    PipelineReserved,
    PipelineSettled,
    ReservationExtended,
    ReservationHeld,
    ReservationReleased,
    ReservationSettled,
    SeatLeased,
    SeatReturned,
    UsageCharged,
    UsageParked,
    UsageReleased,
)
ORDINARY = tuple(sorted(each.NAME for each in _ORDINARY))
"""The names of events after which a slice serves on; one that is not known yet is none of them."""


def places(rate: int, most: int) -> int:
    """Return for how many inferences to set aside, at a rate of so many in a second."""
    return min(max(TRAFFIC_SECONDS * rate, PLACES_MIN), most)


def larger(one: Quantities, other: Quantities) -> Quantities:
    """Return the larger quantity of each unit."""
    return {unit: max(one.get(unit, 0), other.get(unit, 0)) for unit in sorted({*one, *other})}


def rounded(estimate: Quantities) -> Quantities:
    """Return an estimate with some room, so that one a little larger fits as well."""
    return {unit: min(_rounded(units), QUANTITY_MAX) for unit, units in estimate.items()}


def _rounded(units: int) -> int:
    step = 1 << max(0, units.bit_length() - BITS_KEPT)
    return -(-units // step) * step


def fits(estimate: Quantities, envelope: Quantities) -> bool:
    """Say whether an inference needs no more than a place of a slice holds.

    Of the same units, since a hold counts an output that is not named as the most there can be.
    """
    if estimate.keys() != envelope.keys():
        return False
    return all(units <= envelope[unit] for unit, units in estimate.items())


def is_served(license: License, model: str) -> bool:
    """Say whether slices are of use to a licence: not where a limit begins anew each second."""
    return not any(
        limit.per == "second" and concerns(limit.models, model) for limit in license.policy.limits
    )


def serves_until(held: ReservationHeld, license: License, opened_at: int) -> int:
    """Return until when a slice may serve, by what the licence said when it was set aside.

    Its limits begin anew, its key ends, it comes into its grace or to its end: what is admitted
    after that, the ledger decides.
    """
    ends = [license.ends_at(), *_key_ends(license, held.license_key), *_resets(held)]
    if opened_at < license.expires_at:
        ends.append(license.expires_at)
    return min(ends)


def _key_ends(license: License, key: str | None) -> Iterable[int]:
    return (each.ends_at for each in license.keys if each.hash == key)


def _resets(held: ReservationHeld) -> Iterable[int]:
    left = (held.decision or {}).get("remaining", ())
    return (parse_instant(resets_at) for _limit, _units, resets_at in left)


def drawn_until(serves: int, opened_at: int, expires_at: int, seconds: int, longest: int) -> int:
    """Return until when places are drawn: no inference of `longest` seconds outlives its hold."""
    return min(serves, opened_at + seconds * SECOND, expires_at - longest * SECOND)
