"""Customer: the terms under which someone's money is kept; decides creation and change."""

from typing import NamedTuple

from tollbook.amounts import format_pico
from tollbook.errors import Invalid

from domain.commands import ChangeCustomer, CreateCustomer
from domain.events import CustomerChanged, CustomerCreated
from domain.periods import is_time_zone
from domain.values import AMOUNT_MAX

PLANS = {"standard": True, "reserved_only": False}
"""Known plans, and whether each allows direct usage (without a reservation).

Both settle above the hold, or after its expiry, by taking what is available and booking the
rest as a receivable.
"""


class Customer(NamedTuple):
    """The terms in force for one customer."""

    id: str
    currency: str
    credit_limit: int
    time_zone: str
    price_book: str
    plan: str
    name_sealed: str


def decide_create(command: CreateCustomer) -> tuple[CustomerCreated]:
    """Bring a customer into being."""
    _check_terms(command)
    return (
        CustomerCreated(
            credit_limit=command.credit_limit,
            currency=command.currency,
            customer=command.id,
            name_sealed=command.name_sealed,
            plan=command.plan,
            price_book=command.price_book,
            time_zone=command.time_zone,
        ),
    )


def decide_change(command: ChangeCustomer) -> tuple[CustomerChanged]:
    """Change terms; a lower credit limit than is used already only stops new holds."""
    _check_terms(command)
    return (
        CustomerChanged(
            credit_limit=command.credit_limit,
            customer=command.customer,
            name_sealed=command.name_sealed,
            plan=command.plan,
            price_book=command.price_book,
            time_zone=command.time_zone,
        ),
    )


def _check_terms(command: CreateCustomer | ChangeCustomer) -> None:
    if command.plan is not None and command.plan not in PLANS:
        raise Invalid.because("plan", command.plan, f"one of {', '.join(PLANS)}")
    if command.time_zone is not None and not is_time_zone(command.time_zone):
        raise Invalid.because("time_zone", command.time_zone, "an IANA time zone")
    limit = command.credit_limit
    if limit is not None and not 0 <= limit <= AMOUNT_MAX:
        raise Invalid.because("credit_limit", format_pico(limit), "from 0 to 10^15 units")


def created(event: CustomerCreated) -> Customer:
    """Return the terms that a creation sets."""
    return Customer(
        event.customer,
        event.currency,
        event.credit_limit,
        event.time_zone,
        event.price_book,
        event.plan,
        event.name_sealed,
    )


def changed(customer: Customer, event: CustomerChanged) -> Customer:
    """Return the terms after a change."""
    given = {
        name: value
        for name in ("credit_limit", "name_sealed", "plan", "price_book", "time_zone")
        if (value := getattr(event, name)) is not None
    }
    return customer._replace(**given)
