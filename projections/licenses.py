"""Licences: one row each, as the domain folds it, and those whose end is near or has come.

A status is as it was booked, unless an instant is given: then an active licence whose end and grace
have passed by that instant reads as expired.
"""

import json
from collections.abc import Collection
from typing import Any, NamedTuple

from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.allocation import NEVER
from domain.event import Event
from domain.license import License, evolve
from domain.license_events import OF_LICENSE, LicenseIssued
from domain.license_state import license_from_wire, license_to_wire
from domain.values import INSTANT_MAX, check_key_text
from projections.arrays import numbers, texts
from projections.decisions import LicenseUse, uses
from projections.model import Change, Connection, Run, Wanted
from projections.paging import Page, Where, read_page

STATUSES = ("active", "suspended", "expired", "revoked")

_KNOWN = "SELECT license, state FROM licenses WHERE license = ANY(%s::text[])"
_UPSERT = """
INSERT INTO licenses (position, updated, expires_at, ends_at, screened, license, customer,
    status, state)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::boolean[],
    %s::text[], %s::text[], %s::text[], %s::text[])
ON CONFLICT (license) DO UPDATE SET updated = excluded.updated,
    expires_at = excluded.expires_at, ends_at = excluded.ends_at, screened = excluded.screened,
    status = excluded.status, state = excluded.state
"""


class _Step(NamedTuple):
    """Something that happened to a licence."""

    position: int
    recorded_at: int
    event: Event


class Licenses:
    """The read model of licences."""

    NAME = "licenses"
    VERSION = 1
    EVENTS: Wanted = frozenset(OF_LICENSE)
    TABLES = """
CREATE TABLE licenses (
    position   bigint  NOT NULL,   -- of its issue
    updated    bigint  NOT NULL,   -- position of what last happened to it
    expires_at bigint,             -- NULL when it has no end
    ends_at    bigint,             -- the end of its grace
    screened   boolean NOT NULL,   -- whether its policy asks for a country
    license    text COLLATE "C" NOT NULL,
    customer   text NOT NULL,
    status     text NOT NULL,      -- as booked
    state      text NOT NULL,      -- docs/formats/state.md
    CONSTRAINT licenses_name PRIMARY KEY (license)
) WITH (fillfactor = 80);
CREATE INDEX licenses_in_order ON licenses (position);
CREATE INDEX licenses_of_customer ON licenses (customer, position);
CREATE INDEX licenses_by_expiry ON licenses (expires_at, license) WHERE status = 'active';
CREATE INDEX licenses_by_end ON licenses (ends_at, license) WHERE status = 'active';
"""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._steps: dict[str, list[_Step]] = {}

    def collect(self, change: Change) -> None:
        """Keep an event of a licence's life; there are few of them."""
        recorded = change.recorded
        event: Any = recorded.event
        step = _Step(recorded.position, recorded.recorded_at, event)
        self._steps.setdefault(event.license, []).append(step)

    def write(self, connection: Connection) -> None:
        """Fold the licences that something happened to, from their rows on, and write them."""
        steps = self._steps
        self.discard()
        older = [name for name in steps if not isinstance(steps[name][0].event, LicenseIssued)]
        known: dict[str, License] = {}
        if older:
            for name, state in connection.execute(_KNOWN, (texts(older),)):
                known[name] = license_from_wire(name, json.loads(state))
        folded = [(_folded(known.get(name), taken), taken) for name, taken in steps.items()]
        rows = [(license, taken) for license, taken in folded if license is not None]
        if rows:
            connection.execute(_UPSERT, _columns(rows))

    def discard(self) -> None:
        """Forget what was collected so far."""
        self._steps = {}


def _folded(license: License | None, steps: list[_Step]) -> License | None:
    """Return a licence after these steps; None when its issue was put aside."""
    for step in steps:
        license = evolve(license, step.event, step.recorded_at)
    return license


def _columns(rows: list[tuple[License, list[_Step]]]) -> tuple[Any, ...]:
    """Return a row's columns; the first step's position counts for a new row alone."""
    licenses = [license for license, _ in rows]
    ends = [None if each.expires_at == NEVER else each for each in licenses]
    return (
        numbers(steps[0].position for _, steps in rows),
        numbers(steps[-1].position for _, steps in rows),
        numbers(None if each is None else each.expires_at for each in ends),
        numbers(None if each is None else each.ends_at() for each in ends),
        [each.policy.countries is not None for each in licenses],
        texts(each.id for each in licenses),
        texts(each.customer for each in licenses),
        texts(each.status for each in licenses),
        texts(json.dumps(license_to_wire(each)) for each in licenses),
    )


_SHOWN = ("position", "updated", "expires_at", "ends_at", "license", "status", "state")
_SELECT = f"SELECT {', '.join(_SHOWN)} FROM views.licenses"  # noqa: S608 - our own names
_IN_COUNTRIES = """
SELECT license, customer, country FROM views.licenses AS kept CROSS JOIN LATERAL (
    SELECT country FROM views.devices
    WHERE license = kept.license AND deactivated_at IS NULL AND country = ANY(%s)
    ORDER BY position DESC LIMIT 1) AS concerned
"""


