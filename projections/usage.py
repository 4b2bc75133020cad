"""Usage: what each customer used of each model on each day, and what it cost.

A day is one of the customer's own zone, by when the usage occurred; the zone is the one in force
when the charge was recorded.
"""

from typing import Any

from tollbook.amounts import format_micro
from tollbook.errors import Invalid

from application.following import Followed
from domain.customer import Customer
from domain.inferences import apart
from domain.units import MEASURED
from domain.values import check_key_text
from projections.arrays import money, numbers, texts
from projections.charges import CHARGES, UNIT_COLUMNS, local_day
from projections.model import Change, Connection, Run, Wanted
from projections.paging import Page, Where, checked_day, checked_limit

_AMOUNTS = ("charged", "from_balance", "receivable")
_COUNTS = tuple(unit for unit in UNIT_COLUMNS if unit not in MEASURED)
_SUMS = ("charges", *_COUNTS, "gpu_seconds", "compute_units", *_AMOUNTS)
_ADDED = ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in _SUMS)
_UPSERT = f"""
INSERT INTO usage AS kept (customer, model, day, currency, {", ".join(_SUMS)})
SELECT * FROM unnest(%s::text[], %s::text[], %s::date[], %s::text[], %s::bigint[]
    {", %s::numeric[]" * (len(_SUMS) - 1)})
ON CONFLICT (customer, model, day) DO UPDATE SET {_ADDED}
"""  # noqa: S608 - our own names

_Key = tuple[str, str, str]
"""Customer, model, day."""


class Usage:
    """The read model of usage by customer, model and day."""

    NAME = "usage"
    VERSION = 1
    EVENTS: Wanted = CHARGES
    # Sums of counts are NUMERIC: nothing bounds how often a day's largest record may come.
    TABLES = """
CREATE TABLE usage (
    charges             bigint NOT NULL,
    day                 date   NOT NULL,
    charged             numeric(38, 12) NOT NULL,
    from_balance        numeric(38, 12) NOT NULL,
    receivable          numeric(38, 12) NOT NULL,
    requests            numeric(38, 0)  NOT NULL,
    input_tokens        numeric(38, 0)  NOT NULL,
    cached_input_tokens numeric(38, 0)  NOT NULL,
    output_tokens       numeric(38, 0)  NOT NULL,
    pages               numeric(38, 0)  NOT NULL,
    images              numeric(38, 0)  NOT NULL,
    gpu_seconds         numeric(38, 6)  NOT NULL,
    compute_units       numeric(38, 6)  NOT NULL,
    customer            text COLLATE "C" NOT NULL,
    model               text COLLATE "C" NOT NULL,
    currency            text NOT NULL,
    CONSTRAINT usage_of_day PRIMARY KEY (customer, model, day)
) WITH (fillfactor = 70);   -- today's rows are updated in place
"""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._sums: dict[_Key, list[int]] = {}
        self._currencies: dict[str, str] = {}

    def collect(self, change: Change) -> None:
        """Add a charge to its day, or each that an event tells."""
        terms = change.before.customer if change.before is not None else None
        assert terms is not None, "a charge has a customer who exists"
        for each in apart(change.recorded):
            self._add(each, terms)

    def _add(self, recorded: Followed, terms: Customer) -> None:
        event: Any = recorded.event
        key = (terms.id, event.model, local_day(recorded.occurred_at, terms.time_zone))
        used = [(_PLACE[unit], quantity) for unit, quantity in event.usage.items()]
        self._currencies[terms.id] = terms.currency
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = [0] * len(_SUMS)
        sums[0] += 1
        sums[-3] += event.charged
        sums[-2] += event.from_balance
        sums[-1] += event.receivable
        for place, quantity in used:
            sums[place] += quantity

    def write(self, connection: Connection) -> None:
        """Add the sums collected so far to their days."""
        collected, currencies = self._sums, self._currencies
        self.discard()
        if not collected:
            return
        columns = list(zip(*collected.values(), strict=True))
        measured = len(_SUMS) - len(_AMOUNTS) - len(MEASURED)
        parameters = [
            *(texts(key[part] for key in collected) for part in range(3)),
            texts(currencies[key[0]] for key in collected),
            *(numbers(column) for column in columns[:measured]),
            *(_micro(column) for column in columns[measured : -len(_AMOUNTS)]),
            *(money(column) for column in columns[-len(_AMOUNTS) :]),
        ]
        connection.execute(_UPSERT, parameters)

    def discard(self) -> None:
        """Forget the sums collected so far."""
        self._sums, self._currencies = {}, {}


_PLACE = {unit: _SUMS.index(unit) for unit in UNIT_COLUMNS}


def _micro(values: tuple[int, ...]) -> str:
    return "{" + ",".join([f"{value}e-6" for value in values]) + "}"


_SHOWN = ("customer", "model", "day", "currency", *_SUMS)
_SELECT = f"""
SELECT customer, model, to_char(day, 'YYYY-MM-DD'), currency, charges,
    {", ".join(f"{unit}::text" for unit in _COUNTS)},
    (gpu_seconds * 1000000)::text, (compute_units * 1000000)::text,
    {", ".join(f"{name}::text" for name in _AMOUNTS)}
FROM views.usage
"""  # noqa: S608 - our own names


def page(
    run: Run,
    *,
    customer: str | None = None,
    model: str | None = None,
    from_day: str | None = None,
    to_day: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page:
    """Return days of usage in order of customer, model and day; days are inclusive.

    The cursor is the three together, `CUSTOMER MODEL DAY`, none of which holds a space.
    """
    where = Where()
    where.add("customer = %s", customer)
    where.add("model = %s", model)
    where.add("day >= %s", checked_day("from_day", from_day))
    where.add("day <= %s", checked_day("to_day", to_day))
    if after is not None:
        where.add("(customer, model, day) > (%s, %s, %s::date)", *_cursor(after))
    query = f"{_SELECT} {where} ORDER BY customer, model, day LIMIT %s"
    rows = run(query, (*where.values, checked_limit(limit) + 1))
    items = [_shown(dict(zip(_SHOWN, row, strict=True))) for row in rows[:limit]]
    follows = len(rows) > limit
    last = items[-1] if follows else {}
    return Page(items, f"{last['customer']} {last['model']} {last['day']}" if follows else None)


def _cursor(after: str) -> tuple[str, str, Any]:
    check_key_text("after", after)
    parts = after.split(" ")
    if len(parts) != 3:
        raise Invalid.because("after", after, "a cursor that a page of usage gave")
    return parts[0], parts[1], checked_day("after", parts[2])


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a day of usage as it travels; units of which nothing was used are left out."""
    usage = {unit: int(row.pop(unit).partition(".")[0]) for unit in UNIT_COLUMNS}
    currency = row.pop("currency")
    for name in _AMOUNTS:
        row[name] = {"amount": row[name], "currency": currency}
    row["usage"] = {
        unit: format_micro(quantity) if unit in MEASURED else quantity
        for unit, quantity in usage.items()
        if quantity
    }
    return row
