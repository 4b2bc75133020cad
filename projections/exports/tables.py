"""What can be exported: for each export its columns, its rows as of a position, and their order.

Every order is total and every text is compared byte by byte, so that the same position gives the
same rows in the same order in any database.
"""

from enum import Enum
from typing import NamedTuple

from projections.charges import UNIT_COLUMNS


class Kind(Enum):
    """What a column holds, which decides how each format writes it."""

    TEXT = "text"
    """Ids, names, codes: their form leaves no room for surprises."""
    FREE = "free text"
    """Whatever a caller wrote."""
    COUNT = "count"
    SUM = "sum of counts"
    QUANTITY = "quantity with six places"
    MONEY = "money"
    TIME = "microseconds since 1970"
    DAY = "day"


class Column(NamedTuple):
    """A column of an export, named as it is in the rows."""

    name: str
    kind: Kind


class Table(NamedTuple):
    """One export."""

    name: str
    columns: tuple[Column, ...]
    rows: str
    """A query of the columns; `{position}` stands for the position, a number."""
    order: str


def _columns(kind: Kind, *names: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name in names)


_UNITS = UNIT_COLUMNS[:6], UNIT_COLUMNS[6:]
"""Counted and measured ones."""

_PAID = _columns(Kind.MONEY, "charged", "from_balance", "receivable")

CHARGES = Table(
    "charges",
    (
        *_columns(Kind.COUNT, "position", "line"),
        *_columns(Kind.TIME, "recorded_at", "occurred_at"),
        *_columns(Kind.TEXT, "customer", "model", "reservation"),
        *_columns(Kind.FREE, "source", "id"),
        *_columns(Kind.DAY, "day"),
        *_columns(Kind.TEXT, "period", "price_book"),
        *_columns(Kind.COUNT, "price_version", "volume"),
        *_columns(Kind.COUNT, *_UNITS[0]),
        *_columns(Kind.QUANTITY, *_UNITS[1]),
        *_columns(Kind.TEXT, "currency"),
        *_PAID,
        *_columns(Kind.TEXT, "license", "request_hash", "response_hash"),
    ),
    "SELECT * FROM views.charges WHERE position <= {position}",
    "position, line",
)

_SUMS = ", ".join(f"coalesce(sum({unit}), 0) AS {unit}" for unit in UNIT_COLUMNS)
_DAYS_OF_USAGE = f"""
SELECT customer COLLATE "C" AS customer, model COLLATE "C" AS model, day, count(*) AS charges,
    {_SUMS}, min(currency) AS currency,
    sum(charged) AS charged, sum(from_balance) AS from_balance, sum(receivable) AS receivable
FROM views.charges WHERE position <= {{position}} GROUP BY 1, 2, 3
"""  # noqa: S608 - our own names

# Summed from the charges, not taken from `usage`, which knows only how things stand now.
USAGE = Table(
    "usage",
    (
        *_columns(Kind.TEXT, "customer", "model"),
        *_columns(Kind.DAY, "day"),
        *_columns(Kind.COUNT, "charges"),
        *_columns(Kind.SUM, *_UNITS[0]),
        *_columns(Kind.QUANTITY, *_UNITS[1]),
        *_columns(Kind.TEXT, "currency"),
        *_PAID,
    ),
    _DAYS_OF_USAGE,
    "customer, model, day",
)

JOURNAL = Table(
    "journal",
    (
        *_columns(Kind.COUNT, "position", "line"),
        *_columns(Kind.TIME, "recorded_at", "occurred_at"),
        *_columns(Kind.TEXT, "event", "customer", "account"),
        *_columns(Kind.MONEY, "amount"),
        *_columns(Kind.TEXT, "currency"),
    ),
    "SELECT * FROM views.journal, "
    "unnest(accounts, amounts) WITH ORDINALITY AS posted (account, amount, line) "
    "WHERE position <= {position}",
    "position, line",
)

AMOUNTS = (
    *("available", "held", "granted", "spent", "receivable"),
    *("credit_limit", "breakage", "overdraft"),
)
"""The amounts of a balance, by their names in `domain.balance.BalanceView`."""

BALANCES = Table(
    "balances",
    (
        *_columns(Kind.TEXT, "customer", "currency"),
        *_columns(Kind.MONEY, *AMOUNTS),
        *_columns(Kind.COUNT, "events"),
    ),
    "SELECT * FROM pg_temp.exported_balances",
    'customer COLLATE "C"',
)
"""Folded and seen as of the position, which no query can do (projections/exports/balances.py)."""

TABLES = {table.name: table for table in (USAGE, CHARGES, BALANCES, JOURNAL)}
"""Every export by its name."""
