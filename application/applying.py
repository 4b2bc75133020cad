"""Applying an event to the draft of a batch: to whatever aggregates it concerns."""

from application.world import Draft
from domain import parking, pricebook, reservation
from domain.event import Event
from domain.events import GrantIssued, MinReaderRaised, PricesPublished
from domain.folding import evolve
from domain.usage_events import UsageParked, UsageReleased


def apply(
    draft: Draft, event: Event, customer: str | None, now: int, command: str
) -> tuple[int, int | None, str]:
    """Evolve what an event concerns; return stream version, customer sequence, currency."""
    if customer is None:
        return _apply_to_ledger(draft, event, command), None, ""
    balance = evolve(draft.balance(customer), event, now)
    draft.balances[customer] = balance
    version = balance.own_version
    name: str | None = getattr(event, "reservation", None)
    if name is not None:
        state = reservation.evolve(draft.reservation_in_memory(name), event, now, command)
        assert state is not None
        draft.reservations[name] = state
        version = state.version
    elif isinstance(event, GrantIssued):
        version = 1
    elif isinstance(event, UsageParked | UsageReleased):
        version = _apply_to_parked(draft, event, command)
    return version, balance.sequence, balance.customer.currency if balance.customer else ""


def _apply_to_parked(draft: Draft, event: UsageParked | UsageReleased, command: str) -> int:
    known = None if isinstance(event, UsageParked) else draft.parked_usage(event.parked)
    state = parking.evolve(known, event, draft.position + 1, command)
    assert state is not None
    draft.parked[event.parked] = state
    return state.version


def _apply_to_ledger(draft: Draft, event: Event, command: str) -> int:
    if isinstance(event, UsageParked):
        return _apply_to_parked(draft, event, command)
    if isinstance(event, PricesPublished):
        draft.books[event.book] = pricebook.evolve(draft.book(event.book), event)
        return event.version
    assert isinstance(event, MinReaderRaised)
    draft.ledger_version += 1
    return draft.ledger_version
