"""The rules of a hold: how large, how long, and whether there is money for it (A6, A8, A9)."""

from typing import Any

from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.allocation import draw
from domain.balance import Balance
from domain.capping import over_cap
from domain.commands import Extend, Release, Reserve
from domain.customer import Customer
from domain.events import ReservationExtended, ReservationHeld, ReservationReleased
from domain.fraud import stopped
from domain.holds import TTL_DEFAULT_SECONDS, TTL_MAX_SECONDS, Hold
from domain.licensing import Ask, Licensed, admitted, extended
from domain.outcomes import Decision, Refusal, money
from domain.periods import billing_period
from domain.pricebook import PriceBook
from domain.pricing import ModelPrices, capped, unpriced_unit, worst
from domain.reservation import Reservation, added, of_all, remaining
from domain.units import Quantities
from domain.values import SECOND

EXTENDED_MAX = 7 * TTL_MAX_SECONDS * SECOND
"""The longest a hold may live in all, however often it is extended (a safe limit)."""


def required(
    balance: Balance, book: PriceBook, model: str, estimate: Quantities, start: int, end: int
) -> int | Refusal:
    """Return the worst price of an estimate under every version in force in [start, end].

    When the billing period turns over before the end, the volume may start again from zero. Where
    nothing is in force at the start, prices may still be added, so no hold would be large enough.
    """
    customer = balance.customer
    assert customer is not None
    if book.versions and book.currency != customer.currency:
        return Refusal(
            "unknown_model",
            f"price book {book.id} is in {book.currency}, the customer in {customer.currency}",
            {"model": model, "price_book": book.id},
        )
    period = billing_period(start, customer.time_zone)
    volumes: tuple[int, ...] = (balance.volume(model, period),)
    if billing_period(end, customer.time_zone) != period:
        volumes = (*volumes, 0)
    return highest(book, model, estimate, start, end, volumes)


def highest(
    book: PriceBook,
    model: str,
    estimate: Quantities,
    start: int,
    end: int,
    volumes: tuple[int, ...] = (0,),
) -> int | Refusal:
    """Return the worst price of an estimate from any of these volumes on; 0 reaches every tier."""
    found = 0
    versions = book.in_force_between(start, end)
    if not versions or versions[0].effective_from > start:
        return no_price(model, book)
    for version in versions:
        prices = version.models.get(model)
        if prices is None:
            return no_price(model, book)
        refusal = no_rate(prices, model, estimate)
        if refusal is not None:
            return refusal
        bounded = capped(prices, estimate)
        found = max(found, *(worst(prices, bounded, volume) for volume in volumes), 0)
    return found


def no_price(model: str, book: PriceBook) -> Refusal:
    """Return the refusal for a model that no version in force prices."""
    return Refusal(
        "unknown_model",
        f"no price is in force for model {model} in price book {book.id}",
        {"model": model, "price_book": book.id},
    )


def no_rate(prices: ModelPrices, model: str, usage: Quantities) -> Refusal | None:
    """Return the refusal for a unit that is used but not priced, or None."""
    unit = unpriced_unit(prices, usage)
    if unit is None:
        return None
    return Refusal(
        "unknown_unit", f"model {model} has no price for {unit}", {"model": model, "unit": unit}
    )


def funded(
    balance: Balance, customer: Customer, model: str, now: int, amount: int
) -> tuple[tuple[tuple[str, int], ...], int] | Refusal:
    """Draw an amount from grants, then from the credit limit; refuse when it does not reach."""
    parts, uncovered = draw(balance.grants, model, now, amount, spare=balance.spare(now))
    if uncovered and uncovered > balance.credit_room():
        have = balance.reach(model, now)
        currency = customer.currency
        return Refusal(
            "insufficient_balance",
            f"{money(have, currency)['amount']} {currency} is available for model {model}, "
            f"{money(amount, currency)['amount']} is required",
            {"available": money(have, currency), "required": money(amount, currency)},
        )
    return parts, uncovered


def decide_reserve(
    balance: Balance,
    book: PriceBook,
    command: Reserve,
    now: int,
    licensed: Licensed | None = None,
) -> Decision:
    """Hold the worst price of the estimate until the hold expires, or say what is missing.

    `licensed` is the licence that the command names, if it names one: it is decided here too.
    """
    customer = balance.customer
    assert customer is not None
    blocked = stopped(balance)
    if blocked is not None:
        return blocked
    in_all = of_all(command.estimate, command.inferences)
    admission = None if licensed is None else _admission(licensed, command, in_all, now)
    if isinstance(admission, Refusal):
        return admission
    expires_at = now + (command.ttl_seconds or TTL_DEFAULT_SECONDS) * SECOND
    held = _worst_of_all(balance, book, command, now, expires_at)
    if isinstance(held, Refusal):
        return held
    capped_out = over_cap(balance, command.model, in_all, now, new=True)
    if capped_out is not None:
        return capped_out
    drawn = funded(balance, customer, command.model, now, held)
    if isinstance(drawn, Refusal):
        return drawn
    return (
        ReservationHeld(
            credit=drawn[1],
            customer=command.customer,
            decision=admission,
            estimate=command.estimate,
            expires_at=expires_at,
            facts=command.facts,
            grants=drawn[0],
            held=held,
            inferences=command.inferences,
            license=command.license,
            license_key=command.license_key,
            model=command.model,
            request_hash=command.request_hash,
            reservation=command.id,
            ttl_seconds=command.ttl_seconds,
        ),
    )


