"""Decisions under licences: what was admitted and what was denied, and when keys were last used.

The table only leads from a licence to its decisions. What each of them said stands in the log, and
so does the hash of the response, which comes with the settlement: nothing is written twice.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tollbook.errors import Invalid
from tollbook.times import format_instant

from application.license_answers import decision_result, denial_facts
from domain.event import Event
from domain.events import CommandRefused, ReservationExtended, ReservationHeld
from domain.license_events import LeaseRenewed, LicenseValidated, SeatLeased
from projections.arrays import numbers, texts
from projections.copying import NULL, copy_lines, in_one_piece
from projections.model import Change, Connection, Run, Wanted
from projections.paging import Page, Where, read_page

STATUSES = ("admitted", "denied")

NO_KEY = ""
"""Stands for the key of a decision that no key asked for."""

_UPSERT = """
INSERT INTO license_uses AS kept (last_used_at, admitted, denied, license, key)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[])
ON CONFLICT (license, key) DO UPDATE SET
    last_used_at = greatest(kept.last_used_at, excluded.last_used_at),
    admitted = kept.admitted + excluded.admitted, denied = kept.denied + excluded.denied
"""


class _Asked(NamedTuple):
    """Which licence was asked, by which key, and the code of a denial."""

    license: str
    key: str = NO_KEY
    code: str | None = None


class _Use(NamedTuple):
    """What a batch adds to a licence and key."""

    last_used_at: int | None = None
    admitted: int = 0
    denied: int = 0


def _held(event: ReservationHeld, _change: Change) -> _Asked | None:
    return None if event.license is None else _Asked(event.license, event.license_key or NO_KEY)


def _extended(event: ReservationExtended, change: Change) -> _Asked | None:
    hold = None if change.before is None else change.before.holds.get(event.reservation)
    return None if hold is None or hold.license is None else _Asked(hold.license)


def _by_key(event: LicenseValidated | SeatLeased, _change: Change) -> _Asked:
    return _Asked(event.license, event.license_key or NO_KEY)


def _renewed(event: LeaseRenewed, _change: Change) -> _Asked:
    return _Asked(event.license)


def _refused(event: CommandRefused, _change: Change) -> _Asked | None:
    if not event.code.startswith("license_"):
        return None
    return _Asked(event.facts["license"], NO_KEY, event.code)


_READS: dict[type[Event], Callable[[Any, Change], _Asked | None]] = {
    ReservationHeld: _held,
    ReservationExtended: _extended,
    LicenseValidated: _by_key,
    SeatLeased: _by_key,
    LeaseRenewed: _renewed,
    CommandRefused: _refused,
}


class Decisions:
    """The read model of decisions under licences."""

    NAME = "decisions"
    VERSION = 1
    EVENTS: Wanted = frozenset(_READS)
    TABLES = """
CREATE TABLE license_decisions (
    position bigint NOT NULL,
    license  text COLLATE "C" NOT NULL,
    code     text,                      -- of a denial; NULL when it was admitted
    CONSTRAINT license_decisions_of_license PRIMARY KEY (license, position)
);
CREATE TABLE license_uses (
    last_used_at bigint,                -- NULL until something is admitted
    admitted     bigint NOT NULL,
    denied       bigint NOT NULL,
    license      text COLLATE "C" NOT NULL,
    key          text COLLATE "C" NOT NULL,   -- keyed hash; empty where none was given
    CONSTRAINT license_uses_of_key PRIMARY KEY (license, key)
) WITH (fillfactor = 50);
"""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._lines: list[str] = []
        self._uses: dict[tuple[str, str], _Use] = {}

    def collect(self, change: Change) -> None:
        """Keep where a decision stands, and count it; without a licence, there is none."""
        recorded = change.recorded
        asked = _READS[type(recorded.event)](recorded.event, change)
        if asked is None:
            return
        license, key, code = asked
        used = self._uses.get((license, key), _Use())
        if code is None:
            used = _Use(recorded.recorded_at, used.admitted + 1, used.denied)
        else:
            used = used._replace(denied=used.denied + 1)
        self._uses[license, key] = used
        self._lines.append(f"{recorded.position}\t{license}\t{code or NULL}\n")

    def write(self, connection: Connection) -> None:
        """Append the decisions taken since, and add up the uses."""
        lines, used = self._lines, self._uses
        self.discard()
        copy_lines(connection, "license_decisions", "position, license, code", lines)
        if used:
            columns = zip(*used.values(), strict=True)
            names = zip(*used, strict=True)
            parameters = (*map(numbers, columns), *map(texts, names))
            connection.execute(_UPSERT, parameters)

    def discard(self) -> None:
        """Forget what was collected so far."""
        self._lines, self._uses = [], {}

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process with its lines as one piece of text."""
        return {**self.__dict__, "_lines": in_one_piece(self._lines)}


