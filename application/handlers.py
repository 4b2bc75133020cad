"""Which aggregates a command concerns, and which rule decides it."""

from collections.abc import Callable
from typing import Any

from tollbook.errors import Invalid, NotFound

from application.draft import Draft
from application.fraud_handlers import FRAUD_RULES, ON_CASES, customer_of_case
from application.license_handlers import (
    LICENSE_RULES,
    ON_LICENSES,
    has_license,
    license_of,
    licensed,
)
from application.pipeline_handlers import ON_STAGES, PIPELINE_RULES, stages_of
from application.ports import Key
from application.world import READER
from domain import pricebook, registry, screening
from domain.balance import Balance, check_currency, decide_grant
from domain.capping import decide_caps
from domain.command import Command, in_key_order
from domain.commands import (
    ChangeCustomer,
    ChargeUsage,
    CreateCustomer,
    Extend,
    IssueGrant,
    ParkUsage,
    PublishPrices,
    RaiseMinReader,
    Release,
    ReleaseUsage,
    Reserve,
    SetCaps,
    Settle,
    Unblock,
    wire_body,
)
from domain.customer import decide_change, decide_create
from domain.events import CommandRefused, MinReaderRaised
from domain.facts import Facts
from domain.fraud import decide_unblock
from domain.fraud_commands import FlagCustomer
from domain.license_commands import IssueLicense, PublishPolicy
from domain.licensing import Licensed
from domain.outcomes import Decision, Refusal
from domain.parking import (
    ParkedUsage,
    decide_park,
    decide_release_usage,
    decide_usage,
    parked_record,
)
from domain.pipeline_commands import PublishPipeline, ReservePipeline
from domain.pricebook import PriceBook
from domain.registry_commands import (
    PublishExportList,
    RegisterModel,
    ReleaseModelVersion,
    YankModelVersion,
)
from domain.reservation import Reservation
from domain.reserving import decide_extend, decide_release, decide_reserve
from domain.settling import decide_settle

_NAMING_CUSTOMERS = (
    *(Reserve, IssueGrant, ChargeUsage, ChangeCustomer, Unblock, SetCaps, IssueLicense),
    *(FlagCustomer, ReservePipeline),
)
"""Commands that say which customer they concern."""


class TakenResourceError(Exception):
    """The resource that a command would create exists already: look its id up."""


def customer_of(draft: Draft, command: Any) -> str | None:
    """Return the customer a command concerns, or None when it concerns the ledger itself.

    Raises NotFound when it names a reservation, a licence, a case or stages that do not exist.
    """
    if isinstance(command, _NAMING_CUSTOMERS):
        return command.customer
    if isinstance(command, Settle | Extend | Release):
        return _reservation(draft, command.reservation).customer
    if isinstance(command, ON_LICENSES):
        return license_of(draft, command.license).customer
    if isinstance(command, ON_STAGES):
        return stages_of(draft, command).customer
    if isinstance(command, ReleaseUsage):
        return _parked(draft, command).customer
    if isinstance(command, CreateCustomer):
        return command.id
    if isinstance(command, ON_CASES):
        return customer_of_case(draft, command.case)
    return None


def _reservation(draft: Draft, name: str) -> Reservation:
    found = draft.reservation(name)
    if found is None:
        raise NotFound(f"there is no reservation {name}", field="reservation", value=name)
    return found


def _parked(draft: Draft, command: ReleaseUsage) -> ParkedUsage:
    name = command.parked
    found = draft.parked_usage(name)
    if found is None:
        raise NotFound(f"there is no parked usage {name}", field="parked", value=name)
    return found


def _book(draft: Draft, balance: Balance) -> PriceBook:
    if balance.customer is None:
        return PriceBook("")
    return draft.book(balance.customer.price_book)


def decide(draft: Draft, balance: Balance, command: Command, now: int) -> Decision:
    """Let the rule for this command decide, on a balance with everything due booked."""
    if balance.customer is None and not isinstance(command, _FOR_NOBODY):
        name = getattr(command, "customer", "")
        raise NotFound(f"there is no customer {name}", field="customer", value=name)
    return _RULES[type(command)](draft, balance, command, now)


def _reserve(draft: Draft, balance: Balance, command: Reserve, now: int) -> Decision:
    under = _licensed(draft, balance, command.license, command.model, command.facts)
    if draft.reservation_in_memory(command.id) is not None or command.id in draft.balances:
        raise TakenResourceError
    return decide_reserve(balance, _book(draft, balance), command, now, under)


