"""Commands: every id that was ever decided, and the event that answers it.

There is no table of its own: the log and its ids hold all of it, so these reads are never behind.
"""

import json
from typing import Any

from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.inferences import InferencesSettled
from projections.model import Run
from projections.paging import Page, Where, place_of, read_places

TOGETHER = InferencesSettled.NAME

_SHOWN = (
    "position",
    "line",
    "kind",
    "scope",
    "id",
    "customer",
    "event",
    "actor",
    "correlation",
    "occurred_at",
    "recorded_at",
)
_FIELDS = """
taken.position, {line} AS line, taken.kind, taken.scope, taken.id, event.customer,
event.name AS event, event.actor, event.correlation, event.occurred_at, event.recorded_at
"""
_BY_KEY = f"""
SELECT {_FIELDS.format(line=1)} FROM command_ids AS taken JOIN events AS event USING (position)
WHERE taken.id = %s AND taken.kind = %s AND taken.scope = %s
"""  # noqa: S608 - our own names
# An event's own command, or that of each of its lines, leads to its id through the index of ids;
# facts that follow from time, or from another fact, answer nobody and so fall out. The limit keeps
# this one probe for each.
_IN_ORDER = f"""
SELECT {_FIELDS.format(line="told.line")} FROM events AS event
CROSS JOIN LATERAL unnest(CASE WHEN event.name = '{TOGETHER}'
    THEN ARRAY(SELECT line ->> 'id' FROM json_array_elements(event.data::json -> 'lines') AS line)
    ELSE ARRAY[event.command] END) WITH ORDINALITY AS told (id, line)
CROSS JOIN LATERAL (
    SELECT * FROM command_ids WHERE id = told.id AND position = event.position LIMIT 1) AS taken
"""  # noqa: S608 - our own names

_DATA = "SELECT position, data FROM events WHERE position = ANY(%s)"

_SEQUENCE = "SELECT customer_sequence FROM events WHERE position = %s AND customer = %s"


def one(run: Run, kind: str, scope: str, name: str) -> dict[str, Any] | None:
    """Return a command by its key, or None; `scope` is the customer, or the source of usage."""
    rows = run(_BY_KEY, (name, kind, scope))
    found = _shown(run, [dict(zip(_SHOWN, row, strict=True)) for row in rows])
    return found[0] if found else None


def page(
    run: Run,
    *,
    customer: str | None = None,
    kind: str | None = None,
    newest_first: bool = False,
    after: str | None = None,
    limit: int = 100,
) -> Page:
    """Return decided commands in order of position and line, refused ones included."""
    where = Where()
    where.add("event.customer = %s", customer)
    where.add("taken.kind = %s", kind)
    # A customer's events lie in the order of their gapless numbers in the log's own index.
    key = "event.position" if customer is None else "event.customer_sequence"
    if after is not None:
        position, line = place_of(after, newest_first=newest_first)
        cursor = position if customer is None else _sequence(run, customer, position)
        compared = "<" if newest_first else ">"
        # The second condition follows from the first, which no index knows.
        where.add(f"({key}, told.line) {compared} (%s, %s)", cursor, line)
        where.add(f"{key} {compared}= %s", cursor)
    order = "DESC" if newest_first else "ASC"
    query = f"{_IN_ORDER} {where} ORDER BY {key} {order}, told.line {order}"
    found = read_places(run, query, where.values, limit, _SHOWN)
    return Page(_shown(run, found.items), found.next)


def _sequence(run: Run, customer: str, position: int) -> int:
    """Return the customer's own number of the event at a cursor."""
    rows = run(_SEQUENCE, (position, customer))
    if not rows:
        raise Invalid.because("after", position, "a cursor that a page of these commands gave")
    return int(rows[0][0])


def _shown(run: Run, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return commands as they travel; a refused one says why in its data.

    What one event says of many commands is read once.
    """
    positions = list({row["position"] for row in rows})
    said = {at: json.loads(data) for at, data in run(_DATA, (positions,))} if rows else {}
    for row in rows:
        del row["line"]
        row["status"] = "refused" if row["event"] == "command_refused" else "done"
        row["occurred_at"] = format_instant(row["occurred_at"])
        row["recorded_at"] = format_instant(row["recorded_at"])
        row["data"] = data = _own(said[row["position"]], row)
        if row["event"] == TOGETHER:
            row["occurred_at"] = data["lines"][0].get("occurred_at", row["recorded_at"])
    return [{name: row[name] for name in row if row[name] is not None} for row in rows]


def _own(data: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Return what an event says of one command: of several lines, its own."""
    if row["event"] != TOGETHER:
        return data
    return {**data, "lines": [line for line in data["lines"] if line["id"] == row["id"]]}
