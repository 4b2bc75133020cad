"""The recomputed state in the documented form, so that it can be compared with the ledger's own.

docs/formats/state.md describes it.
"""

from typing import Any

from tollbook.amounts import format_pico
from tollbook.recompute.account import NEVER, Account, Grant, Hold, Reservation
from tollbook.recompute.guarding import guard_state
from tollbook.recompute.prices import TOKENS, Book, ModelPrices, Quantities
from tollbook.times import format_instant


def account_state(account: Account) -> dict[str, Any]:
    """Write what a customer has, holds and owes."""
    terms = None
    if account.terms is not None:
        limit = format_pico(account.credit_limit)
        terms = {"id": account.id, "credit_limit": limit, **account.terms}
    return {
        "breakage": format_pico(account.breakage),
        "credit_held": format_pico(account.credit_held),
        "customer": terms,
        "granted": format_pico(account.granted),
        "grants": [_grant_state(grant) for grant in account.grants],
        "held": format_pico(account.held),
        "holds": {
            name: _hold_state(hold, account.reservations.get(name))
            for name, hold in sorted(account.holds.items())
        },
        "licenses": {
            name: use
            for name, license in sorted(account.licenses.items())
            if (use := license.use_state()) is not None
        },
        "overdraft": format_pico(account.overdraft),
        "own_version": account.own_version,
        "receivable": format_pico(account.receivable),
        "sequence": account.sequence,
        "spent": format_pico(account.spent),
        "volumes": {name: str(tokens) for name, tokens in sorted(account.volumes.items())},
        **guard_state(account),
    }


def _grant_state(grant: Grant) -> dict[str, Any]:
    return {
        "expires_at": None if grant.expires_at == NEVER else format_instant(grant.expires_at),
        "free": format_pico(grant.free),
        "held": format_pico(grant.held),
        "id": grant.id,
        "kind": grant.kind,
        "models": grant.models,
        "priority": grant.priority,
    }


def _hold_state(hold: Hold, reservation: Reservation | None) -> dict[str, Any]:
    licensed, several = {}, {}
    if reservation is not None and reservation.each is not None:
        several = {"each": _quantities_state(reservation.each)}
    if reservation is not None and reservation.license is not None:
        opened_at = format_instant(reservation.opened_at)
        licensed = {"license": reservation.license, "opened_at": opened_at}
    return {
        "amount": format_pico(hold.amount),
        "credit": format_pico(hold.credit),
        "estimate": _quantities_state(reservation.left if reservation else {}),
        "expires_at": format_instant(hold.expires_at),
        "model": reservation.model if reservation else None,
        "parts": [[name, format_pico(part)] for name, part in hold.parts.items()],
        **licensed,
        **several,
    }


def reservation_state(customer: str, reservation: Reservation) -> dict[str, Any]:
    """Write a reservation that has no final outcome yet."""
    several = {} if reservation.inferences is None else {"inferences": reservation.inferences}
    return {
        **several,
        "charged": format_pico(reservation.charged),
        "customer": customer,
        "estimate": _quantities_state(reservation.estimate),
        "expires_at": format_instant(reservation.expires_at),
        "license": reservation.license,
        "model": reservation.model,
        "opened_at": format_instant(reservation.opened_at),
        "used": _quantities_state(reservation.used),
        "version": reservation.version,
    }


def _quantities_state(quantities: Quantities) -> dict[str, str]:
    return {unit: str(quantity) for unit, quantity in sorted(quantities.items())}


def book_state(book: Book) -> dict[str, Any]:
    """Write the versions of a price book with their prices, in 10^-12 per base unit."""
    return {
        "currency": book.currency,
        "versions": [
            [
                version.number,
                format_instant(version.effective_from),
                {name: _model_state(version.models[name]) for name in sorted(version.models)},
            ]
            for version in book.versions
        ],
    }


def _model_state(model: ModelPrices) -> dict[str, Any]:
    return {
        "max_output_tokens": model.output_cap,
        "rates": {unit: str(rate) for unit, rate in sorted(model.rates.items())},
        "tiers": [
            [upper, *[str(prices[unit]) for unit in TOKENS]] for _, upper, prices in model.tiers
        ],
    }
