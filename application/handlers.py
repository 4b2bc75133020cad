"""Which aggregates a command concerns, and which rule decides it."""

from collections.abc import Callable
from typing import Any

from tollbook.errors import Invalid, NotFound

from application.ports import Key
from application.world import READER, Draft
from domain import pricebook
from domain.balance import Balance, decide_grant
from domain.commands import (
    ChangeCustomer,
    ChargeUsage,
    Command,
    CreateCustomer,
    Extend,
    IssueGrant,
    PublishPrices,
    RaiseMinReader,
    Release,
    Reserve,
    Settle,
    in_key_order,
    wire_body,
)
from domain.customer import decide_change, decide_create
from domain.events import CommandRefused, MinReaderRaised
from domain.outcomes import Decision, Refusal
from domain.pricebook import PriceBook
from domain.reservation import Reservation
from domain.reserving import decide_extend, decide_release, decide_reserve
from domain.settling import decide_settle, decide_usage


class TakenResourceError(Exception):
    """The resource that a command would create exists already: look its id up."""


def customer_of(draft: Draft, command: Any) -> str | None:
    """Return the customer a command concerns, or None when it concerns the ledger itself.

    Raises NotFound when it names a reservation that does not exist.
    """
    if isinstance(command, Reserve | IssueGrant | ChargeUsage | ChangeCustomer):
        return command.customer
    if isinstance(command, Settle | Extend | Release):
        return _reservation(draft, command.reservation).customer
    if isinstance(command, CreateCustomer):
        return command.id
    return None


def _reservation(draft: Draft, name: str) -> Reservation:
    found = draft.reservation(name)
    if found is None:
        raise NotFound(f"there is no reservation {name}", field="reservation", value=name)
    return found


def _book(draft: Draft, balance: Balance) -> PriceBook:
    assert balance.customer is not None
    return draft.book(balance.customer.price_book)


def decide(draft: Draft, balance: Balance, command: Command, now: int) -> Decision:
    """Let the rule for this command decide, on a balance with everything due booked."""
    if balance.customer is None and not isinstance(
        command, CreateCustomer | PublishPrices | RaiseMinReader
    ):
        name = getattr(command, "customer", "")
        raise NotFound(f"there is no customer {name}", field="customer", value=name)
    return _RULES[type(command)](draft, balance, command, now)


def _reserve(draft: Draft, balance: Balance, command: Reserve, now: int) -> Decision:
    if draft.reservation_in_memory(command.id) is not None or command.id in draft.balances:
        raise TakenResourceError
    return decide_reserve(balance, _book(draft, balance), command, now)


def _settle(draft: Draft, balance: Balance, command: Settle, now: int) -> Decision:
    reservation = _reservation(draft, command.reservation)
    return decide_settle(balance, reservation, _book(draft, balance), command, now)


def _extend(draft: Draft, balance: Balance, command: Extend, now: int) -> Decision:
    reservation = _reservation(draft, command.reservation)
    return decide_extend(balance, reservation, _book(draft, balance), command, now)


def _release(draft: Draft, balance: Balance, command: Release, _now: int) -> Decision:
    return decide_release(balance, _reservation(draft, command.reservation), command)


def _usage(draft: Draft, balance: Balance, command: ChargeUsage, now: int) -> Decision:
    return decide_usage(balance, _book(draft, balance), command, now)


def _grant(_draft: Draft, balance: Balance, command: IssueGrant, now: int) -> Decision:
    return decide_grant(balance, command, now)


def _create(_draft: Draft, balance: Balance, command: CreateCustomer, _now: int) -> Decision:
    if balance.customer is not None:
        raise TakenResourceError
    return decide_create(command)


def _change(_draft: Draft, _balance: Balance, command: ChangeCustomer, _now: int) -> Decision:
    return decide_change(command)


def _publish(draft: Draft, _balance: Balance, command: PublishPrices, now: int) -> Decision:
    return pricebook.decide_publish(draft.book(command.book.id), command, now)


def _raise_reader(_draft: Draft, _balance: Balance, command: RaiseMinReader, _now: int) -> Decision:
    if command.reader > READER:
        raise Invalid.because(
            "reader", command.reader, f"at most {READER}, which this program reads"
        )
    return (MinReaderRaised(reader=command.reader),)


_RULES: dict[type[Command], Callable[[Draft, Balance, Any, int], Decision]] = {
    CreateCustomer: _create,
    ChangeCustomer: _change,
    IssueGrant: _grant,
    PublishPrices: _publish,
    Reserve: _reserve,
    Extend: _extend,
    Settle: _settle,
    Release: _release,
    ChargeUsage: _usage,
    RaiseMinReader: _raise_reader,
}


def already_exists(command: Command) -> Refusal:
    """Return the refusal for a resource id that something else in the ledger has."""
    return Refusal(
        "already_exists",
        f"the id {command.id} belongs to another resource",
        {"field": "id", "value": command.id},
    )


def refused(command: Command, customer: str, key: Key, refusal: Refusal) -> CommandRefused:
    """Return the event that keeps a refusal for ever."""
    return CommandRefused(
        body=wire_body(command),
        code=refusal.code,
        customer=customer,
        detail=refusal.detail,
        facts=in_key_order(refusal.facts),
        kind=key[0],
        scope=key[1],
    )
