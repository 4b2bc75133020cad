"""The decision about one request under a licence: may it, and does every limit leave room (C3, C5)?

The order of the checks is fixed and documented (docs/formats/licenses.md); the same decision stands
in a reservation, in a validation without money, and in a lease of a seat.
"""

from functools import lru_cache
from typing import Any, NamedTuple

from tollbook.amounts import format_micro
from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.admission import Around, Request, denial, standing
from domain.facts import Facts
from domain.license import License
from domain.license_commands import ValidateLicense
from domain.license_events import LicenseValidated
from domain.license_use import Room, Use, rooms
from domain.outcomes import Decision, Refusal
from domain.units import MEASURED, Quantities

SHOWN_MAX = 2**53 - 1
"""JSON carries no larger whole number: figures shown stop there."""

ONE_REQUEST: Quantities = {"requests": 1}


class Licensed(NamedTuple):
    """A licence, what is used of it, and what its checks look at besides."""

    license: License
    use: Use | None
    around: Around
    time_zone: str


class Ask(NamedTuple):
    """What is asked of a licence."""

    model: str
    units: Quantities
    facts: Facts | None
    key: str | None


def admitted(licensed: Licensed, ask: Ask, now: int, *, channel: str) -> dict[str, Any] | Refusal:
    """Return the decision as events keep it, or the first check that fails.

    `channel` is where the model runs when no fact says so.
    """
    license = licensed.license
    request = Request(ask.model, ask.facts or {}, ask.key, now, channel)
    refusal = denial(license, request, licensed.around)
    if refusal is not None:
        return refusal
    return _within_limits(licensed, ask.model, ask.units, now, new=True)


def extended(
    licensed: Licensed, model: str, more: Quantities, now: int
) -> dict[str, Any] | Refusal:
    """Return the decision about a running inference that wants more: its standing and limits."""
    refusal = standing(licensed.license, now)
    if refusal is not None:
        return refusal
    return _within_limits(licensed, model, more, now, new=False)


def _within_limits(
    licensed: Licensed, model: str, units: Quantities, now: int, *, new: bool
) -> dict[str, Any] | Refusal:
    license = licensed.license
    left: list[list[Any]] = []
    for room in rooms(licensed.use, model, units, now, licensed.time_zone, new=new):
        limit, used, requested, resets_at = room
        after = limit.limit - used - requested
        if after < 0:
            if new or requested:
                return _limit_reached(license, room)
            after = 0
        left.append([limit.id, _shown(limit.unit, after), _written(resets_at)])
    decision: dict[str, Any] = {"policy": license.policy_version()}
    if left:
        decision["remaining"] = left
    return {"grace": True, **decision} if now >= license.expires_at else decision


def _limit_reached(license: License, room: Room) -> Refusal:
    limit, used, requested, resets_at = room
    resets = "never resets" if limit.per == "total" else f"resets at {_written(resets_at)}"
    figures = {"allowed": limit.limit, "used": used, "requested": requested}
    shown = {name: _shown(limit.unit, units) for name, units in figures.items()}
    return Refusal(
        "license_limit_reached",
        f"limit {limit.id} of licence {license.id} allows {shown['allowed']} {limit.unit} per "
        f"{limit.per}: {shown['used']} used leave no room for {shown['requested']}; "
        f"it {resets}",
        {
            "license": license.id,
            "policy_version": license.policy_version(),
            "limit": limit.id,
            "unit": limit.unit,
            "per": limit.per,
            "resets_at": _written(resets_at),
            **shown,
        },
    )


def _shown(unit: str, units: int) -> int | str:
    return format_micro(units) if unit in MEASURED else min(units, SHOWN_MAX)


_written = lru_cache(maxsize=1024)(format_instant)
"""Writes the end of a window, which so many decisions have in common."""


def decide_validate(licensed: Licensed, command: ValidateLicense, now: int) -> Decision:
    """Admit a request without money, and count it."""
    units = ONE_REQUEST if command.usage is None else command.usage
    if not units.get("requests", 1):
        raise Invalid.because("usage.requests", 0, "at least 1: it is asked for a request")
    ask = Ask(command.model, units, command.facts, command.license_key)
    decision = admitted(licensed, ask, now, channel="api")
    if isinstance(decision, Refusal):
        return decision
    return (
        LicenseValidated(
            customer=licensed.license.customer,
            decision=decision,
            facts=command.facts,
            license=command.license,
            license_key=command.license_key,
            model=command.model,
            request_hash=command.request_hash,
            usage=command.usage,
            validation=command.id,
        ),
    )
