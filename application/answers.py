"""Answers: what a command's outcome looks like to whoever asked, derived from the stored event.

Because an answer is a function of the event alone, the same id gives the same answer for ever.
"""

from typing import Any, NamedTuple

from tollbook.errors import Conflict, Refused, TollbookError
from tollbook.times import format_instant

from application.license_answers import (
    FILLED_IN,
    MADE_AT_THE_EDGE,
    decision_result,
    denial_facts,
    license_result_of,
)
from application.pipeline_answers import pipeline_result_of
from domain.cap import caps_to_wire
from domain.command import Command
from domain.commands import ChargeUsage, ParkUsage, wire_body
from domain.event import Event, Recorded
from domain.events import (
    CommandRefused,
    CustomerChanged,
    CustomerCreated,
    GrantIssued,
    MinReaderRaised,
    PricesPublished,
    ReservationExtended,
    ReservationHeld,
    ReservationReleased,
    ReservationSettled,
    UsageCharged,
)
from domain.fraud_events import FraudCleared, FraudConfirmed, FraudFlagged
from domain.guard_events import AccountUnblocked, CapsSet
from domain.outcomes import money
from domain.parking import BY_HAND
from domain.registry_events import (
    ExportListPublished,
    ModelRegistered,
    ModelVersionReleased,
    ModelVersionYanked,
)
from domain.usage_events import UsageParked, UsageReleased


class Answer(NamedTuple):
    """The outcome of one command: an event that stands in the ledger, or an error that does not."""

    id: str
    recorded: Recorded | None
    currency: str = ""
    error: TollbookError | None = None
    repeated: bool = False
    """True when the ledger had decided this id before."""

    @property
    def done(self) -> bool:
        """Say whether the command was carried out."""
        return self.recorded is not None and not isinstance(self.recorded.event, CommandRefused)

    def decided_at(self) -> int | None:
        """Return when the ledger decided, or None when it has recorded nothing."""
        return None if self.recorded is None else self.recorded.recorded_at

    @property
    def code(self) -> str:
        """Return `done`, or the code of the refusal or error."""
        problem = self.problem()
        return "done" if problem is None else problem.code

    def problem(self) -> TollbookError | None:
        """Return the refusal or error as an exception, or None when the command was done."""
        if self.recorded is None:
            return self.error
        event = self.recorded.event
        if isinstance(event, CommandRefused):
            facts = denial_facts(event.code, event.facts)
            if "first_outcome" in facts:
                facts["first_outcome"] = outcome_of(facts["first_outcome"], self.currency)
            return Refused(event.detail, code=event.code, **facts)
        return None

    def result(self) -> dict[str, Any]:
        """Return the answer's fields, or raise the problem."""
        problem = self.problem()
        if problem is not None:
            raise problem
        assert self.recorded is not None
        return {
            "id": self.id,
            "position": self.recorded.position,
            **result_of(self.recorded.event, self.currency),
        }


def outcome_of(stored: dict[str, Any], currency: str) -> dict[str, Any]:
    """Return a reservation's outcome as it travels: its amount with the currency."""
    return {
        name: {"amount": value, "currency": currency} if name in ("charged", "released") else value
        for name, value in stored.items()
    }


def result_of(event: Event, currency: str) -> dict[str, Any]:
    """Return what a done command answers, as contract.md names it."""
    match event:
        case ReservationHeld() | ReservationExtended():
            licensed = {} if event.decision is None else decision_result(event.decision)
            return {
                "held": money(event.held, currency),
                "expires_at": format_instant(event.expires_at),
                **licensed,
            }
        case ReservationReleased():
            return {"released": money(event.released, currency)}
        case ReservationSettled():
            return {**_charge(event, currency), "released": money(event.released, currency)}
        case UsageCharged():
            return _charge(event, currency)
        case UsageParked():
            return {"parked": event.parked, "why": why(event)}
        case UsageReleased():
            return _release_of(event, currency)
        case GrantIssued():
            return {
                "amount": money(event.amount, currency),
                "overdraft_repaid": money(event.overdraft_repaid, currency),
            }
        case PricesPublished():
            return {
                "version": event.version,
                "effective_from": format_instant(event.effective_from),
            }
        case CapsSet():
            return {"customer": event.customer, "caps": caps_to_wire(event.caps)}
        case ModelRegistered():
            return {"model": event.model}
        case ModelVersionReleased() | ModelVersionYanked():
            return {"model": event.model, "version": event.version}
        case ExportListPublished():
            return {"version": event.version, "countries": list(event.countries)}
        case CustomerCreated() | CustomerChanged() | AccountUnblocked():
            return {"customer": event.customer}
        case FraudFlagged() | FraudCleared() | FraudConfirmed():
            return {"customer": event.customer, "case": event.case}
        case MinReaderRaised():
            return {"reader": event.reader}
    return license_result_of(event) or pipeline_result_of(event, currency)


