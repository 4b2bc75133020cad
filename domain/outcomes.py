"""How a decision can end other than with facts: a rule says no."""

from typing import Any, NamedTuple

from tollbook.amounts import format_pico

from domain.denials import DENIALS, LIFE_REFUSALS
from domain.event import Event


class Refusal(NamedTuple):
    """A rule's no: a stable code, a sentence for people, and the facts behind it."""

    code: str
    detail: str
    facts: dict[str, Any]


Decision = tuple[Event, ...] | Refusal
"""What `decide` returns: the facts to append, or why not."""

REFUSALS = {
    "insufficient_balance": "the money available for this model does not cover what is required",
    "already_exists": "another customer's resource has this id",
    "already_settled": "the reservation has had its final settlement",
    "already_released": "the reservation, or the parked usage record, was released",
    "expired": "the hold has run out",
    "unknown_model": "no price is in force for this model",
    "unknown_unit": "the model has no price for this unit",
    "plan_forbids": "the customer's plan does not allow this",
    "unknown_customer": "nobody has the id that a usage record names as its customer",
    "unknown_reservation": "there is no reservation by the id that a usage record names",
    "reservation_mismatch": "the reservation is of another customer or model than the record",
    "occurred_at_out_of_range": "the usage did not occur between reservation and receipt",
    "account_blocked": "the account is blocked after unusual use, until somebody unblocks it",
    "not_blocked": "the account is not blocked",
    "case_cleared": "the fraud case was cleared",
    "case_confirmed": "the fraud case is confirmed: the account stays blocked until it is cleared",
    "usage_capped": "what is used and held leaves no room for this under a usage cap",
    "already_yanked": "the version of the model was yanked before",
    "volume_exceeded": "a billing period counts at most 2^53 - 1 tokens of a model",
    "unknown_license": "the customer has no licence by the id that a usage record names",
    "told_before": "the record was told before, otherwise: that one is charged or released",
    **DENIALS,
    **LIFE_REFUSALS,
}
"""Every code under which a rule of this domain refuses, with its meaning."""


def money(amount: int, currency: str) -> dict[str, str]:
    """Write an amount as it travels outside events: amount and currency together."""
    return {"amount": format_pico(amount), "currency": currency}
