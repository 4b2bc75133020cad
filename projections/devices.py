"""Devices: every machine that a licence was activated on, and when it gave its place up."""

import json
from typing import Any

from tollbook.errors import Invalid
from tollbook.times import format_instant

from application.following import Followed
from domain.facts import facts_to_wire
from domain.license_events import LicenseActivated, LicenseDeactivated
from projections.arrays import numbers, texts
from projections.copying import copy_lines, field
from projections.model import Change, Connection, Run, Wanted
from projections.paging import Page, Where, read_page

STATUSES = ("active", "deactivated")

_COLUMNS = "position, activated_at, license, device, customer, holder, country, components, facts"
_DEACTIVATE = """
UPDATE devices AS kept SET deactivated_at = row.at
FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS row (license, device, at)
WHERE kept.license = row.license AND kept.device = row.device
"""


class Devices:
    """The read model of devices."""

    NAME = "devices"
    VERSION = 1
    EVENTS: Wanted = frozenset({LicenseActivated, LicenseDeactivated})
    TABLES = """
CREATE TABLE devices (
    position       bigint NOT NULL,   -- of its activation
    activated_at   bigint NOT NULL,
    deactivated_at bigint,            -- NULL while it is active
    license        text COLLATE "C" NOT NULL,
    device         text NOT NULL,
    customer       text NOT NULL,
    holder         text,              -- the public key that its leases are bound to
    country        text,              -- as the activation said, in capital letters
    components     text NOT NULL,     -- the names of its hardware components: JSON
    facts          text NOT NULL,     -- of the activation: JSON
    CONSTRAINT devices_of_license PRIMARY KEY (license, position)
);
"""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._lines: list[str] = []
        self._deactivated: list[tuple[str, str, int]] = []

    def collect(self, change: Change) -> None:
        """Keep an activation, or note that a machine gave its place up."""
        recorded = change.recorded
        event = recorded.event
        if isinstance(event, LicenseActivated):
            self._lines.append(_line(recorded, event))
        elif isinstance(event, LicenseDeactivated):
            self._deactivated.append((event.license, event.device, recorded.recorded_at))

    def write(self, connection: Connection) -> None:
        """Append the machines activated since, then mark those that gave their place up."""
        lines, deactivated = self._lines, self._deactivated
        self.discard()
        copy_lines(connection, "devices", _COLUMNS, lines)
        if deactivated:
            licenses, devices, times = zip(*deactivated, strict=True)
            connection.execute(_DEACTIVATE, (texts(licenses), texts(devices), numbers(times)))

    def discard(self) -> None:
        """Forget what was collected so far."""
        self._lines, self._deactivated = [], []


def _line(recorded: Followed, event: LicenseActivated) -> str:
    facts = event.facts or {}
    country = facts["country"].value.upper() if "country" in facts else None
    own = (event.license, event.device, event.customer, event.holder, country)
    rest = (json.dumps(sorted(event.components or {})), json.dumps(facts_to_wire(facts)))
    fields = "\t".join([field(text) for text in (*own, *rest)])
    return f"{recorded.position}\t{recorded.recorded_at}\t{fields}\n"


_SHOWN = (
    *("position", "license", "device", "customer", "activated_at", "deactivated_at"),
    *("holder", "components", "facts"),
)
_SELECT = f"SELECT {', '.join(_SHOWN)} FROM views.devices"  # noqa: S608 - our own names


def page(
    run: Run, license: str, *, status: str | None = None, after: int | None = None, limit: int = 100
) -> Page:
    """Return a licence's machines in order of activation; `status` is `active` or not."""
    if status is not None and status not in STATUSES:
        raise Invalid.because("status", status, f"one of {', '.join(STATUSES)}")
    where = Where()
    where.add("license = %s", license)
    where.add("position > %s", after)
    if status is not None:
        where.add(f"deactivated_at IS {'' if status == 'active' else 'NOT '}NULL")
    query = f"{_SELECT} {where} ORDER BY position"
    found = read_page(run, query, where.values, limit, _SHOWN, "position")
    return Page([_shown(row) for row in found.items], found.next)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a machine as it travels; what it does not have is left out."""
    row["status"] = "active" if row["deactivated_at"] is None else "deactivated"
    row["components"], row["facts"] = json.loads(row["components"]), json.loads(row["facts"])
    for name in ("activated_at", "deactivated_at"):
        row[name] = None if row[name] is None else format_instant(row[name])
    return {name: value for name, value in row.items() if value is not None}