def why(event: UsageParked) -> dict[str, Any]:
    """Return why a usage record was parked: code, detail, and the facts."""
    return {"code": event.code, "detail": event.detail, **event.facts}


def _release_of(event: UsageReleased, currency: str) -> dict[str, Any]:
    charge = {"parked": event.parked, **_charge(event, currency)}
    if event.released is None:
        return charge
    return {**charge, "released": money(event.released, currency)}


def _charge(
    event: ReservationSettled | UsageCharged | UsageReleased, currency: str
) -> dict[str, Any]:
    return {
        "charged": money(event.charged, currency),
        "from_balance": money(event.from_balance, currency),
        "receivable": money(event.receivable, currency),
        "price_book": event.price_book,
        "price_version": event.price_version,
        "grants": [{"id": name, "amount": money(part, currency)} for name, part in event.grants],
    }


def first_difference(command: Command, event: Event) -> str | None:
    """Return the first field in which a command differs from the one an event answered.

    Fields are compared in the order in which the command declares them; None means the same body.
    """
    if isinstance(command, ChargeUsage):
        return _usage_difference(command, event)
    if event.command_kind() != command.KIND:
        return "kind"
    if isinstance(event, CommandRefused):
        return _first_unequal(wire_body(command), event.body)
    if isinstance(event, PricesPublished):
        return _book_difference(command, event)
    return _field_difference(command, event)


def _field_difference(command: Command, event: Event) -> str | None:
    for field, value in command.fields():
        if field == "currency" and not hasattr(event, field):
            continue  # it was a check, and is no part of what happened
        if field == "final" and value is None and getattr(event, field, None) is True:
            continue  # what does not say that it is a part is whole
        if field in MADE_AT_THE_EDGE or (value is None and field in FILLED_IN):
            continue
        if getattr(event, field, None) != value:
            return field
    return None


def _usage_difference(command: ChargeUsage, event: Event) -> str | None:
    """Compare a usage record with what its key was first used for: a charge, or a parking."""
    by_hand = isinstance(command, ParkUsage)
    if not isinstance(event, UsageParked):
        return "kind" if by_hand else _field_difference(command, event)
    stored = {**event.body, "customer": event.customer, "source": event.source}
    if isinstance(command, ParkUsage):
        stored["reason"] = event.detail if event.code == BY_HAND else None
    return _first_unequal(wire_body(command), stored)


def _first_unequal(body: dict[str, Any], stored: dict[str, Any]) -> str | None:
    for field in [*body, *(name for name in stored if name not in body)]:
        if field not in MADE_AT_THE_EDGE and body.get(field) != stored.get(field):
            return field
    return None


def _book_difference(command: Command, event: PricesPublished) -> str | None:
    book = getattr(command, "book", None)
    if book is None:
        return "kind"
    if book.currency != event.currency:
        return "currency"
    return None if book.wire_models() == event.models else "models"


def id_reused(command: Command, field: str, recorded: Recorded) -> Conflict:
    """Return the error for an id that was used with another body."""
    if field == "name_sealed":
        field = "name"  # what was sent, before it was sealed
    return Conflict(
        f"id {command.id} was used before (position {recorded.position}) with another {field}",
        code="id_reused",
        field=field,
        position=recorded.position,
    )
