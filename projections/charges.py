"""Charges: one row for each, with its price version, its inputs, and who paid."""

from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from tollbook.amounts import format_micro
from tollbook.times import format_instant

from application.following import Followed
from domain.customer import Customer
from domain.event import Event
from domain.events import ReservationSettled, UsageCharged
from domain.inferences import InferencesSettled, apart
from domain.units import MEASURED, Quantities
from projections.copying import NULL, copy_lines, field, in_one_piece
from projections.model import Change, Connection, Run, Wanted
from projections.paging import Page, Where, checked_day, place_of, read_places

CHARGES = frozenset[type[Event]]({InferencesSettled, ReservationSettled, UsageCharged})
"""The events that charge usage."""

UNIT_COLUMNS = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "pages",
    "images",
    "gpu_seconds",
    "compute_units",
)
"""Every unit has a column of its own, in the order of the contract; NULL is a unit not named."""

_COLUMNS = (
    "position, recorded_at, occurred_at, volume, requests, input_tokens, cached_input_tokens, "
    "output_tokens, pages, images, price_version, day, charged, from_balance, receivable, "
    "gpu_seconds, compute_units, customer, currency, model, period, price_book, reservation, "
    "source, id, license, request_hash, response_hash, line"
)

_COUNTS = tuple(unit for unit in UNIT_COLUMNS if unit not in MEASURED)
_DAY = 86_400_000_000


