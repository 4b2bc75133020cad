"""Reservations: one row each, from the hold to the final outcome.

A hold counts until the instant it expires, on every read: an open reservation whose time has
passed reads as expired and holds nothing, whether or not an event has booked that yet.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tollbook.amounts import format_pico, parse_pico
from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.balance import Balance
from domain.events import (
    HoldsExpired,
    ReservationExtended,
    ReservationHeld,
    ReservationReleased,
    ReservationSettled,
)
from domain.inferences import InferencesSettled, facts_of
from projections.arrays import money, numbers, texts
from projections.copying import NULL, copy_lines, field, in_one_piece
from projections.model import Change, Connection, Run, Wanted
from projections.paging import Page, Where, read_page

_CONCERNED: Wanted = frozenset(
    {ReservationHeld, ReservationExtended, ReservationSettled, InferencesSettled}
    | {ReservationReleased, HoldsExpired}
)

STATUSES = ("open", "expired", "settled", "released")

_COLUMNS = (
    "position, updated, opened_at, expires_at, closed_at, held, charged, released, "
    "customer, reservation, model, currency, status, license, closed_by"
)
_UPDATE = """
UPDATE reservations AS kept SET
    updated = row.updated, held = row.held, charged = kept.charged + row.charged,
    released = kept.released + row.released, status = coalesce(row.status, kept.status),
    expires_at = coalesce(row.expires_at, kept.expires_at),
    closed_at = row.closed_at, closed_by = row.closed_by
FROM unnest(%s::text[], %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::text[],
        %s::bigint[], %s::bigint[], %s::text[])
    AS row (reservation, updated, held, charged, released, status, expires_at, closed_at, closed_by)
WHERE kept.reservation = row.reservation
"""


class _Step(NamedTuple):
    """What an event, or several, did to a reservation; amounts in 10^-12."""

    updated: int
    held: int
    """What is held now."""
    charged: int = 0
    """What was charged on top."""
    released: int = 0
    """What went back without usage, on top."""
    status: str | None = None
    expires_at: int | None = None
    closed_at: int | None = None
    closed_by: str | None = None

    def then(self, later: "_Step") -> "_Step":
        """Return both steps as one."""
        return _Step(
            later.updated,
            later.held,
            self.charged + later.charged,
            self.released + later.released,
            later.status or self.status,
            later.expires_at or self.expires_at,
            later.closed_at or self.closed_at,
            later.closed_by or self.closed_by,
        )


class _Opening(NamedTuple):
    """What a reservation has from its hold on; an outcome in the same batch replaces the rest."""

    position: int
    opened_at: int
    customer: str
    model: str
    currency: str
    license: str | None
    held: int
    expires_at: int


class Reservations:
    """The read model of reservations."""

    NAME = "reservations"
    VERSION = 1
    EVENTS: Wanted = _CONCERNED
    # Pages keep room, so that most updates stay where they are.
    TABLES = """
CREATE TABLE reservations (
    position    bigint NOT NULL,   -- of its hold
    updated     bigint NOT NULL,   -- position of what last happened to it
    opened_at   bigint NOT NULL,
    expires_at  bigint NOT NULL,
    closed_at   bigint,
    held        numeric(38, 12) NOT NULL,
    charged     numeric(38, 12) NOT NULL,
    released    numeric(38, 12) NOT NULL,
    customer    text NOT NULL,
    reservation text NOT NULL,
    model       text NOT NULL,
    currency    text NOT NULL,
    status      text NOT NULL,
    license     text,
    closed_by   text,              -- the command that settled it finally, or released it
    CONSTRAINT reservations_name PRIMARY KEY (reservation)
) WITH (fillfactor = 80);
CREATE INDEX reservations_in_order ON reservations (position);
CREATE INDEX reservations_open ON reservations (position) WHERE status = 'open';
CREATE INDEX reservations_of_customer ON reservations (customer, position);
"""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._opened: dict[str, _Opening] = {}
        self._steps: dict[str, _Step] = {}
        self._rows: _Rows | None = None

    def collect(self, change: Change) -> None:
        """Note what an event did to a reservation, or to several whose holds ran out."""
        event: Any = change.recorded.event
        if type(event) is ReservationHeld:
            terms = change.after.customer if change.after is not None else None
            assert terms is not None, "a reservation has a customer who exists"
            told = (event.model, terms.currency, event.license, event.held, event.expires_at)
            position, at = change.recorded.position, change.recorded.recorded_at
            self._opened[event.reservation] = _Opening(position, at, terms.id, *told)
        elif type(event) is HoldsExpired:
            for name, amount in event.holds:
                self._add(name, _Step(change.recorded.position, 0, 0, amount, "expired"))
        else:
            self._add(event.reservation, _step(change))

    def _add(self, name: str, step: _Step) -> None:
        before = self._steps.get(name)
        self._steps[name] = step if before is None else before.then(step)

    def write(self, connection: Connection) -> None:
        """Append the reservations opened since, and bring the older ones up to date."""
        lines, updates = self._rows or self._finished()
        self.discard()
        copy_lines(connection, "reservations", _COLUMNS, lines)
        if updates:
            # By the index, however large the table: each name is one probe.
            connection.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
            connection.execute(_UPDATE, updates)

    def discard(self) -> None:
        """Forget what was collected so far."""
        self._opened, self._steps, self._rows = {}, {}, None

    def _finished(self) -> "_Rows":
        opened, steps = self._opened, self._steps
        lines = [_line(name, opening, steps.get(name)) for name, opening in opened.items()]
        older = {name: step for name, step in steps.items() if name not in opened}
        return in_one_piece(lines), _columns(older) if older else ()

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process as finished rows, which are less to carry."""
        return {**Reservations().__dict__, "_rows": self._finished()}


