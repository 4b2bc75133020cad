"""Commands: every id that was ever decided, and the event that answers it.

There is no table of its own: the log and its ids hold all of it, so these reads are never behind.
"""

import json
from typing import Any

from tollbook.errors import Invalid
from tollbook.times import format_instant

from projections.model import Run
from projections.paging import Page, Where, read_page

_SHOWN = (
    "position",
    "kind",
    "scope",
    "id",
    "customer",
    "event",
    "actor",
    "correlation",
    "occurred_at",
    "recorded_at",
    "data",
)
_FIELDS = """
taken.position, taken.kind, taken.scope, taken.id, event.customer, event.name AS event,
event.actor, event.correlation, event.occurred_at, event.recorded_at, event.data
"""
_BY_KEY = f"""
SELECT {_FIELDS} FROM command_ids AS taken JOIN events AS event USING (position)
WHERE taken.id = %s AND taken.kind = %s AND taken.scope = %s
"""  # noqa: S608 - our own names
# An event's own command leads to its id through the index of ids; facts that follow from time, or
# from another fact, answer nobody and so fall out. The limit keeps this one probe for each event.
_IN_ORDER = f"""
SELECT {_FIELDS} FROM events AS event CROSS JOIN LATERAL (
    SELECT * FROM command_ids WHERE id = event.command AND position = event.position
    LIMIT 1) AS taken
"""  # noqa: S608 - our own names

_SEQUENCE = "SELECT customer_sequence FROM events WHERE position = %s AND customer = %s"


def one(run: Run, kind: str, scope: str, name: str) -> dict[str, Any] | None:
    """Return a command by its key, or None; `scope` is the customer, or the source of usage."""
    rows = run(_BY_KEY, (name, kind, scope))
    return _shown(dict(zip(_SHOWN, rows[0], strict=True))) if rows else None


def page(
    run: Run,
    *,
    customer: str | None = None,
    kind: str | None = None,
    newest_first: bool = False,
    after: int | None = None,
    limit: int = 100,
) -> Page:
    """Return decided commands in order of position, refused ones included."""
    where = Where()
    where.add("event.customer = %s", customer)
    where.add("taken.kind = %s", kind)
    # A customer's events lie in the order of their gapless numbers in the log's own index.
    key = "event.position" if customer is None else "event.customer_sequence"
    if after is not None:
        cursor = after if customer is None else _sequence(run, customer, after)
        where.add(f"{key} < %s" if newest_first else f"{key} > %s", cursor)
    query = f"{_IN_ORDER} {where} ORDER BY {key} {'DESC' if newest_first else 'ASC'}"
    found = read_page(run, query, where.values, limit, _SHOWN, "position")
    return Page([_shown(row) for row in found.items], found.next)


def _sequence(run: Run, customer: str, position: int) -> int:
    """Return the customer's own number of the event at a cursor."""
    rows = run(_SEQUENCE, (position, customer))
    if not rows:
        raise Invalid.because("after", position, "a cursor that a page of these commands gave")
    return int(rows[0][0])


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a command as it travels; a refused one says why in its data."""
    row["status"] = "refused" if row["event"] == "command_refused" else "done"
    row["data"] = json.loads(row["data"])
    row["occurred_at"] = format_instant(row["occurred_at"])
    row["recorded_at"] = format_instant(row["recorded_at"])
    return {name: value for name, value in row.items() if value is not None}
