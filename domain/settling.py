"""The rules of a charge: its price, who pays it, and what of the hold goes back (A9, A10).

Above the hold, or after its expiry, what is available is taken and the rest is a receivable:
work is never free, and never vanishes.
"""

from typing import NamedTuple

from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.allocation import Parts, draw
from domain.balance import Balance
from domain.commands import Settle
from domain.customer import Customer
from domain.events import ReservationSettled
from domain.holds import Hold
from domain.outcomes import Decision, Refusal
from domain.periods import billing_period
from domain.pricebook import PriceBook
from domain.pricing import charge, token_volume
from domain.reservation import Reservation
from domain.reserving import closed, no_price, no_rate
from domain.units import Quantities
from domain.values import SECOND

TOLERANCE = 5 * SECOND
"""How far `occurred_at` may lie outside the reservation and the receipt (clock skew)."""

VOLUME_MAX = 2**53 - 1
"""The most tokens of one model in one billing period: JSON carries no larger whole number."""


class Priced(NamedTuple):
    """The price of one usage record, with the inputs it was computed from."""

    amount: int
    period: str
    version: int
    volume: int


class Paid(NamedTuple):
    """Who pays a charge; amounts in 10^-12."""

    grants: Parts
    credit: int
    receivable: int


def priced(
    balance: Balance,
    customer: Customer,
    book: PriceBook,
    model: str,
    usage: Quantities,
    occurred_at: int,
) -> Priced | Refusal:
    """Price usage by the version in force when it occurred, at the volume reached so far."""
    version = book.in_force(occurred_at)
    prices = version.models.get(model) if version is not None else None
    if version is None or prices is None or book.currency != customer.currency:
        return no_price(model, book)
    refusal = no_rate(prices, model, usage)
    if refusal is not None:
        return refusal
    period = billing_period(occurred_at, customer.time_zone)
    volume = balance.volume(model, period)
    if volume + token_volume(usage) > VOLUME_MAX:
        raise Invalid.because("usage", usage, f"at most {VOLUME_MAX} tokens in a period in all")
    return Priced(charge(prices, usage, volume), period, version.version, volume)


def paid(
    balance: Balance, model: str, now: int, amount: int, hold: Hold | None, final: bool
) -> Paid:
    """Say who pays an amount, in burn order.

    A final settlement gives its hold back first and then draws from everything available; a part
    uses up its own hold before it draws on anything else. Credit comes last. What the hold has
    stays good for it, also when its grant has expired or the credit limit was lowered since.
    """
    if hold is not None and not final:
        grants, uncovered = _own_first(balance, model, now, amount, hold)
    else:
        own = dict(hold.parts) if hold else None
        grants, uncovered = draw(balance.grants, model, now, amount, own, balance.spare(now))
    own_credit = hold.credit if hold else 0
    credit = min(uncovered, balance.credit_room() + own_credit)
    return Paid(grants, credit, uncovered - credit)


def _own_first(
    balance: Balance, model: str, now: int, amount: int, hold: Hold
) -> tuple[Parts, int]:
    """Draw on a hold's own parts, then on its credit share, then on what is free."""
    own: dict[str, int] = {}
    for name, part in hold.parts:
        taken = min(part, amount)
        if taken:
            own[name] = taken
            amount -= taken
    beyond = max(0, amount - hold.credit)
    rest, uncovered = draw(balance.grants, model, now, beyond, spare=balance.spare(now))
    drawn = {name: own.get(name, 0) for name in own}
    for name, part in rest:
        drawn[name] = drawn.get(name, 0) + part
    ordered = tuple((grant.id, drawn[grant.id]) for grant in balance.grants if grant.id in drawn)
    return ordered, uncovered + (amount - beyond)


def decide_settle(
    balance: Balance, reservation: Reservation, book: PriceBook, command: Settle, now: int
) -> Decision:
    """Charge usage against a reservation, in part or finally."""
    refusal = closed(reservation)
    if refusal is not None:
        return refusal
    occurred_at = now if command.occurred_at is None else command.occurred_at
    earliest, latest = may_occur(reservation, now)
    if not earliest <= occurred_at <= latest:
        raise Invalid.because(
            "occurred_at",
            format_instant(occurred_at),
            f"between the reservation ({format_instant(reservation.opened_at)}) and its receipt "
            f"({format_instant(now)}), within 5 s",
        )
    return settled(
        balance,
        reservation,
        book,
        command.usage,
        now,
        command.occurred_at,
        command.final,
        request_hash=command.request_hash,
        response_hash=command.response_hash,
    )


def may_occur(reservation: Reservation, now: int) -> tuple[int, int]:
    """Return the first and the last instant at which usage of a reservation may have occurred."""
    return reservation.opened_at - TOLERANCE, now + TOLERANCE


def settled(
    balance: Balance,
    reservation: Reservation,
    book: PriceBook,
    usage: Quantities,
    now: int,
    occurred_at: int | None,
    final: bool = True,
    **record: str | None,
) -> tuple[ReservationSettled] | Refusal:
    """Return the charge of usage on an open reservation, or why it has no price.

    `record` is what the command adds to the fact: hashes, and the marks of a usage record.
    """
    customer = balance.customer
    assert customer is not None
    instant = now if occurred_at is None else occurred_at
    price = priced(balance, customer, book, reservation.model, usage, instant)
    if isinstance(price, Refusal):
        return price
    hold = balance.holds.get(reservation.id)
    who = paid(balance, reservation.model, now, price.amount, hold, final)
    return (
        ReservationSettled(
            charged=price.amount,
            credit=who.credit,
            customer=reservation.customer,
            final=final,
            from_balance=price.amount - who.receivable,
            grants=who.grants,
            inference=True if reservation.inferences is not None and not final else None,
            licensed=reservation.license if hold is None else None,
            model=reservation.model,
            occurred_at=occurred_at,
            period=price.period,
            price_book=book.id,
            price_version=price.version,
            receivable=who.receivable,
            released=max(0, hold.amount - price.amount) if hold and final else 0,
            reservation=reservation.id,
            usage=usage,
            volume=price.volume,
            **record,
        ),
    )
