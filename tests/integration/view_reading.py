"""Reading lists of the views to their end, and the log beside them, to compare the two."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tollbook.amounts import format_pico

from adapters.event_store.mapper import recorded_from
from domain.event import Recorded
from domain.events import CustomerChanged, CustomerCreated
from projections.model import Run
from projections.paging import Page
from tests.integration.audit_workload import Rows

Items = list[dict[str, Any]]


def every(page: Callable[..., Page], run: Run, **asked: Any) -> Items:
    """Read a list to its end, a few rows at a time."""
    items: Items = []
    after = None
    while True:
        found = page(run, after=after, limit=7, **asked)
        items += found.items
        if found.next is None:
            return items
        assert len(found.items) == 7
        after = found.next


def events_of(rows: Rows) -> list[Recorded]:
    """Read every event back."""
    return [recorded_from(row) for row in rows]


def terms_at(rows: Rows) -> Iterator[tuple[Recorded, dict[str, Any]]]:
    """Yield each event with its customer's currency and zone at that moment."""
    terms: dict[str | None, dict[str, Any]] = defaultdict(dict)
    for recorded in events_of(rows):
        event = recorded.event
        if isinstance(event, CustomerCreated):
            terms[recorded.customer] = {"currency": event.currency, "zone": event.time_zone}
        if isinstance(event, CustomerChanged) and event.time_zone is not None:
            terms[recorded.customer]["zone"] = event.time_zone
        yield recorded, terms[recorded.customer]


def money(amount: int, currency: str) -> dict[str, str]:
    """Write money as it travels."""
    return {"amount": format_pico(amount), "currency": currency}


def day_of(instant: int, zone: str) -> str:
    """Return the day of an instant in a zone."""
    at = datetime.fromtimestamp(instant // 1_000_000, UTC).astimezone(ZoneInfo(zone))
    return at.strftime("%Y-%m-%d")
