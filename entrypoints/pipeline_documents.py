"""What the API and the commands show of pipelines, and of a run through one."""

from collections.abc import Sequence
from typing import Any

from tollbook.errors import NotFound
from tollbook.times import format_instant

from adapters.event_store.store import PostgresEventStore
from application.answers import outcome_of
from application.loading import load_balance, load_pipeline, load_reservation, load_stages
from domain.balance import Balance
from domain.event import Recorded
from domain.outcomes import money
from domain.pipeline import Pipeline, StagesHeld, stage_to_wire
from domain.pipeline_events import PipelinePublished
from domain.reservation import Reservation
from domain.stages import stage_id
from domain.units import quantities_to_wire
from domain.values import is_id
from projections import pipelines
from projections.paging import LIMIT_MAX

Document = dict[str, Any]


def pipeline_page(
    store: PostgresEventStore, after: str, limit: int
) -> tuple[list[Document], str | None]:
    """Return a page of pipelines as they were published last, and the name to go on after."""
    positions, following = pipelines.newest(store.run, after=after, limit=limit)
    recorded = store.at(positions)
    return [_version(recorded[position]) for position in positions], following


def every_pipeline(store: PostgresEventStore) -> list[Document]:
    """Return every pipeline as it was published last, in order of the names."""
    found, following = pipeline_page(store, "", LIMIT_MAX)
    while following is not None:
        more, following = pipeline_page(store, following, LIMIT_MAX)
        found += more
    return found


def pipeline_document(store: PostgresEventStore, name: str) -> Document:
    """Return a pipeline with all its versions; raises NotFound."""
    found: list[Document] = []
    if is_id(name):
        events = store.stream_events(f"pipeline-{name}", store.head().position)
        found = [_version(each) for each in events]
    if not found:
        raise NotFound(f"there is no pipeline {name}", field="pipeline", value=name)
    return {**found[-1], "versions": found}


def newest_of(store: PostgresEventStore, name: str) -> Pipeline:
    """Return a pipeline as it was published last; one that nobody has published is empty."""
    return load_pipeline(store, name, store.head().position)


def _version(recorded: Recorded) -> Document:
    event = recorded.event
    assert isinstance(event, PipelinePublished)
    return {
        "pipeline": event.pipeline,
        "version": event.version,
        "stages": [stage_to_wire(stage) for stage in event.stages],
        "position": recorded.position,
        "published_at": format_instant(recorded.recorded_at),
    }


def run_document(
    store: PostgresEventStore, name: str, pipeline: str | None, own: str | None, now: int
) -> Document:
    """Return a run with its stages and their exact sums; raises NotFound.

    `pipeline` and `own` are the only pipeline and the only customer that it may be of.
    """
    position = store.head().position
    held = load_stages(store, name, position) if is_id(name) else None
    if held is None or pipeline not in (None, held.pipeline) or own not in (None, held.customer):
        raise NotFound(f"there is no run {name} through a pipeline", field="reserved", value=name)
    balance = load_balance(store, held.customer, position)
    found = _found(store, held, position)
    return {**_head(held, found, balance, now), "position": position}


def _found(store: PostgresEventStore, held: StagesHeld, position: int) -> list[Reservation]:
    loaded = [load_reservation(store, stage_id(held.id, stage), position) for stage in held.stages]
    return [each for each in loaded if each is not None]


def _head(held: StagesHeld, found: Sequence[Reservation], balance: Balance, now: int) -> Document:
    currency = balance.customer.currency if balance.customer else ""
    holds = [_held(each, balance, now) for each in found]
    return {
        "id": held.id,
        "customer": held.customer,
        "pipeline": held.pipeline,
        "version": held.pipeline_version,
        "status": _status([_status_of(each, now) for each in found]),
        "opened_at": format_instant(found[0].opened_at),
        "held": money(sum(holds), currency),
        "charged": money(sum(each.charged for each in found), currency),
        "stages": [
            _stage(*each, currency, now) for each in zip(held.stages, found, holds, strict=True)
        ],
    }


def _status_of(found: Reservation, now: int) -> str:
    return "expired" if found.status == "open" and found.expires_at <= now else found.status


def _status(stages: Sequence[str]) -> str:
    """Return how a run stands: as the liveliest of its stages."""
    return next(each for each in ("open", "expired", "settled", "released") if each in stages)


def _held(found: Reservation, balance: Balance, now: int) -> int:
    hold = balance.holds.get(found.id)
    return hold.amount if hold is not None and _status_of(found, now) == "open" else 0


def _stage(stage: str, found: Reservation, held: int, currency: str, now: int) -> Document:
    return {
        "stage": stage,
        "reservation": found.id,
        "model": found.model,
        "status": _status_of(found, now),
        "license": found.license,
        "estimate": quantities_to_wire(found.estimate),
        "used": quantities_to_wire(found.used),
        "expires_at": format_instant(found.expires_at),
        "held": money(held, currency),
        "charged": money(found.charged, currency),
        "outcome": found.outcome and outcome_of(found.outcome, currency),
    }
