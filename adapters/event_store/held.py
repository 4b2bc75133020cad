"""Reading holds: `reservation_held` in its usual form, known by its text.

Settling reads the reservation of each inference, and a cold process every hold of a customer. What
has another form is read as every other payload is, and so are holds with facts.
"""

import json
import re
from functools import lru_cache
from sys import intern
from typing import Any

from tollbook.errors import Invalid
from tollbook.times import parse_instant

from domain.events import ReservationHeld
from domain.reservation import Reservation, opened
from domain.units import Quantities, quantities_from_wire
from domain.values import ID_PATTERN, NAME_PATTERN

_ID, _NAME = ID_PATTERN[1:-1], NAME_PATTERN[1:-1]
_MONEY = r"(?:0|[1-9][0-9]{0,24})\.[0-9]{12}"
_PART = rf'\["{_ID}","{_MONEY}"\]'
_COUNT = r"[1-9][0-9]{0,14}"
_LEFT = r'\["[A-Za-z0-9._:-]+",(?:0|[1-9][0-9]{0,15}|"[0-9.]+"),"[0-9TZ:.-]+"\]'
_DECISION = (
    r'\{(?:"grace":true,)?"policy":"[A-Za-z0-9._:/@+-]+"'
    rf'(?:,"remaining":\[{_LEFT}(?:,{_LEFT})*\])?\}}'
)
"""No reservation keeps it, so it is not read here; but what is no decision is seen."""
_HELD = re.compile(
    rf'\{{"credit":"({_MONEY})","customer":"({_ID})",(?:"decision":({_DECISION}),)?'
    rf'"estimate":(\{{[^][{{}}\\]*\}}),'
    r'"expires_at":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z)",'
    rf'"grants":\[((?:{_PART}(?:,{_PART})*)?)\],"held":"({_MONEY})",'
    rf'(?:"inferences":({_COUNT}),)?(?:"license":"({_ID})",)?'
    rf'(?:"license_key":"([0-9a-f]{{32}})",)?"model":"({_NAME})",'
    rf'(?:"request_hash":"([0-9a-f]{{64}})",)?"reservation":"({_ID})"'
    rf'(?:,"ttl_seconds":({_COUNT}))?\}}'
)
_OF_RESERVATION = 2, 4, 5, 8, 9, 11, 13
"""The groups that a reservation keeps."""

_GRANT = re.compile(rf'\["({_ID})","({_MONEY})"\]')


def held(data: str) -> ReservationHeld | None:
    """Read all of a payload in the usual form; None where it must be read as any other."""
    found = _HELD.fullmatch(data)
    if found is None:
        return None
    groups: tuple[Any, ...] = found.groups()
    credit, customer, decision, estimate, expires_at, grants, amount = groups[:7]
    inferences, license, license_key, model, request_hash, reservation, ttl_seconds = groups[7:]
    try:
        return ReservationHeld(
            credit=_money(credit),
            customer=intern(customer),
            decision=None if decision is None else json.loads(decision),
            estimate=_quantities(estimate).copy(),
            expires_at=parse_instant(expires_at),
            grants=_grants(grants),
            held=_money(amount),
            inferences=None if inferences is None else int(inferences),
            license=license,
            license_key=license_key,
            model=intern(model),
            request_hash=request_hash,
            reservation=reservation,
            ttl_seconds=None if ttl_seconds is None else int(ttl_seconds),
        )
    except (Invalid, ValueError):  # a day that there is not, say: told as of any other payload
        return None


def reservation_held(data: str, at: int) -> Reservation | None:
    """Read a payload in the usual form as the reservation that it opens; None in another form."""
    found = _HELD.fullmatch(data)
    if found is None:
        return None
    customer, estimate, expires_at, inferences, license, model, name = found.group(*_OF_RESERVATION)
    try:
        return opened(
            name,
            intern(customer),
            intern(model),
            _quantities(estimate).copy(),
            at,
            parse_instant(expires_at),
            license,
            None if inferences is None else int(inferences),
        )
    except (Invalid, ValueError):
        return None


# Neighbours have their estimate and their amounts in common more often than not.
@lru_cache(maxsize=4096)
def _money(text: str) -> int:
    return int(text[:-13] + text[-12:])


@lru_cache(maxsize=4096)
def _quantities(text: str) -> Quantities:
    return quantities_from_wire(json.loads(text))


@lru_cache(maxsize=4096)
def _grants(text: str) -> tuple[tuple[str, int], ...]:
    return tuple((name, _money(amount)) for name, amount in _GRANT.findall(text))
