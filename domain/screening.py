"""Export list: the countries to which nothing may be exported, one list after another."""

from typing import Any, NamedTuple

from domain.event import Event
from domain.registry_commands import PublishExportList
from domain.registry_events import ExportListPublished


class ExportList(NamedTuple):
    """The list in force; version 0, before the first one, denies nobody."""

    countries: frozenset[str] = frozenset()
    version: int = 0


def decide_publish(current: ExportList, command: PublishExportList) -> tuple[Event, ...]:
    """Put a new list in the place of the one before."""
    return (
        ExportListPublished(
            countries=command.countries, note=command.note, version=current.version + 1
        ),
    )


def evolve(current: ExportList, event: Event) -> ExportList:
    """Take the newest list."""
    if not isinstance(event, ExportListPublished):
        return current
    return ExportList(frozenset(event.countries), event.version)


def export_list_to_wire(listed: ExportList) -> dict[str, Any]:
    """Write the list as docs/formats/state.md does."""
    return {"countries": sorted(listed.countries), "version": listed.version}