_Rows = tuple[list[str], Sequence[str]]
"""The lines of reservations opened since, and the columns of what happened to older ones."""


def _columns(steps: dict[str, _Step]) -> list[str]:
    columns = list(zip(*steps.values(), strict=True))
    return [
        texts(steps),
        numbers(columns[0]),
        *(money(column) for column in columns[1:4]),
        texts(columns[4]),
        numbers(columns[5]),
        numbers(columns[6]),
        texts(columns[7]),
    ]


def _step(change: Change) -> _Step:
    """Return what an event did to its one reservation; a closed one holds nothing any more."""
    recorded = change.recorded
    event: Any = recorded.event
    position, at, command = recorded.position, recorded.recorded_at, recorded.command
    if isinstance(event, ReservationReleased):
        return _Step(position, 0, 0, event.released, "released", None, at, command)
    if isinstance(event, ReservationExtended):
        return _Step(position, event.held, 0, 0, None, event.expires_at)
    if isinstance(event, ReservationSettled) and event.final:
        return _Step(position, 0, event.charged, event.released, "settled", None, at, command)
    told: Any = facts_of(event)
    charged = sum(fact.charged for fact in told)
    return _Step(position, _held(change.after, event.reservation), charged)


def _held(balance: Balance | None, name: str) -> int:
    hold = balance.holds.get(name) if balance is not None else None
    return 0 if hold is None else hold.amount


def _line(name: str, opening: _Opening, step: _Step | None) -> str:
    position, opened_at, customer, model, currency, license, held, until = opening
    if step is None:
        step = _Step(position, held)
    updated, held, charged, released, status, later, closed_at, closed_by = step
    closing = NULL if closed_at is None else closed_at
    return (
        f"{position}\t{updated}\t{opened_at}\t{later or until}\t"
        f"{closing}\t{held}e-12\t{charged}e-12\t{released}e-12\t"
        f"{customer}\t{name}\t{model}\t{currency}\t{status or 'open'}\t"
        f"{license or NULL}\t{field(closed_by)}\n"
    )


_SHOWN = (
    "position",
    "updated",
    "reservation",
    "customer",
    "model",
    "license",
    "status",
    "opened_at",
    "expires_at",
    "closed_at",
    "closed_by",
    "held",
    "charged",
    "released",
    "currency",
)
_TEXTS = {name: f"{name}::text" for name in ("held", "charged", "released")}
_FIELDS = ", ".join(_TEXTS.get(name, name) for name in _SHOWN)
_SELECT = f"SELECT {_FIELDS} FROM views.reservations"  # noqa: S608 - our own names


def page(
    run: Run,
    *,
    now: int,
    customer: str | None = None,
    model: str | None = None,
    status: str | None = None,
    newest_first: bool = False,
    after: int | None = None,
    limit: int = 100,
) -> Page:
    """Return reservations in order of their holds, as they stand at an instant."""
    where = Where()
    where.add("customer = %s", customer)
    where.add("model = %s", model)
    where.add("position < %s" if newest_first else "position > %s", after)
    if status == "open":
        where.add("status = 'open' AND expires_at > %s", now)
    elif status == "expired":
        where.add("(status = 'expired' OR status = 'open' AND expires_at <= %s)", now)
    elif status is not None:
        where.add("status = %s", checked_status(status))
    query = f"{_SELECT} {where} ORDER BY position {'DESC' if newest_first else 'ASC'}"
    found = read_page(run, query, where.values, limit, _SHOWN, "position")
    return Page([_shown(row, now) for row in found.items], found.next)


def checked_status(status: str) -> str:
    """Return a status that a reservation may have, or raise Invalid."""
    if status not in STATUSES:
        raise Invalid.because("status", status, f"one of {', '.join(STATUSES)}")
    return status


def one(run: Run, reservation: str, *, now: int) -> dict[str, Any] | None:
    """Return a reservation as it stands at an instant, or None."""
    rows = run(f"{_SELECT} WHERE reservation = %s", (reservation,))
    return _shown(dict(zip(_SHOWN, rows[0], strict=True)), now) if rows else None


def _shown(row: dict[str, Any], now: int) -> dict[str, Any]:
    """Return a reservation as it travels; what it does not have is left out."""
    currency = row.pop("currency")
    if row["status"] == "open" and row["expires_at"] <= now:
        returned = parse_pico(row["released"]) + parse_pico(row["held"])
        row.update(status="expired", held=format_pico(0), released=format_pico(returned))
    for name in ("held", "charged", "released"):
        row[name] = {"amount": row[name], "currency": currency}
    for name in ("opened_at", "expires_at", "closed_at"):
        row[name] = None if row[name] is None else format_instant(row[name])
    return {name: value for name, value in row.items() if value is not None}
