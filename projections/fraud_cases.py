"""Fraud cases: every customer who was flagged, what for, and what a reviewer came to see in it.

A case names the events that made it; who did what, and why, is read from the log itself.
"""

import json
import re
from typing import Any, NamedTuple

from tollbook.errors import Invalid
from tollbook.times import format_instant

from application.following import Followed
from domain.fraud_case import CLEARED, FLAGS, STATUSES, FraudCase, case_id
from domain.fraud_events import CASE_PATTERN, FraudCleared, FraudConfirmed, FraudFlagged
from domain.guard_events import AccountBlocked, AccountUnblocked
from projections.model import Change, Connection, Run, Wanted
from projections.paging import Page, Where, read_page

_IS_CASE = re.compile(CASE_PATTERN.removesuffix("$") + r"\Z")

_STEP = "INSERT INTO fraud_steps (position, case_id) VALUES (%s, %s)"
_UPSERT = """
INSERT INTO fraud_cases AS kept
    (position, updated, opened_at, since, number, flags, score, status, case_id, customer)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (case_id) DO UPDATE SET updated = excluded.updated, since = excluded.since,
    flags = kept.flags + excluded.flags, score = greatest(kept.score, excluded.score),
    status = excluded.status
"""


class _Step(NamedTuple):
    """One fact of a case, and how the case stands after it."""

    position: int
    customer: str
    case: FraudCase
    flags: int
    score: int | None


class FraudCases:
    """The read model of fraud cases; flags are few, so their rows are written one by one."""

    NAME = "fraud_cases"
    VERSION = 1
    EVENTS: Wanted = frozenset({*FLAGS, FraudCleared, FraudConfirmed, AccountUnblocked})
    TABLES = """
CREATE TABLE fraud_cases (
    position  bigint NOT NULL,   -- of the flag that opened it
    updated   bigint NOT NULL,   -- position of what last happened to it
    opened_at bigint NOT NULL,
    since     bigint NOT NULL,   -- when it got its status
    number    bigint NOT NULL,
    flags     bigint NOT NULL,
    score     bigint,            -- the highest that flagged it
    status    text   NOT NULL,
    case_id   text COLLATE "C" NOT NULL,
    customer  text COLLATE "C" NOT NULL,
    CONSTRAINT fraud_cases_id PRIMARY KEY (case_id)
);
CREATE INDEX fraud_cases_position ON fraud_cases (position);
CREATE INDEX fraud_cases_of_customer ON fraud_cases (customer, position);
CREATE INDEX fraud_cases_waiting ON fraud_cases (position) WHERE status = 'flagged';
CREATE TABLE fraud_steps (
    position bigint NOT NULL,
    case_id  text COLLATE "C" NOT NULL,
    CONSTRAINT fraud_steps_place PRIMARY KEY (case_id, position)
);
"""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._steps: list[_Step] = []

    def collect(self, change: Change) -> None:
        """Keep what happened to a case; an unblocking is of the case that stands, if one does."""
        recorded, after = change.recorded, change.after
        case = None if after is None else after.case
        if case is None or recorded.customer is None:
            return
        if isinstance(recorded.event, AccountUnblocked) and case.status == CLEARED:
            return
        flags = int(isinstance(recorded.event, FLAGS))
        step = _Step(recorded.position, recorded.customer, case, flags, _score(recorded))
        self._steps.append(step)

    def write(self, connection: Connection) -> None:
        """Write each step, and how its case stands after it."""
        steps = self._steps
        self.discard()
        for position, customer, case, flags, score in steps:
            name = case_id(customer, case)
            connection.execute(_STEP, (position, name))
            times = (case.opened_at, case.since, case.number)
            row = (position, position, *times, flags, score, case.status, name, customer)
            connection.execute(_UPSERT, row)

    def discard(self) -> None:
        """Forget what was collected so far."""
        self._steps = []


def _score(recorded: Followed) -> int | None:
    return recorded.event.score if isinstance(recorded.event, FraudFlagged) else None


_COLUMNS = (
    *("position", "updated", "case_id", "customer", "status", "opened_at", "since"),
    *("flags", "score"),
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM views.fraud_cases"  # noqa: S608 - our own names
_STEPS = """
SELECT step.position, event.name, event.actor, event.recorded_at, event.data
FROM views.fraud_steps AS step JOIN public.events AS event USING (position)
WHERE step.case_id = %s ORDER BY step.position DESC LIMIT %s
"""
STEPS_MAX = 1_000
"""So many of the newest steps of a case are shown."""

_WHAT = {
    AccountBlocked.NAME: "blocked",
    AccountUnblocked.NAME: "unblocked",
    FraudFlagged.NAME: "flagged",
    FraudCleared.NAME: "cleared",
    FraudConfirmed.NAME: "confirmed",
}
"""What a step is called, by the name of its event."""

STEPS = tuple(_WHAT.values())


def page(
    run: Run,
    *,
    customer: str | None = None,
    status: str | None = None,
    after: int | None = None,
    limit: int = 100,
) -> Page:
    """Return fraud cases in the order in which they were opened."""
    if status is not None and status not in STATUSES:
        raise Invalid.because("status", status, f"one of {', '.join(STATUSES)}")
    where = Where()
    where.add("customer = %s", customer)
    where.add("status = %s", status)
    where.add("position > %s", after)
    query = f"{_SELECT} {where} ORDER BY position"
    found = read_page(run, query, where.values, limit, _COLUMNS, "position")
    return Page([_shown(row) for row in found.items], found.next)


def one(run: Run, name: str) -> dict[str, Any] | None:
    """Return a case with its steps, the newest last, or None."""
    if not _IS_CASE.match(name):
        return None
    rows = run(f"{_SELECT} WHERE case_id = %s", (name,))
    if not rows:
        return None
    steps = [_step(row) for row in run(_STEPS, (name, STEPS_MAX))]
    return {**_shown(dict(zip(_COLUMNS, rows[0], strict=True))), "steps": steps[::-1]}


def waiting(run: Run) -> int:
    """Return how many cases wait for a reviewer: what an alarm watches."""
    rows = run("SELECT count(*) FROM views.fraud_cases WHERE status = 'flagged'", ())
    return int(rows[0][0])


def _step(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return a step as it travels: its event's own fields, less what the case says already."""
    position, name, actor, recorded_at, data = row
    fields = json.loads(data)
    told = {field: fields[field] for field in sorted(fields) if field not in ("case", "customer")}
    if "signs" in told:
        told["signs"] = [{"code": code, "points": points} for code, points in told["signs"]]
    when = format_instant(recorded_at)
    return {"position": position, "what": _WHAT[name], "actor": actor, "at": when, **told}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a case as it travels; what it does not have is left out."""
    row["id"] = row.pop("case_id")
    for name in ("opened_at", "since"):
        row[name] = format_instant(row[name])
    return {name: value for name, value in row.items() if value is not None}
