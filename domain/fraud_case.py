"""Fraud case: a customer who was flagged, until a reviewer has cleared or confirmed it (B6).

The case is part of the customer's account, so that whatever flags it, and whatever its verdict
does to the account, is one fact. A customer has one case at a time: later flags join it, and a new
one is opened only after the last was cleared.
"""

from typing import Any, NamedTuple

from tollbook.times import format_instant, parse_instant

from domain.event import Event
from domain.fraud_events import FraudCleared, FraudConfirmed, FraudFlagged
from domain.guard_events import AccountBlocked

FLAGGED = "flagged"
CLEARED = "cleared"
CONFIRMED = "confirmed"
STATUSES = (FLAGGED, CLEARED, CONFIRMED)


class FraudCase(NamedTuple):
    """A customer's newest case; instants in microseconds."""

    number: int
    """How many cases the customer has had."""
    status: str
    opened_at: int
    since: int
    """When it got its status."""


FLAGS = (AccountBlocked, FraudFlagged)
"""The facts that open a case, or join the one that stands."""

OF_CASE = (*FLAGS, FraudCleared, FraudConfirmed)


def case_id(customer: str, case: FraudCase) -> str:
    """Return the id of a customer's case."""
    return f"{customer}.{case.number}"


def named(case: str) -> tuple[str, int]:
    """Return the customer and the number that a case's id says."""
    customer, _, number = case.rpartition(".")
    return customer, int(number)


def flagged(case: FraudCase | None, at: int) -> FraudCase:
    """Return the case that a flag belongs to: the one that stands, or a new one."""
    if case is None:
        return FraudCase(1, FLAGGED, at, at)
    if case.status == CLEARED:
        return FraudCase(case.number + 1, FLAGGED, at, at)
    return case


def evolve(case: FraudCase | None, event: Event, at: int) -> FraudCase | None:
    """Take a fact of the customer into account; `at` is when it was recorded."""
    if isinstance(event, FLAGS):
        return flagged(case, at)
    if case is None:
        return None
    if isinstance(event, FraudCleared):
        return case._replace(status=CLEARED, since=at)
    if isinstance(event, FraudConfirmed):
        return case._replace(status=CONFIRMED, since=at)
    return case


def case_to_wire(case: FraudCase | None) -> dict[str, Any] | None:
    """Write a case as the state format has it."""
    if case is None:
        return None
    return {
        "number": case.number,
        "opened_at": format_instant(case.opened_at),
        "since": format_instant(case.since),
        "status": case.status,
    }


def case_from_wire(wire: dict[str, Any] | None) -> FraudCase | None:
    """Read what `case_to_wire` wrote."""
    if wire is None:
        return None
    opened_at, since = parse_instant(wire["opened_at"]), parse_instant(wire["since"])
    return FraudCase(wire["number"], wire["status"], opened_at, since)
