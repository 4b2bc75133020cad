"""Usage records: what each is charged, or which rule forbids it.

A record's key is (source, id). Where a rule says no, `domain.parking` keeps the record: it is
never priced at zero and never dropped (A4, A15).
"""

from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.balance import Balance
from domain.commands import ChargeUsage
from domain.customer import PLANS
from domain.events import ReservationSettled, UsageCharged
from domain.outcomes import Refusal
from domain.pricebook import PriceBook
from domain.reservation import Reservation
from domain.reserving import closed
from domain.settling import TOLERANCE, VOLUME_MAX, may_occur, paid, priced, settled


def charged(
    balance: Balance,
    reservation: Reservation | None,
    book: PriceBook,
    command: ChargeUsage,
    now: int,
    record: str | None = None,
    *,
    has_license: bool = True,
) -> tuple[ReservationSettled | UsageCharged] | Refusal:
    """Return the charge of a usage record, or the rule that forbids it.

    `record` marks the charge of a record that had been parked. `has_license` says whether the
    licence that it names, if it names one, is one of the customer's.
    """
    if balance.customer is None:
        name = command.customer
        return Refusal("unknown_customer", f"there is no customer {name}", {"customer": name})
    if not has_license:
        detail = f"{command.customer} has no licence {command.license}"
        return Refusal("unknown_license", detail, {"license": command.license})
    try:
        if command.reservation is None:
            return _direct(balance, book, command, now, record)
        return _on_reservation(balance, reservation, book, command, now, record)
    except Invalid as error:  # a period that is full: nothing to charge it in, yet not to be lost
        facts = {"model": command.model, "volume_max": VOLUME_MAX}
        return Refusal("volume_exceeded", error.message, facts)


def _on_reservation(
    balance: Balance,
    reservation: Reservation | None,
    book: PriceBook,
    command: ChargeUsage,
    now: int,
    record: str | None,
) -> tuple[ReservationSettled] | Refusal:
    name = command.reservation
    if reservation is None:
        detail = f"there is no reservation {name}"
        return Refusal("unknown_reservation", detail, {"reservation": name})
    if reservation.customer != command.customer:
        return _mismatch(reservation, "customer", "another customer")
    refusal = closed(reservation)
    if refusal is not None:
        return refusal
    if reservation.model != command.model:
        return _mismatch(reservation, "model", f"model {reservation.model}")
    if command.license not in (None, reservation.license):
        own = reservation.license
        return _mismatch(reservation, "license", f"licence {own}" if own else "no licence")
    refusal = _out_of_range(command.occurred_at, *may_occur(reservation, now))
    if refusal is not None:
        return refusal
    return settled(
        balance,
        reservation,
        book,
        command.usage,
        now,
        command.occurred_at,
        command.final is None,
        license=command.license,
        record=record,
        request_hash=command.request_hash,
        response_hash=command.response_hash,
        source=command.source,
    )


def _mismatch(reservation: Reservation, field: str, what: str) -> Refusal:
    return Refusal(
        "reservation_mismatch",
        f"reservation {reservation.id} is of {what}",
        {"field": field, "reservation": reservation.id},
    )


def _out_of_range(occurred_at: int, earliest: int | None, latest: int) -> Refusal | None:
    """Return the refusal for usage outside the time in which it may have occurred."""
    if (earliest is None or earliest <= occurred_at) and occurred_at <= latest:
        return None
    facts = {"latest": format_instant(latest), "occurred_at": format_instant(occurred_at)}
    rule = f"at the latest {facts['latest']}"
    if earliest is not None:
        facts["earliest"] = format_instant(max(0, earliest))
        rule = f"between {facts['earliest']} and {facts['latest']}"
    detail = f"occurred_at is {facts['occurred_at']}: must be {rule}"
    return Refusal("occurred_at_out_of_range", detail, facts)


def _direct(
    balance: Balance, book: PriceBook, command: ChargeUsage, now: int, record: str | None
) -> tuple[UsageCharged] | Refusal:
    """Charge a record that has no reservation, where the plan allows it."""
    customer = balance.customer
    assert customer is not None
    refusal = _out_of_range(command.occurred_at, None, now + TOLERANCE)
    if refusal is not None:
        return refusal
    if not PLANS[customer.plan]:
        return Refusal(
            "plan_forbids",
            f"plan {customer.plan} takes usage on reservations only",
            {"plan": customer.plan},
        )
    price = priced(balance, customer, book, command.model, command.usage, command.occurred_at)
    if isinstance(price, Refusal):
        return price
    who = paid(balance, command.model, now, price.amount, None, final=True)
    return (
        UsageCharged(
            charged=price.amount,
            credit=who.credit,
            customer=command.customer,
            from_balance=price.amount - who.receivable,
            grants=who.grants,
            license=command.license,
            model=command.model,
            occurred_at=command.occurred_at,
            period=price.period,
            price_book=book.id,
            price_version=price.version,
            receivable=who.receivable,
            record=record,
            request_hash=command.request_hash,
            response_hash=command.response_hash,
            source=command.source,
            usage=command.usage,
            volume=price.volume,
        ),
    )