def _licensed(
    draft: Draft, balance: Balance, name: str | None, model: str, facts: Facts | None = None
) -> Licensed | None:
    if name is None:
        return None
    assert balance.customer is not None
    return licensed(draft, balance, license_of(draft, name, balance.customer.id), model, facts)


def _settle(draft: Draft, balance: Balance, command: Settle, now: int) -> Decision:
    reservation = _reservation(draft, command.reservation)
    return decide_settle(balance, reservation, _book(draft, balance), command, now)


def _extend(draft: Draft, balance: Balance, command: Extend, now: int) -> Decision:
    reservation = _reservation(draft, command.reservation)
    under = _licensed(draft, balance, reservation.license, reservation.model)
    return decide_extend(balance, reservation, _book(draft, balance), command, now, under)


def _release(draft: Draft, balance: Balance, command: Release, _now: int) -> Decision:
    return decide_release(balance, _reservation(draft, command.reservation), command)


def _usage(draft: Draft, balance: Balance, command: ChargeUsage, now: int) -> Decision:
    reservation = _named(draft, command)
    known = has_license(draft, command.license, command.customer)
    book = _book(draft, balance)
    return decide_usage(balance, reservation, book, command, now, has_license=known)


def _named(draft: Draft, record: ChargeUsage) -> Reservation | None:
    return None if record.reservation is None else draft.reservation(record.reservation)


def _park(_draft: Draft, _balance: Balance, command: ParkUsage, _now: int) -> Decision:
    return decide_park(command)


def _release_usage(draft: Draft, balance: Balance, command: ReleaseUsage, now: int) -> Decision:
    parked = _parked(draft, command)
    record = parked_record(parked)
    known = has_license(draft, record.license, record.customer)
    reservation, book = _named(draft, record), _book(draft, balance)
    return decide_release_usage(balance, parked, reservation, book, now, has_license=known)


def _unblock(_draft: Draft, balance: Balance, command: Unblock, _now: int) -> Decision:
    return decide_unblock(balance, command)


def _set_caps(_draft: Draft, _balance: Balance, command: SetCaps, _now: int) -> Decision:
    return decide_caps(command)


def _grant(_draft: Draft, balance: Balance, command: IssueGrant, now: int) -> Decision:
    return decide_grant(balance, command, now)


def _create(_draft: Draft, balance: Balance, command: CreateCustomer, _now: int) -> Decision:
    if balance.customer is not None:
        raise TakenResourceError
    return decide_create(command)


def _change(_draft: Draft, balance: Balance, command: ChangeCustomer, _now: int) -> Decision:
    check_currency(balance, command.currency)
    return decide_change(command)


def _publish(draft: Draft, _balance: Balance, command: PublishPrices, now: int) -> Decision:
    return pricebook.decide_publish(draft.book(command.book.id), command, now)


def _register(draft: Draft, _balance: Balance, command: RegisterModel, _now: int) -> Decision:
    return registry.decide_register(draft.model(command.model), command)


def _model_version(
    draft: Draft, _balance: Balance, command: ReleaseModelVersion, now: int
) -> Decision:
    return registry.decide_release(draft.model(command.model), command, now)


def _yank(draft: Draft, _balance: Balance, command: YankModelVersion, _now: int) -> Decision:
    return registry.decide_yank(draft.model(command.model), command)


def _export_list(
    draft: Draft, _balance: Balance, command: PublishExportList, _now: int
) -> Decision:
    return screening.decide_publish(draft.export_list(), command)


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
    ParkUsage: _park,
    ReleaseUsage: _release_usage,
    Unblock: _unblock,
    SetCaps: _set_caps,
    RaiseMinReader: _raise_reader,
    RegisterModel: _register,
    ReleaseModelVersion: _model_version,
    YankModelVersion: _yank,
    PublishExportList: _export_list,
    **FRAUD_RULES,
    **LICENSE_RULES,
    **PIPELINE_RULES,
}

_FOR_NOBODY = (
    *(CreateCustomer, PublishPrices, RaiseMinReader),
    *(ChargeUsage, ParkUsage, ReleaseUsage),
    *(RegisterModel, ReleaseModelVersion, YankModelVersion, PublishExportList),
    *(PublishPolicy, PublishPipeline),
)
"""Commands that need no customer who exists; usage that names nobody is parked."""


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
