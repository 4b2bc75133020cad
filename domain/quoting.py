"""Quote: what usage would cost now, and whether it would be admitted; nothing changes (A5)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from domain.balance import Balance, due
from domain.command import CONFIG, read
from domain.commands import Reserve, parse
from domain.events import ReservationHeld
from domain.folding import evolve
from domain.outcomes import Refusal, money
from domain.pricebook import PriceBook
from domain.reserving import decide_reserve
from domain.settling import priced
from domain.units import Usage, quantities_to_wire
from domain.values import Id, Name


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class QuoteRequest:
    """What is asked: the price of usage of a model by a customer."""

    customer: Id
    model: Name
    usage: Usage


_REQUEST = TypeAdapter(QuoteRequest)


class Quote(NamedTuple):
    """An answer that binds nobody; amounts in 10^-12."""

    price: int | None
    """The exact price at the volume reached so far; None where there is none."""
    price_version: int | None
    price_book: str
    required: int | None
    """What a reservation would hold: the worst price until it expires."""
    available: int
    """Money that can pay for this model now."""
    why: Refusal | None
    """Why a reservation would be refused, if it would be."""


def quote_request(body: Mapping[str, Any]) -> QuoteRequest:
    """Read the body of a question; raises Invalid naming field, value and rule."""
    request: QuoteRequest = read(_REQUEST, body)
    return request


def quote(balance: Balance, book: PriceBook, request: QuoteRequest, now: int) -> Quote:
    """Price usage and ask the rule of reservations, on a balance with everything due booked."""
    for event in due(balance, now):
        balance = evolve(balance, event, now)
    customer, model, usage = balance.customer, request.model, request.usage
    assert customer is not None
    price = priced(balance, customer, book, model, usage, now)
    wire = {"id": "quote", "customer": customer.id, "model": model}
    reserve = parse(Reserve.KIND, {**wire, "estimate": quantities_to_wire(usage)})
    assert isinstance(reserve, Reserve)
    decision = decide_reserve(balance, book, reserve, now)
    why = decision if isinstance(decision, Refusal) else None
    held: int | None = None
    if not isinstance(decision, Refusal):
        held = next(fact.held for fact in decision if isinstance(fact, ReservationHeld))
    return Quote(
        None if isinstance(price, Refusal) else price.amount,
        None if isinstance(price, Refusal) else price.version,
        book.id,
        held,
        balance.reach(model, now),
        why,
    )


def quote_to_wire(quoted: Quote, currency: str) -> dict[str, Any]:
    """Write a quote as it travels."""
    why = quoted.why
    required: Any = None if quoted.required is None else money(quoted.required, currency)
    if why is not None:
        required = why.facts.get("required")
    return {
        "price": None if quoted.price is None else money(quoted.price, currency),
        "price_version": quoted.price_version,
        "price_book": quoted.price_book,
        "would_admit": why is None,
        "why": None if why is None else {"code": why.code, "detail": why.detail, **why.facts},
        "required": required,
        "available": money(quoted.available, currency),
    }
