"""How events change what is counted of a customer: for the fraud rule, and for the caps."""

from typing import Any

from domain.activity import counted, requests_of
from domain.balance import Balance
from domain.events import CustomerChanged, ReservationSettled, UsageCharged
from domain.guard_events import CapsSet
from domain.metering import Used, rezoned, set_up
from domain.metering import counted as metered


def used(balance: Balance, event: ReservationSettled | UsageCharged, at: int) -> dict[str, Any]:
    """Count a charge for the fraud rule and for the caps."""
    occurred_at = at if event.occurred_at is None else event.occurred_at
    requests = requests_of(event.usage, event.is_inference)
    sequence = balance.sequence + 1
    changes: dict[str, Any] = {
        "activity": counted(balance.activity, occurred_at, requests, sequence)
    }
    if balance.meters:
        used = Used(event.model, event.usage, event.is_inference, occurred_at)
        changes["meters"] = metered(balance.meters, used, at, _zone(balance))
    return changes


def _zone(balance: Balance) -> str:
    return balance.customer.time_zone if balance.customer else "UTC"


def zone_changed(balance: Balance, event: CustomerChanged, at: int) -> dict[str, Any]:
    """Count what caps count by the days of the new zone from here on."""
    before, after = _zone(balance), event.time_zone
    if not balance.meters or after is None or after == before:
        return {}
    return {"meters": rezoned(balance.meters, at, before, after)}


def caps_set(balance: Balance, event: CapsSet, _at: int) -> dict[str, Any]:
    """Put caps in place of those before."""
    return {"meters": set_up(event.caps, balance.meters, balance.holds)}
