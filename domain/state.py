"""The state format: how a balance is written for snapshots and for the state hash.

Format `tollbook/state/5` is documented in docs/formats/state.md. It holds stored facts only,
never anything that depends on when it is read.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from tollbook.amounts import format_pico, parse_pico
from tollbook.times import format_instant, parse_instant

from domain.allocation import NEVER, Grant
from domain.balance import Balance, earliest_expiry
from domain.customer import Customer
from domain.guard_state import guards_from_wire, guards_to_wire
from domain.holds import Hold, Holds
from domain.pricebook import PriceBook
from domain.pricing import ModelPrices
from domain.reservation import Reservation
from domain.units import Quantities
from domain.use_state import uses_from_wire, uses_to_wire

STATE_VERSION = 5
"""Raised when the format or the meaning of a stored state changes; old snapshots are dropped."""

# Of thousands of holds many have an amount in common, with one another and with their parts.
_money = lru_cache(maxsize=4096)(parse_pico)

_TOTALS = ("held", "credit_held", "overdraft", "granted", "breakage", "spent", "receivable")


def balance_to_wire(balance: Balance) -> dict[str, Any]:
    """Write a balance as JSON data; amounts, instants and tokens as strings, for any size."""
    customer = balance.customer
    return {
        "customer": None if customer is None else _customer_to_wire(customer),
        "grants": [_grant_to_wire(grant) for grant in balance.grants],
        "holds": {name: _hold_to_wire(hold) for name, hold in sorted(balance.holds.items())},
        "licenses": uses_to_wire(balance.uses),
        "own_version": balance.own_version,
        "sequence": balance.sequence,
        "volumes": {name: str(balance.volumes[name]) for name in sorted(balance.volumes)},
        **{name: format_pico(getattr(balance, name)) for name in _TOTALS},
        **guards_to_wire(balance),
    }


def _hold_to_wire(hold: Hold) -> dict[str, Any]:
    licensed: dict[str, Any] = {}
    if hold.license is not None:
        licensed = {"license": hold.license, "opened_at": format_instant(hold.opened_at)}
    return {
        "amount": format_pico(hold.amount),
        "credit": format_pico(hold.credit),
        "estimate": _quantities_to_wire(hold.estimate),
        "expires_at": format_instant(hold.expires_at),
        "model": hold.model,
        "parts": [[part, format_pico(amount)] for part, amount in hold.parts],
        **({} if hold.each is None else {"each": _quantities_to_wire(hold.each)}),
        **licensed,
    }


def _customer_to_wire(customer: Customer) -> dict[str, Any]:
    return {**customer._asdict(), "credit_limit": format_pico(customer.credit_limit)}


def _grant_to_wire(grant: Grant) -> dict[str, Any]:
    return {
        "expires_at": None if grant.expires_at == NEVER else format_instant(grant.expires_at),
        "free": format_pico(grant.free),
        "held": format_pico(grant.held),
        "id": grant.id,
        "kind": grant.kind,
        "models": None if grant.models is None else list(grant.models),
        "priority": grant.priority,
    }


def untouched_since(balance: Balance) -> dict[str, int]:
    """Return when each hold was opened that stands as it was opened, by reservation.

    No state tells it; a snapshot does beside one, for what the hold says of its reservation.
    """
    return {name: hold.opened_at for name, hold in balance.holds.items() if hold.untouched}


def balance_from_wire(
    wire: dict[str, Any], opened: Mapping[str, int] = MappingProxyType({})
) -> Balance:
    """Read what `balance_to_wire` wrote, with what `untouched_since` returned."""
    holds = Holds.of(
        {name: _hold_from_wire(hold, opened.get(name)) for name, hold in wire["holds"].items()}
    )
    terms = wire["customer"]
    customer = None
    if terms is not None:
        customer = Customer(**{**terms, "credit_limit": parse_pico(terms["credit_limit"])})
    totals: dict[str, Any] = {name: parse_pico(wire[name]) for name in _TOTALS}
    balance = Balance(
        customer=customer,
        grants=tuple(_grant_from_wire(grant) for grant in wire["grants"]),
        holds=holds,
        volumes={name: int(tokens) for name, tokens in wire["volumes"].items()},
        sequence=wire["sequence"],
        own_version=wire["own_version"],
        uses=uses_from_wire(wire["licenses"]),
        **totals,
        **guards_from_wire(wire, holds),
    )
    return balance._replace(next_expiry=earliest_expiry(balance))


def _hold_from_wire(wire: dict[str, Any], opened_at: int | None) -> Hold:
    since = opened_at
    if since is None:
        since = parse_instant(wire["opened_at"]) if "opened_at" in wire else 0
    return Hold(
        _money(wire["amount"]),
        parse_instant(wire["expires_at"]),
        tuple([(part, _money(amount)) for part, amount in wire["parts"]]),
        _money(wire["credit"]),
        wire["model"],
        _quantities_from_wire(wire["estimate"]),
        wire.get("license"),
        since,
        _quantities_from_wire(wire["each"]) if "each" in wire else None,
        opened_at is not None,
    )


def _grant_from_wire(wire: dict[str, Any]) -> Grant:
    return Grant(
        wire["id"],
        wire["kind"],
        wire["priority"],
        NEVER if wire["expires_at"] is None else parse_instant(wire["expires_at"]),
        None if wire["models"] is None else tuple(wire["models"]),
        parse_pico(wire["free"]),
        parse_pico(wire["held"]),
    )


def reservation_to_wire(reservation: Reservation) -> dict[str, Any]:
    """Write an open reservation as JSON data."""
    many = reservation.inferences
    return {
        **({} if many is None else {"inferences": many}),
        "charged": format_pico(reservation.charged),
        "customer": reservation.customer,
        "estimate": _quantities_to_wire(reservation.estimate),
        "expires_at": format_instant(reservation.expires_at),
        "license": reservation.license,
        "model": reservation.model,
        "opened_at": format_instant(reservation.opened_at),
        "used": _quantities_to_wire(reservation.used),
        "version": reservation.version,
    }


def _quantities_to_wire(quantities: Quantities) -> dict[str, str]:
    """Write sums of quantities in base units; they may be larger than any one quantity."""
    return {unit: str(quantities[unit]) for unit in sorted(quantities)}


def _quantities_from_wire(wire: dict[str, str]) -> Quantities:
    return {unit: int(units) for unit, units in wire.items()}


def book_to_wire(book: PriceBook) -> dict[str, Any]:
    """Write a price book: every version with its prices in 10^-12 per base unit."""
    return {
        "currency": book.currency,
        "versions": [
            [
                each.version,
                format_instant(each.effective_from),
                {name: _model_to_wire(each.models[name]) for name in sorted(each.models)},
            ]
            for each in book.versions
        ],
    }


def _model_to_wire(prices: ModelPrices) -> dict[str, Any]:
    return {
        "max_output_tokens": prices.max_output_tokens,
        "rates": {unit: str(rate) for unit, rate in sorted(prices.rates.items())},
        "tiers": [[tier.up_to, *map(str, tier[1:])] for tier in prices.tiers],
    }
