"""Seats: every lease of a licence's seat, until when it lives, and how it ended.

A lease that nobody returned ends by itself at its expiry, on every read; revoking the licence ends
all that are live.
"""

from typing import Any, NamedTuple

from tollbook.times import format_instant

from application.following import Followed
from domain.license_events import LeaseRenewed, LicenseRevoked, SeatLeased, SeatReturned
from projections.arrays import numbers, texts
from projections.copying import copy_lines
from projections.model import Change, Connection, Run, Wanted
from projections.paging import Page, Where, read_page

_COLUMNS = (
    "position, updated, leased_at, expires_at, borrowed, license, lease, customer, model, holder"
)
_UPDATE = """
UPDATE seats AS kept SET updated = row.updated,
    expires_at = coalesce(row.expires_at, kept.expires_at), returned_at = row.returned_at
FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS row (lease, updated, expires_at, returned_at)
WHERE kept.lease = row.lease
"""
_REVOKE = """
UPDATE seats AS kept SET updated = row.updated, revoked_at = row.at
FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS row (license, updated, at)
WHERE kept.license = row.license AND kept.expires_at > row.at AND kept.returned_at IS NULL
"""


class _Step(NamedTuple):
    """What happened to a lease."""

    updated: int
    expires_at: int | None = None
    returned_at: int | None = None


class Seats:
    """The read model of leases."""

    NAME = "seats"
    VERSION = 1
    EVENTS: Wanted = frozenset({SeatLeased, LeaseRenewed, SeatReturned, LicenseRevoked})
    TABLES = """
CREATE TABLE seats (
    position    bigint  NOT NULL,   -- of the grant
    updated     bigint  NOT NULL,   -- position of what last happened to it
    leased_at   bigint  NOT NULL,
    expires_at  bigint  NOT NULL,   -- as the newest renewal says
    returned_at bigint,
    revoked_at  bigint,             -- when the licence was revoked while it was live
    borrowed    boolean NOT NULL,
    license     text COLLATE "C" NOT NULL,
    lease       text COLLATE "C" NOT NULL,
    customer    text NOT NULL,
    model       text NOT NULL,
    holder      text NOT NULL,      -- the public key that the lease is bound to
    CONSTRAINT seats_lease PRIMARY KEY (lease)
) WITH (fillfactor = 80);
CREATE INDEX seats_of_license ON seats (license, position);
CREATE INDEX seats_by_expiry ON seats (license, expires_at);
"""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._lines: list[str] = []
        self._steps: dict[str, _Step] = {}
        self._revoked: list[tuple[str, int, int]] = []

    def collect(self, change: Change) -> None:
        """Keep a lease, or note what happened to one, or to all of a licence."""
        recorded = change.recorded
        event = recorded.event
        if isinstance(event, SeatLeased):
            self._lines.append(_line(recorded, event))
        elif isinstance(event, LeaseRenewed):
            self._steps[event.lease] = _Step(recorded.position, event.expires_at)
        elif isinstance(event, SeatReturned):
            step = self._steps.get(event.lease, _Step(0))
            self._steps[event.lease] = _Step(
                recorded.position, step.expires_at, recorded.recorded_at
            )
        elif isinstance(event, LicenseRevoked):
            self._revoked.append((event.license, recorded.position, recorded.recorded_at))

    def write(self, connection: Connection) -> None:
        """Append the leases granted since, then bring them and the older ones up to date.

        A revocation comes last: no lease of that licence begins or goes on after it.
        """
        lines, steps, revoked = self._lines, self._steps, self._revoked
        self.discard()
        copy_lines(connection, "seats", _COLUMNS, lines)
        if steps:
            columns = zip(*steps.values(), strict=True)
            connection.execute(_UPDATE, (texts(steps), *map(numbers, columns)))
        if revoked:
            names, positions, times = zip(*revoked, strict=True)
            connection.execute(_REVOKE, (texts(names), numbers(positions), numbers(times)))

    def discard(self) -> None:
        """Forget what was collected so far."""
        self._lines, self._steps, self._revoked = [], {}, []


def _line(recorded: Followed, event: SeatLeased) -> str:
    position, at = recorded.position, recorded.recorded_at
    borrowed = "f" if event.borrow_seconds is None else "t"
    return (
        f"{position}\t{position}\t{at}\t{event.expires_at}\t{borrowed}\t{event.license}\t"
        f"{event.lease}\t{event.customer}\t{event.model}\t{event.holder}\n"
    )


_SHOWN = (
    *("position", "updated", "license", "lease", "customer", "model", "holder", "borrowed"),
    *("leased_at", "expires_at", "returned_at", "revoked_at"),
)
_TIMES = ("leased_at", "expires_at", "returned_at", "revoked_at")
_SELECT = f"SELECT {', '.join(_SHOWN)} FROM views.seats"  # noqa: S608 - our own names


def page(
    run: Run,
    license: str,
    *,
    live_at: int | None = None,
    after: int | None = None,
    limit: int = 100,
) -> Page:
    """Return a licence's leases in order of their grant; with `live_at`, those that count.

    `live_at` is an instant that is no earlier than what the views hold: now, mostly.
    """
    where = Where()
    where.add("license = %s", license)
    where.add("expires_at > %s AND returned_at IS NULL AND revoked_at IS NULL", live_at)
    where.add("position > %s", after)
    query = f"{_SELECT} {where} ORDER BY position"
    found = read_page(run, query, where.values, limit, _SHOWN, "position")
    return Page([_shown(row) for row in found.items], found.next)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a lease as it travels; what it does not have is left out."""
    for name in _TIMES:
        row[name] = None if row[name] is None else format_instant(row[name])
    return {name: value for name, value in row.items() if value is not None}