def page(
    run: Run,
    *,
    customer: str | None = None,
    status: str | None = None,
    now: int | None = None,
    newest_first: bool = False,
    after: int | None = None,
    limit: int = 100,
) -> Page:
    """Return licences in order of their issue; with `now`, as they stand at that instant."""
    where = Where()
    where.add("customer = %s", customer)
    where.add("position < %s" if newest_first else "position > %s", after)
    if status is not None:
        _add_status(where, status, now)
    query = f"{_SELECT} {where} ORDER BY position {'DESC' if newest_first else 'ASC'}"
    found = read_page(run, query, where.values, limit, _SHOWN, "position")
    return Page(_all_shown(run, found.items, now), found.next)


def _add_status(where: Where, status: str, now: int | None) -> None:
    if status not in STATUSES:
        raise Invalid.because("status", status, f"one of {', '.join(STATUSES)}")
    if now is not None and status == "active":
        where.add("status = 'active' AND (ends_at IS NULL OR ends_at > %s)", now)
    elif now is not None and status == "expired":
        where.add("(status = 'expired' OR status = 'active' AND ends_at <= %s)", now)
    else:
        where.add("status = %s", status)


def one(run: Run, license: str, *, now: int | None = None) -> dict[str, Any] | None:
    """Return a licence, with `now` as it stands at that instant, or None."""
    rows = run(f"{_SELECT} WHERE license = %s", (license,))
    items = [dict(zip(_SHOWN, row, strict=True)) for row in rows]
    return next(iter(_all_shown(run, items, now)), None)


def expiring(run: Run, *, before: int, after: str | None = None, limit: int = 100) -> Page:
    """Return active licences whose end, without grace, comes before an instant; nearest first.

    Those that live on by their grace are among them.
    """
    return _by_end(run, "expires_at", before, after, limit)


def ended(run: Run, *, at: int, after: str | None = None, limit: int = 100) -> Page:
    """Return active licences whose end, grace included, has come by an instant: to be booked."""
    return _by_end(run, "ends_at", at + 1, after, limit)


def _by_end(run: Run, column: str, before: int, after: str | None, limit: int) -> Page:
    """Return a page in order of an end; the cursor is `END LICENSE`."""
    where = Where()
    where.add(f"status = 'active' AND {column} < %s", before)
    if after is not None:
        where.add(f"({column}, license) > (%s, %s)", *_cursor(after))
    query = f"{_SELECT} {where} ORDER BY {column}, license"
    found = read_page(run, query, where.values, limit, _SHOWN, "license")
    following = None if found.next is None else f"{found.items[-1][column]} {found.next}"
    return Page(_all_shown(run, found.items, None), following)


def _cursor(after: str) -> tuple[int, str]:
    check_key_text("after", after)
    end, _, license = after.partition(" ")
    if not (end.isascii() and end.isdigit() and len(end) <= len(str(NEVER)) and license):
        raise Invalid.because("after", after, "a cursor that a page of these licences gave")
    return int(end), license


def in_countries(
    run: Run, countries: Collection[str], *, after: str | None = None, limit: int = 100
) -> Page:
    """Return, in order of id, licences that an export list with these countries concerns.

    Their policy asks for a country, they are neither suspended nor revoked, and a device on which
    they are active was activated in one of these.
    """
    where = Where()
    where.add("screened AND status = ANY(%s)", ["active", "expired"])
    where.add("license > %s", after)
    query = f"{_IN_COUNTRIES} {where} ORDER BY license"
    values = [[*countries], *where.values]
    return read_page(run, query, values, limit, ("license", "customer", "country"), "license")


def _all_shown(run: Run, rows: list[dict[str, Any]], now: int | None) -> list[dict[str, Any]]:
    used = uses(run, [row["license"] for row in rows])
    return [_shown(row, used[row["license"]], now) for row in rows]


_FROM_STATE = (
    *("customer", "since", "reason", "deployment", "policy_version", "reference"),
    *("issued_at", "starts_at", "expires_at", "maintenance_until"),
)


def _shown(row: dict[str, Any], used: LicenseUse, now: int | None) -> dict[str, Any]:
    """Return a licence as it travels; what it does not have is left out."""
    state, ends_at = json.loads(row["state"]), row["ends_at"]
    shown = {name: row[name] for name in ("position", "updated", "license", "status")}
    shown |= {name: state[name] for name in _FROM_STATE}
    if ends_at is not None:
        shown["ends_at"] = format_instant(min(ends_at, INSTANT_MAX))
        if now is not None and row["status"] == "active" and ends_at <= now:
            shown.update(status="expired", since=shown["ends_at"])
    shown["template"] = state["policy_version"].rsplit(":", 2)[0]
    shown["last_used_at"] = None if not used.last_used else max(used.last_used.values())
    shown |= {"admitted": used.admitted, "denied": used.denied}
    shown["keys"] = [
        _present(
            hint=key["hint"], ends_at=key["ends_at"], last_used_at=used.last_used.get(key["hash"])
        )
        for key in state["keys"]
    ]
    return _present(**{**shown, "reason": shown["reason"] or None})


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
