"""Customers and their balances: terms and totals, as of each customer's own newest event.

What expires later than that event still counts here; `projections.as_of` answers for an instant.
"""

import json
from typing import Any

from tollbook.times import format_instant

from domain.balance import Balance, earliest_expiry, view
from domain.customer import Customer
from domain.fraud import blocked_since
from projections.arrays import money, numbers, texts
from projections.model import Change, Connection, Run, Wanted
from projections.paging import Page, checked_limit

_UPSERT_CUSTOMERS = """
INSERT INTO customers AS kept (customer, created_at, changed_at, position, terms)
SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[])
ON CONFLICT (customer) DO UPDATE SET changed_at = excluded.changed_at,
    position = excluded.position, terms = excluded.terms
"""

_TOTALS = (
    *("available", "held", "granted", "spent", "receivable"),
    *("credit_limit", "breakage", "overdraft"),
)
_FACTS = ("sequence", "position", "recorded_at", "next_expiry", "blocked_at")
_COLUMNS = ("customer", "currency", *_FACTS, *_TOTALS)
_UPSERT_BALANCES = f"""
INSERT INTO balances ({", ".join(_COLUMNS)})
SELECT * FROM unnest(%s::text[], %s::text[], {", ".join(["%s::bigint[]"] * len(_FACTS))},
    {", ".join(["%s::numeric[]"] * len(_TOTALS))})
ON CONFLICT (customer) DO UPDATE
SET {", ".join(f"{column} = excluded.{column}" for column in _COLUMNS[1:])}
"""  # noqa: S608 - our own names

_PAGE = f"""
SELECT customer, currency, balances.position, recorded_at, created_at, blocked_at, terms,
    {", ".join(f"{column}::text" for column in _TOTALS)}
FROM views.balances JOIN views.customers USING (customer)
WHERE customer > %s ORDER BY customer LIMIT %s
"""  # noqa: S608 - our own names


class Balances:
    """Keeps the tables `customers` and `balances`."""

    NAME = "balances"
    VERSION = 1
    EVENTS: Wanted = None
    TABLES = f"""
        CREATE TABLE customers (
            customer   text   COLLATE "C" PRIMARY KEY,
            created_at bigint NOT NULL,
            changed_at bigint NOT NULL,
            position   bigint NOT NULL,  -- of the event that set these terms
            terms      text   NOT NULL   -- JSON: currency, name_sealed, plan ...
        );
        CREATE TABLE balances (
            customer    text   COLLATE "C" PRIMARY KEY,
            currency    text   NOT NULL,
            sequence    bigint NOT NULL,
            position    bigint NOT NULL,  -- of the customer's newest event
            recorded_at bigint NOT NULL,
            next_expiry bigint NOT NULL,  -- until then, the totals stay as they are
            blocked_at  bigint,           -- NULL unless the account is blocked
            {", ".join(f"{column} numeric(38, 12) NOT NULL" for column in _TOTALS)}
        ) WITH (fillfactor = 50);
    """

    def __init__(self) -> None:
        """Start without rows."""
        self._created: dict[str, int] = {}
        self._terms: dict[str, Change] = {}
        self._newest: dict[str, Change] = {}
        self._columns: tuple[list[str], list[str]] | None = None

    def collect(self, change: Change) -> None:
        """Keep each customer's newest change, and the newest that touched the terms."""
        after = change.after
        if after is None or after.customer is None:
            return
        name = after.customer.id
        terms = None if change.before is None else change.before.customer
        if terms is not after.customer:
            self._terms[name] = change
            if terms is None:
                self._created[name] = change.recorded.recorded_at
        self._newest[name] = change

    def write(self, connection: Connection) -> None:
        """Write one row per customer, in order of id."""
        customers, balances = self._columns or self._finished()
        if customers:
            connection.execute(_UPSERT_CUSTOMERS, customers)
        if balances:
            connection.execute(_UPSERT_BALANCES, balances)
        self.discard()

    def discard(self) -> None:
        """Forget the rows."""
        self._created.clear()
        self._terms.clear()
        self._newest.clear()
        self._columns = None

    def _finished(self) -> tuple[list[str], list[str]]:
        customers = _terms_columns(self._terms, self._created) if self._terms else []
        return customers, _balance_columns(self._newest) if self._newest else []

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process as finished columns: whole states would be too much."""
        empty = Balances().__dict__
        return {**empty, "_columns": self._finished()}


def _terms_columns(changes: dict[str, Change], created: dict[str, int]) -> list[str]:
    names = sorted(changes)
    events = [changes[name].recorded for name in names]
    return [
        texts(names),
        numbers([created.get(name, 0) for name in names]),  # a row that stands keeps its own
        numbers([event.recorded_at for event in events]),
        numbers([event.position for event in events]),
        texts([_terms_text(_state(changes[name])) for name in names]),
    ]


def _state(change: Change) -> Balance:
    assert change.after is not None
    return change.after


def _terms_text(balance: Balance) -> str:
    customer: Customer | None = balance.customer
    assert customer is not None
    terms = customer._asdict()
    del terms["id"], terms["credit_limit"]  # they have columns of their own
    return json.dumps(terms)


def _balance_columns(changes: dict[str, Change]) -> list[str]:
    names = sorted(changes)
    newest = [changes[name] for name in names]
    events = [change.recorded for change in newest]
    states = [_state(change) for change in newest]
    views = [view(state, event.recorded_at) for state, event in zip(states, events, strict=True)]
    return [
        texts(names),
        texts([state.customer.currency if state.customer else "" for state in states]),
        numbers([state.sequence for state in states]),
        numbers([event.position for event in events]),
        numbers([event.recorded_at for event in events]),
        # The state's own is only a bound, and depends on what was in memory before.
        numbers([earliest_expiry(state) for state in states]),
        numbers([blocked_since(state) for state in states]),
        *(money([getattr(each, column) for each in views]) for column in _TOTALS),
    ]


def page(run: Run, *, after: str | None = None, limit: int = 100) -> Page:
    """Return customers after an id, in order of id, each with terms and balance."""
    rows = run(_PAGE, (after or "", checked_limit(limit) + 1))
    items = [_customer(row) for row in rows[:limit]]
    return Page(items, items[-1]["id"] if len(rows) > limit else None)


def _customer(row: tuple[Any, ...]) -> dict[str, Any]:
    """Lay a row out for the wire; the sealed name stays sealed."""
    name, currency, position, recorded_at, created_at, blocked_at, terms = row[:7]
    totals = zip(_TOTALS, row[7:], strict=True)
    return {
        "id": name,
        **json.loads(terms),
        "created_at": format_instant(created_at),
        "blocked_at": None if blocked_at is None else format_instant(blocked_at),
        "position": position,
        "recorded_at": format_instant(recorded_at),
        **{total: {"amount": amount, "currency": currency} for total, amount in totals},
    }
