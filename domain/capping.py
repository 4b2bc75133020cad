"""Capping: caps are set, and gate what is admitted; work that happened is always charged (A18)."""

from typing import Any

from tollbook.times import format_instant

from domain.balance import Balance
from domain.cap import Cap, cap_to_wire
from domain.commands import SetCaps
from domain.guard_events import CapsSet
from domain.metering import Meter, asked, resets_at, used_at
from domain.outcomes import Refusal
from domain.units import MEASURED, Quantities, quantities_to_wire

SHOWN_MAX = 2**53 - 1
"""JSON carries no larger whole number: figures shown stop there."""


def decide_caps(command: SetCaps) -> tuple[CapsSet]:
    """Replace a customer's caps."""
    return (CapsSet(caps=command.caps, customer=command.customer),)


def over_cap(
    balance: Balance, model: str, estimate: Quantities, now: int, *, new: bool
) -> Refusal | None:
    """Return the refusal by the first cap that an estimate would exceed, or None.

    Everything that had expired must have been booked. `new` tells a reservation, which is a
    request by itself, from the extension of one.
    """
    for meter in balance.meters:
        cap = meter.cap
        if cap.concerns(model):
            requested = cap.asked(estimate) if new else estimate.get(cap.unit, 0)
            used = used_at(meter, now, _zone(balance))
            if used + meter.held + requested > cap.limit:
                return _refusal(meter, used, requested, resets_at(meter, now, _zone(balance)))
    return None


def _zone(balance: Balance) -> str:
    return balance.customer.time_zone if balance.customer else "UTC"


def _refusal(meter: Meter, used: int, requested: int, at: int) -> Refusal:
    cap, when = meter.cap, format_instant(at)
    figures = {"limit": cap.limit, "used": used, "held": meter.held, "requested": requested}
    shown = {name: _shown(cap, units) for name, units in figures.items()}
    return Refusal(
        "usage_capped",
        f"cap {cap.id} allows {shown['limit']} {cap.unit}: {shown['used']} used and "
        f"{shown['held']} held leave no room for {shown['requested']}; it resets at {when}",
        {"cap": cap.id, "unit": cap.unit, "resets_at": when, **shown},
    )


def _shown(cap: Cap, units: int) -> int | str:
    if cap.unit not in MEASURED:
        units = min(units, SHOWN_MAX)
    return quantities_to_wire({cap.unit: units})[cap.unit]


def view(balance: Balance, now: int) -> list[dict[str, Any]]:
    """Return the caps as people see them at an instant, with what counts against each."""
    expired = [hold for _, hold in balance.holds.items() if hold.expires_at <= now]
    zone = _zone(balance)
    return [
        {
            **cap_to_wire(meter.cap),
            "held": _shown(meter.cap, meter.held - sum(asked(meter.cap, each) for each in expired)),
            "resets_at": format_instant(resets_at(meter, now, zone)),
            "used": _shown(meter.cap, used_at(meter, now, zone)),
        }
        for meter in balance.meters
    ]
