"""The calls about inferences: quotes, holds and what becomes of them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tollbook.client.calls import Call, Request, body, command, get, named
from tollbook.client.ids import in_path
from tollbook.client.reading import MEASURED, TimeIn, read, time_text
from tollbook.client.results import Hold, Quote, Released, Reservation, Settlement

UsageIn = Mapping[str, int | str | Decimal]
"""Quantities by unit; `gpu_seconds` and `compute_units` may have up to six places."""


def quote(customer: str, model: str, usage: UsageIn) -> Call[Quote]:
    """Return the price of a request and whether it would be admitted; nothing changes."""
    fields = {"customer": customer, "model": model, "usage": usage_on_wire(usage)}
    request = Request("POST", "/v1/quotes", body(fields))
    return Call(request, lambda document: read(Quote, document))


def reserve(
    customer: str,
    model: str,
    estimate: UsageIn,
    *,
    id: str | None = None,
    inferences: int | None = None,
    ttl_seconds: int | None = None,
    license: str | None = None,
    license_key: str | None = None,
    facts: Mapping[str, Any] | None = None,
    request_hash: str | None = None,
    nonce: str | None = None,
) -> Call[Hold]:
    """Hold the money for one inference; the id is the reservation's, and the command's as well.

    With `inferences` it is held for so many, with the estimate for each: every settlement with
    `final=False` is one of them, and the last one or a release gives the rest back.
    Under a licence, named or known by its key, both are decided in one step; what it says of
    features, priority, pool and limits is in the answer's `raw`, and so is `signed` for a nonce.
    """
    fields = {
        "customer": customer,
        "model": model,
        "estimate": usage_on_wire(estimate),
        "inferences": inferences,
        "ttl_seconds": ttl_seconds,
        "license": license,
        "license_key": license_key,
        "facts": None if facts is None else dict(facts),
        "request_hash": request_hash,
        "nonce": nonce,
    }
    return command(Hold, named("reserve", id, "rsv"), "/v1/reservations", fields)


def reservation(id: str) -> Call[Reservation]:
    """Return a reservation as it stands."""
    return get(Reservation, f"/v1/reservations/{in_path('reservation', id)}")


def extend(
    reservation: str,
    *,
    estimate: UsageIn | None = None,
    ttl_seconds: int | None = None,
    id: str | None = None,
) -> Call[Hold]:
    """Add units or time to a hold while the inference runs."""
    units = None if estimate is None else usage_on_wire(estimate)
    fields = {"estimate": units, "ttl_seconds": ttl_seconds}
    return command(Hold, named("extend", id, "ext"), _path(reservation, "extend"), fields)


def settle(
    reservation: str,
    usage: UsageIn,
    *,
    final: bool | None = None,
    occurred_at: TimeIn | None = None,
    request_hash: str | None = None,
    response_hash: str | None = None,
    id: str | None = None,
) -> Call[Settlement]:
    """Charge what was really used; the final settlement gives the rest of the hold back."""
    fields = {
        "usage": usage_on_wire(usage),
        "final": final,
        "occurred_at": None if occurred_at is None else time_text(occurred_at, "occurred_at"),
        "request_hash": request_hash,
        "response_hash": response_hash,
    }
    return command(Settlement, named("settle", id, "stl"), _path(reservation, "settle"), fields)


def release(
    reservation: str, *, reason: str | None = None, id: str | None = None
) -> Call[Released]:
    """Give a hold back without usage."""
    name = named("release", id, "rel")
    return command(Released, name, _path(reservation, "release"), {"reason": reason})


def usage_on_wire(usage: UsageIn) -> dict[str, Any]:
    """Write quantities as they travel: whole numbers, or decimal strings for measured units."""
    return {unit: _quantity(unit, value) for unit, value in usage.items()}


def _quantity(unit: str, value: object) -> object:
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    # Anything else that is wrong is named by the server; a float is refused with the body.
    return str(value) if type(value) is int and unit in MEASURED else value


def _path(reservation: str, step: str) -> str:
    return f"/v1/reservations/{in_path('reservation', reservation)}/{step}"