class Charges:
    """The read model of charges."""

    NAME = "charges"
    VERSION = 2
    EVENTS: Wanted = CHARGES
    # Columns stand widest first, so that no row carries padding.
    TABLES = """
CREATE TABLE charges (
    position            bigint NOT NULL,
    recorded_at         bigint NOT NULL,
    occurred_at         bigint NOT NULL,
    volume              bigint NOT NULL,   -- tokens of the model in the period before this charge
    requests            bigint,
    input_tokens        bigint,
    cached_input_tokens bigint,
    output_tokens       bigint,
    pages               bigint,
    images              bigint,
    price_version       bigint NOT NULL,
    day                 date   NOT NULL,   -- of occurred_at, in the customer's zone
    charged             numeric(38, 12) NOT NULL,
    from_balance        numeric(38, 12) NOT NULL,
    receivable          numeric(38, 12) NOT NULL,
    gpu_seconds         numeric(38, 6),
    compute_units       numeric(38, 6),
    customer            text NOT NULL,
    currency            text NOT NULL,
    model               text NOT NULL,
    period              text NOT NULL,
    price_book          text NOT NULL,
    reservation         text,
    source              text,
    id                  text NOT NULL,
    license             text,
    request_hash        text,
    response_hash       text,
    line                smallint NOT NULL,   -- of its event, which may tell several; from 1
    CONSTRAINT charges_position PRIMARY KEY (position, line)
);
CREATE INDEX charges_of_customer ON charges (customer, position, line);
"""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._lines: list[str] = []

    def collect(self, change: Change) -> None:
        """Keep the row of a charge, or of each that an event tells."""
        terms = change.before.customer if change.before is not None else None
        assert terms is not None, "a charge has a customer who exists"
        charges = apart(change.recorded)
        self._lines += [_line(each, line, terms) for line, each in enumerate(charges, 1)]

    def write(self, connection: Connection) -> None:
        """Append the rows collected so far."""
        lines, self._lines = self._lines, []
        copy_lines(connection, "charges", _COLUMNS, lines)

    def discard(self) -> None:
        """Forget the rows collected so far."""
        self._lines = []

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process as one piece of text."""
        return {"_lines": in_one_piece(self._lines)}


def _line(recorded: Followed, line: int, terms: Customer) -> str:
    event: Any = recorded.event
    name = recorded.command if event.record is None else event.record
    return (
        f"{recorded.position}\t{recorded.recorded_at}\t{recorded.occurred_at}\t{event.volume}\t"
        f"{_counted(event.usage)}\t{event.price_version}\t"
        f"{local_day(recorded.occurred_at, terms.time_zone)}\t"
        f"{event.charged}e-12\t{event.from_balance}e-12\t{event.receivable}e-12\t"
        f"{_measured(event.usage)}\t{recorded.customer}\t{terms.currency}\t{event.model}\t"
        f"{event.period}\t{event.price_book}\t{_reservation(event)}\t{field(event.source)}\t"
        f"{field(name)}\t{event.license or NULL}\t{event.request_hash or NULL}\t"
        f"{event.response_hash or NULL}\t{line}\n"
    )


def _counted(usage: Quantities) -> str:
    """Write the units of `_COUNTS`; a loop over them takes twice as long."""
    of = usage.get
    return (
        f"{of('requests', NULL)}\t{of('input_tokens', NULL)}\t{of('cached_input_tokens', NULL)}\t"
        f"{of('output_tokens', NULL)}\t{of('pages', NULL)}\t{of('images', NULL)}"
    )


def _measured(usage: Quantities) -> str:
    if "gpu_seconds" not in usage and "compute_units" not in usage:
        return "\\N\t\\N"
    seconds, units = usage.get("gpu_seconds"), usage.get("compute_units")
    first = NULL if seconds is None else f"{seconds}e-6"
    return f"{first}\t{NULL if units is None else f'{units}e-6'}"


def _reservation(event: Event) -> str:
    return event.reservation if isinstance(event, ReservationSettled) else NULL


def local_day(instant: int, time_zone: str) -> str:
    """Return the day of an instant in a zone, as `YYYY-MM-DD`."""
    if time_zone == "UTC":
        return _utc_day(instant // _DAY)
    return datetime.fromtimestamp(instant // 1_000_000, ZoneInfo(time_zone)).date().isoformat()


@lru_cache(maxsize=4096)
def _utc_day(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, ZoneInfo("UTC")).date().isoformat()


_SHOWN = (
    "position",
    "line",
    "recorded_at",
    "occurred_at",
    "customer",
    "reservation",
    "source",
    "id",
    "model",
    "day",
    "period",
    "price_book",
    "price_version",
    "volume",
    "license",
    "request_hash",
    "response_hash",
    "currency",
    "charged",
    "from_balance",
    "receivable",
    *_COUNTS,
    "gpu_seconds",
    "compute_units",
)
_TEXTS = {
    "day": "to_char(day, 'YYYY-MM-DD')",
    "charged": "charged::text",
    "from_balance": "from_balance::text",
    "receivable": "receivable::text",
    "gpu_seconds": "(gpu_seconds * 1000000)::bigint",
    "compute_units": "(compute_units * 1000000)::bigint",
}
_FIELDS = ", ".join(_TEXTS.get(name, name) for name in _SHOWN)
_SELECT = f"SELECT {_FIELDS} FROM views.charges"  # noqa: S608 - our own names


def page(
    run: Run,
    *,
    customer: str | None = None,
    model: str | None = None,
    from_day: str | None = None,
    to_day: str | None = None,
    from_position: int | None = None,
    to_position: int | None = None,
    newest_first: bool = False,
    after: str | None = None,
    limit: int = 100,
) -> Page:
    """Return charges in order of position and line; days and positions are inclusive."""
    where = Where()
    where.add("customer = %s", customer)
    where.add("model = %s", model)
    where.add("day >= %s", checked_day("from_day", from_day))
    where.add("day <= %s", checked_day("to_day", to_day))
    where.add("position >= %s", from_position)
    where.add("position <= %s", to_position)
    if after is not None:
        compared = "<" if newest_first else ">"
        where.add(
            f"(position, line) {compared} (%s, %s)", *place_of(after, newest_first=newest_first)
        )
    order = "DESC" if newest_first else "ASC"
    query = f"{_SELECT} {where} ORDER BY position {order}, line {order}"
    found = read_places(run, query, where.values, limit, _SHOWN)
    return Page([_shown(row) for row in found.items], found.next)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a charge as it travels; what it does not have is left out."""
    currency = row.pop("currency")
    usage = {unit: row.pop(unit) for unit in UNIT_COLUMNS}
    for name in ("charged", "from_balance", "receivable"):
        row[name] = {"amount": row[name], "currency": currency}
    for name in ("recorded_at", "occurred_at"):
        row[name] = format_instant(row[name])
    row["usage"] = {
        unit: format_micro(quantity) if unit in MEASURED else quantity
        for unit, quantity in usage.items()
        if quantity is not None
    }
    return {name: value for name, value in row.items() if value is not None}
