"""What the API and the commands show of a model and of the export list, read from the log."""

from collections.abc import Sequence
from typing import Any

from tollbook.times import format_instant

from adapters.event_store.store import PostgresEventStore
from domain import registry
from domain.event import Recorded
from domain.provenance import provenance_to_wire
from domain.registry import Model, ModelVersion, provenance_hash
from domain.registry_events import OF_MODEL, ExportListPublished
from projections import models

Document = dict[str, Any]


def model_page(
    store: PostgresEventStore, after: int, limit: int
) -> tuple[list[Document], int | None]:
    """Return a page of models in short, and where the next page begins if there is one."""
    found = models.registered(store.run, after=after, limit=limit + 1)
    shown = found[:limit]
    events = _events(store, [stream for _, stream in shown])
    items = [_in_short(*_folded(events[stream])) for _, stream in shown]
    return items, shown[-1][0] if len(found) > limit else None


def model_document(store: PostgresEventStore, name: str) -> Document | None:
    """Return all that is known of a model, or None when nobody registered it."""
    stream = f"model-{name}"
    found = _events(store, [stream])[stream]
    if not found:
        return None
    model, first = _folded(found)
    return {
        **_head(model, first),
        "provenance_hash": provenance_hash(model),
        "versions": [_version(each) for each in model.versions.values()],
    }


def export_list_document(store: PostgresEventStore) -> Document:
    """Return the export list in force; before the first one it is empty, and has version 0."""
    position = models.newest_list(store.run)
    if position is None:
        return {"version": 0, "countries": []}
    recorded = store.at([position])[position]
    event = recorded.event
    assert isinstance(event, ExportListPublished)
    note = {} if event.note is None else {"note": event.note}
    return {
        "version": event.version,
        "countries": list(event.countries),
        **note,
        "position": position,
        "recorded_at": format_instant(recorded.recorded_at),
        "actor": recorded.actor,
    }


def _events(store: PostgresEventStore, streams: Sequence[str]) -> dict[str, list[Recorded]]:
    positions = models.events_of(store.run, streams)
    recorded = store.at(positions)
    found: dict[str, list[Recorded]] = {stream: [] for stream in streams}
    for position in positions:
        found[recorded[position].stream].append(recorded[position])
    return found


def _folded(events: Sequence[Recorded]) -> tuple[Model, Recorded]:
    """Return a model and the event that registered it."""
    first = events[0]
    assert isinstance(first.event, OF_MODEL)
    model = registry.unregistered(first.event.model)
    for each in events:
        model = registry.evolve(model, each.event, each.recorded_at)
    return model, first


def _head(model: Model, first: Recorded) -> Document:
    return {
        "model": model.name,
        "position": first.position,
        "registered_at": format_instant(first.recorded_at),
    }


def _in_short(model: Model, first: Recorded) -> Document:
    usable = [each for each in model.versions.values() if each.yanked_at is None]
    newest = max(usable, key=lambda each: each.released_at, default=None)
    return {
        **_head(model, first),
        "versions": len(model.versions),
        "yanked": len(model.versions) - len(usable),
        "newest": None if newest is None else newest.version,
        "newest_at": None if newest is None else format_instant(newest.released_at),
    }


def _version(version: ModelVersion) -> Document:
    yanked = version.yanked_at
    return {
        "version": version.version,
        "released_at": format_instant(version.released_at),
        "digest": version.digest,
        "yanked_at": None if yanked is None else format_instant(yanked),
        "reason": version.reason,
        "provenance": provenance_to_wire(version.provenance),
    }
