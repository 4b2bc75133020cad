"""Reservations over HTTP: one is read from the log itself, lists from the views."""

from typing import Any

from starlette.responses import Response
from tollbook.errors import NotFound
from tollbook.times import format_instant

from application.answers import outcome_of
from application.loading import load_reservation
from domain.reservation import Reservation
from domain.units import quantities_to_wire
from domain.values import is_id
from entrypoints.http.customers import Seen, wait
from entrypoints.http.readers import Reader
from entrypoints.http.routing import Call, reply
from projections import reservations


async def show(call: Call) -> Response:
    """Return a reservation as it stands now."""
    name, own = call.path["reservation"], call.who.customer
    return reply(await call.service.readers.read(_reservation, name, own))


def _reservation(reader: Reader, name: str, own: str | None) -> dict[str, Any]:
    store = reader.store
    found = load_reservation(store, name, store.head().position) if is_id(name) else None
    if found is None or (own is not None and found.customer != own):
        raise NotFound(f"there is no reservation {name}", field="reservation", value=name)
    return _document(found, Seen(reader, found.customer))


def _document(found: Reservation, seen: Seen) -> dict[str, Any]:
    is_over = found.status == "open" and found.expires_at <= seen.now
    hold = None if is_over else seen.balance.holds.get(found.id)
    return {
        "id": found.id,
        "customer": found.customer,
        "model": found.model,
        "status": "expired" if is_over else found.status,
        "estimate": quantities_to_wire(found.estimate),
        "used": quantities_to_wire(found.used),
        "opened_at": format_instant(found.opened_at),
        "expires_at": format_instant(found.expires_at),
        "held": seen.money(0 if hold is None else hold.amount),
        "charged": seen.money(found.charged),
        "outcome": found.outcome and outcome_of(found.outcome, seen.terms.currency),
        "position": seen.position,
        **({} if found.inferences is None else {"inferences": found.inferences}),
    }


async def listed(call: Call) -> Response:
    """Return reservations in order of their holds."""
    await wait(call)
    filters = {**call.query, "customer": call.customer_filter()}
    return reply(await call.service.readers.read(_page, filters))


def _page(reader: Reader, query: dict[str, Any]) -> dict[str, Any]:
    found = reservations.page(
        reader.run,
        now=reader.ledger.now(),
        customer=query["customer"],
        model=query.get("model"),
        status=query.get("status"),
        newest_first=query.get("order") == "desc",
        after=query.get("after"),
        limit=query.get("limit", 100),
    )
    for item in found.items:
        item["id"] = item.pop("reservation")
    return {"items": found.items, "next": found.next}