def _worst_of_all(
    balance: Balance, book: PriceBook, command: Reserve, now: int, end: int
) -> int | Refusal:
    """Return the worst price of every inference; output is bounded in each, not in their sum."""
    each = required(balance, book, command.model, command.estimate, now, end)
    return each if isinstance(each, Refusal) else each * (command.inferences or 1)


def _admission(
    licensed: Licensed, command: Reserve, in_all: Quantities, now: int
) -> dict[str, Any] | Refusal:
    ask = Ask(command.model, in_all, command.facts, command.license_key)
    return admitted(licensed, ask, now, channel="api")


def decide_extend(
    balance: Balance,
    reservation: Reservation,
    book: PriceBook,
    command: Extend,
    now: int,
    licensed: Licensed | None = None,
) -> Decision:
    """Add units or time to an open hold; it never shrinks and never ends earlier."""
    customer = balance.customer
    assert customer is not None
    hold = _extendable(balance, reservation, now)
    if isinstance(hold, Refusal):
        return hold
    more_units = command.estimate or {}
    admission = None if licensed is None else extended(licensed, reservation.model, more_units, now)
    if isinstance(admission, Refusal):
        return admission
    expires_at = _later_end(reservation, command.ttl_seconds, now)
    estimate = added(remaining(reservation.estimate, reservation.used), more_units)
    needed = required(balance, book, reservation.model, estimate, now, expires_at)
    if isinstance(needed, Refusal):
        return needed
    if command.estimate is not None:
        capped_out = over_cap(balance, reservation.model, command.estimate, now, new=False)
        if capped_out is not None:
            return capped_out
    more = max(0, needed - hold.amount)
    drawn = funded(balance, customer, reservation.model, now, more)
    if isinstance(drawn, Refusal):
        return drawn
    return (
        ReservationExtended(
            credit=drawn[1],
            customer=customer.id,
            decision=admission,
            estimate=command.estimate,
            expires_at=expires_at,
            grants=drawn[0],
            held=hold.amount + more,
            reservation=reservation.id,
            ttl_seconds=command.ttl_seconds,
        ),
    )


def _extendable(balance: Balance, reservation: Reservation, now: int) -> Hold | Refusal:
    """Return an open hold, or why there is none to extend.

    One for several inferences is made anew instead: what each of them may use was said before.
    """
    refusal = closed(reservation)
    if refusal is not None:
        return refusal
    if reservation.inferences is not None:
        raise Invalid.because("reservation", reservation.id, "one for a single inference")
    hold = balance.holds.get(reservation.id)
    if hold is None or now >= reservation.expires_at:
        return expired(reservation)
    return stopped(balance) or hold


def _later_end(reservation: Reservation, ttl_seconds: int | None, now: int) -> int:
    if ttl_seconds is None:
        return reservation.expires_at
    latest = reservation.opened_at + EXTENDED_MAX
    return max(reservation.expires_at, min(now + ttl_seconds * SECOND, latest))


def decide_release(balance: Balance, reservation: Reservation, command: Release) -> Decision:
    """Give the hold back; after its expiry nothing is left to give, and it closes all the same."""
    refusal = closed(reservation)
    if refusal is not None:
        return refusal
    hold = balance.holds.get(reservation.id)
    return (
        ReservationReleased(
            customer=reservation.customer,
            reason=command.reason,
            released=0 if hold is None else hold.amount,
            reservation=reservation.id,
        ),
    )


def closed(reservation: Reservation) -> Refusal | None:
    """Return the refusal that names the first outcome, when there is one (A11)."""
    if reservation.status == "open":
        return None
    code = f"already_{reservation.status}"
    outcome = reservation.outcome or {}
    return Refusal(
        code,
        f"reservation {reservation.id} was {reservation.status} by {outcome.get('id')}",
        {"reservation": reservation.id, "first_outcome": outcome},
    )


def expired(reservation: Reservation) -> Refusal:
    """Return the refusal for a hold that has run out."""
    when = format_instant(reservation.expires_at)
    return Refusal(
        "expired",
        f"the hold of reservation {reservation.id} expired at {when}",
        {"reservation": reservation.id, "expired_at": when},
    )
