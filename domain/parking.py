"""ParkedUsage: a usage record kept uncharged, with the reason, until somebody releases it.

Its key (source, id) is taken by its parking for ever, so that the record is charged once, however
often it is sent again and however often it is released.
"""

import hashlib
import re
from typing import Any, NamedTuple

from tollbook.amounts import format_pico
from tollbook.errors import Invalid

from domain.balance import Balance
from domain.command import in_key_order
from domain.commands import ChargeUsage, ParkUsage, parse, wire_body
from domain.event import Event
from domain.events import ReservationSettled
from domain.outcomes import Decision, Refusal
from domain.pricebook import PriceBook
from domain.reservation import Reservation
from domain.usage import charged
from domain.usage_events import UsageParked, UsageReleased

BY_HAND = "parked_by_hand"
"""The code of a record that no rule stopped, but somebody who runs the ledger."""

_ASIDE = re.compile(r"(.*)~[0-9a-f]{16}", re.DOTALL)
"""The id of a record that was told under another's id: that one's, and a hash of what it says."""

_KEY = ("customer", "reason", "source")
"""Fields of a record that a parking names by themselves, beside the rest of its body."""


class ParkedUsage(NamedTuple):
    """A usage record that was parked, and what has become of it."""

    id: str
    customer: str
    """Whom the record names; there may be nobody by that id."""
    source: str
    record: str
    body: dict[str, Any]
    status: str
    """`parked` or `released`."""
    answered_at: int
    """The position of the event that answers for the record now."""
    outcome: dict[str, Any] | None
    """What released it, as later refusals name it."""
    version: int


def parked_id(source: str, record: str) -> str:
    """Return the id under which a record (source, id) is parked: 32 hex digits."""
    return hashlib.sha256(f"{source}\0{record}".encode()).hexdigest()[:32]


def parked_stream(source: str, record: str) -> str:
    """Return the stream that a record (source, id) has once it is parked."""
    return f"usage-{parked_id(source, record)}"


def evolve(
    parked: ParkedUsage | None, event: Event, position: int, command: str
) -> ParkedUsage | None:
    """Apply one event of a parked record's stream."""
    if isinstance(event, UsageParked):
        return ParkedUsage(
            event.parked,
            event.customer,
            event.source,
            event.record,
            event.body,
            "parked",
            position,
            None,
            1,
        )
    if parked is not None and isinstance(event, UsageReleased):
        outcome = {"kind": event.KIND, "id": command, "charged": format_pico(event.charged)}
        return parked._replace(
            status="released",
            answered_at=position,
            outcome=outcome,
            version=parked.version + 1,
        )
    return parked


def decide_usage(
    balance: Balance,
    reservation: Reservation | None,
    book: PriceBook,
    command: ChargeUsage,
    now: int,
    *,
    has_license: bool = True,
) -> tuple[Event, ...]:
    """Charge a usage record, or park it with the rule that forbids it.

    `reservation` is the one that the record names, if it names one and there is one.
    """
    _check_part(command)
    decision = charged(balance, reservation, book, command, now, has_license=has_license)
    return (_parking(command, decision),) if isinstance(decision, Refusal) else decision


def decide_park(command: ParkUsage) -> tuple[UsageParked]:
    """Keep a record uncharged, whatever the rules would say."""
    _check_part(command)
    return (_parking(command, Refusal(BY_HAND, command.reason, {})),)


def _check_part(command: ChargeUsage) -> None:
    """Refuse a part of no reservation: there is nothing that it would be a part of."""
    if command.final is False and command.reservation is None:
        raise Invalid.because("final", False, "absent without a reservation")


def _parking(command: ChargeUsage, why: Refusal) -> UsageParked:
    body = wire_body(command)
    return UsageParked(
        body={field: value for field, value in body.items() if field not in _KEY},
        code=why.code,
        customer=command.customer,
        detail=why.detail,
        facts=in_key_order(why.facts),
        parked=parked_id(command.source, command.id),
        record=command.id,
        source=command.source,
    )


def parked_record(parked: ParkedUsage) -> ChargeUsage:
    """Return the record as the command that it arrived as."""
    key = {"id": parked.record, "source": parked.source, "customer": parked.customer}
    command = parse(ChargeUsage.KIND, {**key, **parked.body})
    assert isinstance(command, ChargeUsage)
    return command


def decide_release_usage(
    balance: Balance,
    parked: ParkedUsage,
    reservation: Reservation | None,
    book: PriceBook,
    now: int,
    *,
    has_license: bool = True,
) -> Decision:
    """Charge a parked record after all, once; a record that no rule lets through stays parked."""
    if parked.status == "released":
        outcome = parked.outcome or {}
        return Refusal(
            "already_released",
            f"usage {parked.id} was released by {outcome.get('id')}",
            {"first_outcome": outcome, "parked": parked.id},
        )
    command = parked_record(parked)
    decision = charged(
        balance, reservation, book, command, now, command.id, has_license=has_license
    )
    if isinstance(decision, Refusal):
        return decision
    first = _ASIDE.fullmatch(command.id)
    if first is not None and not _charges_once(command, reservation):
        detail = f"{first[1]} was told otherwise before: charge or release that"
        return Refusal("told_before", detail, {"parked": parked.id, "record": command.id})
    charge = decision[0]
    release = UsageReleased(
        charged=charge.charged,
        customer=charge.customer,
        from_balance=charge.from_balance,
        grants=charge.grants,
        parked=parked.id,
        price_book=charge.price_book,
        price_version=charge.price_version,
        receivable=charge.receivable,
        record=parked.record,
        released=charge.released if isinstance(charge, ReservationSettled) else None,
        source=parked.source,
    )
    return (*decision, release)


def _charges_once(record: ChargeUsage, reservation: Reservation | None) -> bool:
    """Say whether its reservation sees to it that of two tellings one is charged."""
    return reservation is not None and reservation.inferences is None and record.final is None
