"""Parked usage: every record that no rule let be charged at once, why, and what became of it."""

import json
from typing import Any

from tollbook.errors import Invalid
from tollbook.times import format_instant

from application.following import Followed
from domain.usage_events import UsageParked, UsageReleased
from projections.arrays import numbers, texts
from projections.copying import copy_lines, field
from projections.model import Change, Connection, Run, Wanted
from projections.paging import Page, Where, read_page

STATUSES = ("parked", "released")

_COLUMNS = "position, recorded_at, parked, customer, model, source, id, code, detail, facts, body"
_RELEASE = """
UPDATE parked_usage AS kept SET released_at = row.at, released_position = row.position,
    released_by = row.command
FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::text[])
    AS row (parked, position, at, command)
WHERE kept.parked = row.parked
"""


class ParkedUsage:
    """The read model of parked usage records."""

    NAME = "parked"
    VERSION = 1
    EVENTS: Wanted = frozenset({UsageParked, UsageReleased})
    TABLES = """
CREATE TABLE parked_usage (
    position          bigint NOT NULL,
    recorded_at       bigint NOT NULL,
    released_position bigint,          -- NULL while it is parked
    released_at       bigint,
    parked            text NOT NULL,   -- the parked record's own id
    customer          text NOT NULL,   -- whom the record names, who may not exist
    model             text NOT NULL,
    source            text NOT NULL,
    id                text NOT NULL,
    code              text NOT NULL,
    detail            text NOT NULL,
    facts             text NOT NULL,   -- JSON
    body              text NOT NULL,   -- the rest of the record: JSON
    released_by       text,
    CONSTRAINT parked_usage_position PRIMARY KEY (position),
    CONSTRAINT parked_usage_name UNIQUE (parked)
);
CREATE INDEX parked_usage_waiting ON parked_usage (position) WHERE released_position IS NULL;
"""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._lines: list[str] = []
        self._released: list[tuple[str, int, int, str]] = []

    def collect(self, change: Change) -> None:
        """Keep a record that was parked, or note that one was released."""
        recorded = change.recorded
        event = recorded.event
        if isinstance(event, UsageParked):
            self._lines.append(_line(recorded, event))
        elif isinstance(event, UsageReleased):
            release = (event.parked, recorded.position, recorded.recorded_at, recorded.command)
            self._released.append(release)

    def write(self, connection: Connection) -> None:
        """Append the records parked since, then mark those that were released."""
        lines, released = self._lines, self._released
        self.discard()
        copy_lines(connection, "parked_usage", _COLUMNS, lines)
        if released:
            names, positions, times, commands = zip(*released, strict=True)
            parameters = (texts(names), numbers(positions), numbers(times), texts(commands))
            connection.execute(_RELEASE, parameters)

    def discard(self) -> None:
        """Forget what was collected so far."""
        self._lines, self._released = [], []


def _line(recorded: Followed, event: UsageParked) -> str:
    own = (event.parked, event.customer, event.body["model"], event.source, event.record)
    rest = (event.code, event.detail, json.dumps(event.facts), json.dumps(event.body))
    fields = "\t".join([field(text) for text in (*own, *rest)])
    return f"{recorded.position}\t{recorded.recorded_at}\t{fields}\n"


_SHOWN = (
    "position",
    "recorded_at",
    "parked",
    "customer",
    "model",
    "source",
    "id",
    "code",
    "detail",
    "facts",
    "body",
    "released_position",
    "released_at",
    "released_by",
)
_SELECT = f"SELECT {', '.join(_SHOWN)} FROM views.parked_usage"  # noqa: S608 - our own names


def page(
    run: Run,
    *,
    customer: str | None = None,
    model: str | None = None,
    code: str | None = None,
    status: str | None = None,
    after: int | None = None,
    limit: int = 100,
) -> Page:
    """Return parked usage records in order of position; `status` is `parked` or `released`."""
    if status is not None and status not in STATUSES:
        raise Invalid.because("status", status, f"one of {', '.join(STATUSES)}")
    where = Where()
    where.add("customer = %s", customer)
    where.add("model = %s", model)
    where.add("code = %s", code)
    where.add("position > %s", after)
    if status is not None:
        where.add(f"released_position IS {'' if status == 'parked' else 'NOT '}NULL")
    query = f"{_SELECT} {where} ORDER BY position"
    found = read_page(run, query, where.values, limit, _SHOWN, "position")
    return Page([_shown(row) for row in found.items], found.next)


def one(run: Run, parked: str) -> dict[str, Any] | None:
    """Return a parked record by its own id, or None."""
    rows = run(f"{_SELECT} WHERE parked = %s", (parked,))
    return _shown(dict(zip(_SHOWN, rows[0], strict=True))) if rows else None


def waiting(run: Run) -> int:
    """Return how many records are parked and not released: what an alarm watches."""
    rows = run("SELECT count(*) FROM views.parked_usage WHERE released_position IS NULL", ())
    return int(rows[0][0])


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a parked record as it travels; what it does not have is left out."""
    row["status"] = "parked" if row["released_position"] is None else "released"
    row["record"] = json.loads(row.pop("body"))
    why = {"code": row.pop("code"), "detail": row.pop("detail"), **json.loads(row.pop("facts"))}
    row["why"] = why
    for name in ("recorded_at", "released_at"):
        row[name] = None if row[name] is None else format_instant(row[name])
    return {name: value for name, value in row.items() if value is not None}
