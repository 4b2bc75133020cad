"""Applying an event to the draft of a batch: to whatever aggregates it concerns."""

from typing import Any

from application.draft import Draft
from domain import license, parking, pipeline, pricebook, registry, reservation, screening
from domain.event import Event
from domain.events import GrantIssued, MinReaderRaised, PricesPublished, ReservationSettled
from domain.folding import evolve, evolve_further
from domain.license_events import (
    OF_LICENSE,
    LeaseRenewed,
    LicenseIssued,
    LicenseValidated,
    PolicyPublished,
    SeatLeased,
    SeatReturned,
)
from domain.license_life import Template
from domain.license_use import lease_of
from domain.pipeline_events import OF_STAGES, PipelinePublished
from domain.registry_events import OF_MODEL, ExportListPublished
from domain.usage_events import UsageParked, UsageReleased


def apply(
    draft: Draft, event: Event, customer: str | None, now: int, command: str
) -> tuple[int, int | None, str]:
    """Evolve what an event concerns; return stream version, customer sequence, currency."""
    if customer is None:
        return _apply_to_ledger(draft, event, now, command), None, ""
    before = draft.balance(customer)
    balance = evolve(before, event, now)
    draft.balances[customer] = balance
    version = balance.own_version
    name: str | None = getattr(event, "reservation", None)
    if name is not None:
        state = reservation.evolve(draft.reservation_in_memory(name), event, now, command)
        assert state is not None
        draft.reservations[name] = state
        version = state.version
    elif isinstance(event, GrantIssued | LicenseValidated | SeatLeased):
        version = 1
    elif isinstance(event, OF_LICENSE):
        version = _apply_to_license(draft, event, now)
    elif isinstance(event, LeaseRenewed | SeatReturned):
        lease = lease_of(before.uses.get(event.license), event.lease)
        assert lease is not None
        version = lease.version + 1
    elif isinstance(event, UsageParked | UsageReleased):
        version = _apply_to_parked(draft, event, command)
    elif isinstance(event, OF_STAGES):
        held = pipeline.stages_after(draft.stages_in_memory(event.reserved), event)
        assert held is not None
        draft.held_stages[event.reserved] = held
        version = held.version
    return version, balance.sequence, balance.customer.currency if balance.customer else ""


def apply_further(draft: Draft, event: ReservationSettled, now: int, command: str) -> str:
    """Evolve what a line concerns that is told with the event before it; return the currency."""
    balance = evolve_further(draft.balance(event.customer), event, now)
    draft.balances[event.customer] = balance
    known = draft.reservations[event.reservation]
    assert known is not None
    draft.reservations[event.reservation] = reservation.evolve_further(known, event, command)
    return balance.customer.currency if balance.customer else ""


def _apply_to_license(draft: Draft, event: Any, now: int) -> int:
    known = None if isinstance(event, LicenseIssued) else draft.license(event.license)
    state = license.evolve(known, event, now)
    assert state is not None
    draft.licenses[event.license] = state
    return state.version


def _apply_to_parked(draft: Draft, event: UsageParked | UsageReleased, command: str) -> int:
    known = None if isinstance(event, UsageParked) else draft.parked_usage(event.parked)
    state = parking.evolve(known, event, draft.position + 1, command)
    assert state is not None
    draft.parked[event.parked] = state
    return state.version


def _apply_to_ledger(draft: Draft, event: Event, now: int, command: str) -> int:
    if isinstance(event, UsageParked):
        return _apply_to_parked(draft, event, command)
    if isinstance(event, PricesPublished):
        draft.books[event.book] = pricebook.evolve(draft.book(event.book), event)
        return event.version
    if isinstance(event, PipelinePublished):
        state = pipeline.evolve(draft.pipeline(event.pipeline), event)
        draft.pipelines[event.pipeline] = state
        return state.version
    if isinstance(event, OF_MODEL):
        model = registry.evolve(draft.model(event.model), event, now)
        draft.models[event.model] = model
        return model.version
    if isinstance(event, ExportListPublished):
        draft.exports = screening.evolve(draft.export_list(), event)
        return event.version
    if isinstance(event, PolicyPublished):
        draft.templates[event.name] = Template(event.name, event.version, event.policy)
        return event.version
    assert isinstance(event, MinReaderRaised)
    draft.ledger_version += 1
    return draft.ledger_version
