"""Inferences told together: one fact with a charge line for each, where each alone would repeat it.

Several inferences of one slice that are settled one after another, in one transaction, are stored
as one event. It says exactly what the single facts would say, and in their order, so that every
rule can look at them one by one (`facts_of`, `apart`); only storage and proofs see them as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, TypeVar

from pydantic import ConfigDict

from domain.event import STRICT, Event, Recorded, event
from domain.events import OF_RESERVATION, ReservationSettled
from domain.units import Usage
from domain.values import Digest, GrantAmounts, Id, Instant, KeyText, Money, Name

LINES_MAX = 50
"""One fact has no more lines: whoever proves a line has to show all of them."""

_SHARED = (
    *("customer", "license", "model", "period", "price_book", "price_version"),
    *("reservation", "source"),
)
"""What all lines of a fact have in common, beside that each is an inference of its own."""

_ENVELOPE = ("stream", "customer", "causation", "correlation", "actor", "recorded_at")

_shared_by, _envelope_of = attrgetter(*_SHARED), attrgetter(*_ENVELOPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One inference: what it used and what it cost; a part of events alone."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    charged: Money
    credit: Money | None = None
    """Absent: nothing; so are `receivable` and `grants`."""
    grants: GrantAmounts | None = None
    id: KeyText
    licensed: Id | None = None
    occurred_at: Instant | None = None
    receivable: Money | None = None
    request_hash: Digest | None = None
    response_hash: Digest | None = None
    usage: Usage
    volume: int


@event("inferences_settled")
class InferencesSettled(Event):
    """Several inferences of one reservation were charged, in the order of their lines."""

    customer: Id
    license: Id | None = None
    lines: tuple[Line, ...]
    model: Name
    period: str
    price_book: Id
    price_version: int
    reservation: Id
    source: KeyText | None = None

    def stream(self) -> str:
        """Return the stream of the reservation."""
        return OF_RESERVATION + self.reservation

    def command_scope(self) -> str:
        """Return what scopes the first line's id: the source of its record, or the customer."""
        return self.customer if self.source is None else self.source

    def command_kind(self) -> str:
        """Return the kind of command that each line answers."""
        return "settle" if self.source is None else "usage"

    def other_ids(self) -> tuple[tuple[str, str, str], ...]:
        """Return the keys of the lines after the first, whose command the envelope names."""
        kind, scope = self.command_kind(), self.command_scope()
        return tuple((kind, scope, line.id) for line in self.lines[1:])

    def facts(self) -> tuple[ReservationSettled, ...]:
        """Return what the lines say, each as the fact that it would be by itself."""
        return tuple(_fact(self, line) for line in self.lines)


def _fact(settled: InferencesSettled, line: Line) -> ReservationSettled:
    receivable = line.receivable or 0
    return ReservationSettled(
        charged=line.charged,
        credit=line.credit or 0,
        customer=settled.customer,
        final=False,
        from_balance=line.charged - receivable,
        grants=line.grants or (),
        inference=True,
        license=settled.license,
        licensed=line.licensed,
        model=settled.model,
        occurred_at=line.occurred_at,
        period=settled.period,
        price_book=settled.price_book,
        price_version=settled.price_version,
        receivable=receivable,
        released=0,
        request_hash=line.request_hash,
        reservation=settled.reservation,
        response_hash=line.response_hash,
        source=settled.source,
        usage=line.usage,
        volume=line.volume,
    )


def _line(fact: Any, id: str) -> Line:
    return Line(
        charged=fact.charged,
        credit=fact.credit or None,
        grants=fact.grants or None,
        id=id,
        licensed=fact.licensed,
        occurred_at=fact.occurred_at,
        receivable=fact.receivable or None,
        request_hash=fact.request_hash,
        response_hash=fact.response_hash,
        usage=fact.usage,
        volume=fact.volume,
    )


def facts_of(event: Event) -> tuple[Event, ...]:
    """Return the facts that an event tells: itself, or one for each of its lines."""
    return event.facts() if type(event) is InferencesSettled else (event,)


def weight(event: Event) -> int:
    """Return how many facts an event tells."""
    return len(event.lines) if type(event) is InferencesSettled else 1


R = TypeVar("R", bound=NamedTuple)


def apart(recorded: R) -> Sequence[R]:
    """Return a recorded event, or what it tells as if each line had been recorded by itself.

    It is anything with an event's `name`, `command`, `occurred_at`, `recorded_at` and `event`.
    """
    whole: Any = recorded
    if type(whole.event) is not InferencesSettled:
        return (recorded,)
    return [_alone(whole, line) for line in whole.event.lines]


def told_by(recorded: Recorded, id: str) -> Recorded:
    """Return what a recorded event says of a command: the event itself, or the command's line."""
    event = recorded.event
    if type(event) is InferencesSettled:
        for line in event.lines:
            if line.id == id:
                found: Recorded = _alone(recorded, line)
                return found
    return recorded


def _alone(whole: Any, line: Line) -> Any:
    """Return a line as if it had been recorded by itself."""
    fact = _fact(whole.event, line)
    occurred_at = whole.recorded_at if line.occurred_at is None else line.occurred_at
    return whole._replace(name=fact.NAME, command=line.id, occurred_at=occurred_at, event=fact)


Bond = tuple[Any, ...]
"""What the lines of one event have in common, and their envelopes."""


def bond_of(recorded: Recorded) -> Bond | None:
    """Return what a recorded event has to share with others to be told with them as their line.

    None of one that no line could tell.
    """
    fact = recorded.event
    if type(fact) is not ReservationSettled or not _is_line(fact):
        return None
    return *_shared_by(fact), *_envelope_of(recorded)


def together(lines: Sequence[Recorded]) -> Recorded:
    """Return one recorded event in place of several of one bond, where the first of them stands."""
    first = lines[0]
    named: dict[str, Any] = dict(zip(_SHARED, _shared_by(first.event), strict=True))
    told = tuple([_line(each.event, each.command) for each in lines])
    settled = InferencesSettled(lines=told, **named)
    return first._replace(name=settled.NAME, version=settled.VERSION, event=settled)


def _is_line(fact: ReservationSettled) -> bool:
    """Say whether a line could tell it: an inference of its own that was never parked."""
    return fact.inference is True and fact.record is None and not fact.final and not fact.released
