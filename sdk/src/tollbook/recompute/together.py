"""Checks of inferences that one event tells together: each line as the charge that it is."""

from collections.abc import Iterator
from typing import Any

from tollbook.amounts import format_pico
from tollbook.recompute.account import Account
from tollbook.recompute.charging import reservation_settled
from tollbook.recompute.fact import Fact, Place
from tollbook.recompute.guarding import check_blocked
from tollbook.recompute.opening import check_nothing_is_due

NAME = "inferences_settled"

LINES_MIN, LINES_MAX = 2, 50
"""How many lines such an event has."""

NOTHING = format_pico(0)

_SHARED = (
    *("customer", "license", "model", "period", "price_book", "price_version"),
    *("reservation", "source"),
)
_OWN = (
    *("charged", "credit", "grants", "id", "licensed", "occurred_at", "receivable"),
    *("request_hash", "response_hash", "usage", "volume"),
)
_LEFT_OUT: dict[str, Any] = {"credit": NOTHING, "grants": [], "receivable": NOTHING}
"""What a line does not say when it is so."""


def inferences_settled(account: Account, fact: Fact) -> Place:
    """Charge the usage of each line, in order, as if each had been settled by itself."""
    name = fact.data["reservation"]
    reservation = account.reservations.get(name)
    version = 1 if reservation is None else reservation.version + 1
    for number, line in enumerate(_lines(fact)):
        if number:  # before the first one, it was looked at for the whole event
            check_nothing_is_due(account, line)
            check_blocked(account, line)
        reservation_settled(account, line)
    if reservation is not None:
        reservation.version = version
    return f"reservation-{name}", version


def first_of(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return what tells when an event occurred: its first line, or where it has none, itself."""
    return data["lines"][0] if name == NAME and data["lines"] else data


def _lines(fact: Fact) -> Iterator[Fact]:
    """Yield each line as the settlement that it is, once the form of all is looked at."""
    lines = fact.data["lines"]
    if not LINES_MIN <= len(lines) <= LINES_MAX:
        fact.differ("lines", f"{LINES_MIN} to {LINES_MAX} lines", len(lines))
    ids = [line["id"] for line in lines]
    if ids[:1] != [fact.command]:
        fact.differ("lines", f"first that of {fact.command}", ids[:1])
    if len(set(ids)) < len(ids) or not all(isinstance(each, str) for each in ids):
        fact.differ("lines", "a text of its own as id of each", ids)
    for field in sorted(fact.data.keys() - {*_SHARED, "lines"}):
        fact.differ(field, None, fact.data[field])
    shared = {name: fact.data[name] for name in _SHARED if name in fact.data}
    for number, line in enumerate(lines, 1):
        part = fact.part(f"{NAME}[{number}]", line["id"], {**_LEFT_OUT, **line, **shared})
        for field in sorted(line.keys() - set(_OWN)):
            part.differ(field, None, line[field])
        for field, value in _LEFT_OUT.items():
            if line.get(field) == value:
                part.differ(field, None, value)
        paid = part.as_found("charged") - part.as_found("receivable")
        part.data.update(
            {"final": False, "from_balance": format_pico(paid), "inference": True}
            | {"released": NOTHING}
        )
        yield part