class LicenseUse(NamedTuple):
    """How often a licence was asked, and when each of its keys was last of use."""

    admitted: int
    denied: int
    last_used: dict[str, str]
    """Keyed hash, or NO_KEY, to the time of what it admitted last."""


_USES = """
SELECT license, key, last_used_at, admitted, denied FROM views.license_uses
WHERE license = ANY(%s::text[])
"""


def uses(run: Run, licenses: Sequence[str]) -> dict[str, LicenseUse]:
    """Return the use of each of these licences."""
    found = {name: LicenseUse(0, 0, {}) for name in licenses}
    for name, key, last_used_at, admitted, denied in run(_USES, (list(licenses),)):
        used = found[name]
        if last_used_at is not None:
            used.last_used[key] = format_instant(last_used_at)
        found[name] = LicenseUse(used.admitted + admitted, used.denied + denied, used.last_used)
    return found


_DECIDED = "SELECT position, code FROM views.license_decisions"
_EVENTS = """
SELECT position, name, stream, command, customer, recorded_at, data FROM events
WHERE position = ANY(%s::bigint[])
"""
_SETTLED = """
SELECT DISTINCT ON (stream) stream, data FROM events
WHERE stream = ANY(%s::text[]) AND name = 'reservation_settled'
ORDER BY stream, stream_version DESC
"""
_HELD = "reservation_held"
_KINDS = {
    _HELD: "reserve",
    "reservation_extended": "extend",
    "license_validated": "validate_license",
    "seat_leased": "lease_seat",
    "lease_renewed": "renew_lease",
}
_OF_REQUEST = ("model", "reservation", "lease", "request_hash")


def page(
    run: Run,
    license: str,
    *,
    status: str | None = None,
    code: str | None = None,
    after: int | None = None,
    limit: int = 100,
) -> Page:
    """Return a licence's decisions, newest first; `status` is `admitted` or `denied`."""
    if status is not None and status not in STATUSES:
        raise Invalid.because("status", status, f"one of {', '.join(STATUSES)}")
    where = Where()
    where.add("license = %s", license)
    where.add("code = %s", code)
    where.add("position < %s", after)
    condition = f" AND code IS {'' if status == 'admitted' else 'NOT '}NULL" if status else ""
    query = f"{_DECIDED} {where}{condition} ORDER BY position DESC"
    found = read_page(run, query, where.values, limit, ("position", "code"), "position")
    return Page(_shown(run, license, [item["position"] for item in found.items]), found.next)


def _shown(run: Run, license: str, positions: list[int]) -> list[dict[str, Any]]:
    """Return decisions as they travel, from the log; what one does not have is left out."""
    events = {row[0]: row for row in run(_EVENTS, (positions,))} if positions else {}
    settled = _settled(run, [row[2] for row in events.values() if row[1] == _HELD])
    items = []
    for position in positions:
        _, name, stream, command, customer, recorded_at, data = events[position]
        said = json.loads(data)
        item = {
            "position": position,
            "recorded_at": format_instant(recorded_at),
            "license": license,
            "customer": customer,
            "kind": _KINDS.get(name) or said["kind"],
            "id": command,
        }
        if name == _HELD and "inferences" not in said:  # of several, each charge has its own
            item |= settled.get(stream, {})
        items.append(item | (_denied(said) if name == "command_refused" else _admitted(said)))
    return items


def _settled(run: Run, reservations: list[str]) -> dict[str, dict[str, Any]]:
    """Return the hashes that came with the newest settlement of each of these reservations."""
    found = run(_SETTLED, (reservations,)) if reservations else []
    hashes = ("request_hash", "response_hash")
    return {
        stream: {name: said[name] for name in hashes if name in said}
        for stream, said in ((stream, json.loads(data)) for stream, data in found)
    }


def _admitted(said: dict[str, Any]) -> dict[str, Any]:
    decision = {} if "decision" not in said else decision_result(said["decision"])
    return {"status": "admitted", **_of_request(said), **decision}


def _denied(said: dict[str, Any]) -> dict[str, Any]:
    facts = denial_facts(said["code"], said["facts"])
    why = {"code": said["code"], "detail": said["detail"], **facts}
    version = {"policy_version": said["facts"]["policy_version"]}
    return {"status": "denied", **_of_request(said["body"]), **version, "why": why}


def _of_request(said: dict[str, Any]) -> dict[str, Any]:
    return {name: said[name] for name in _OF_REQUEST if said.get(name) is not None}
