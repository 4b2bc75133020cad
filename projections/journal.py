"""The journal in double entry: one row for each event that moves money, with all its postings."""

from collections.abc import Callable
from typing import Any

from tollbook.times import format_instant

from domain.journal import postings
from projections.copying import copy_lines, in_one_piece
from projections.customer_log import events_until
from projections.model import Change, Connection, Run, Wanted
from projections.paging import Page, Where, checked_limit, read_page

_COLUMNS = "position, recorded_at, occurred_at, currency, event, customer, accounts, amounts"


class Journal:
    """The read model of postings."""

    NAME = "journal"
    VERSION = 2
    EVENTS: Wanted = None
    TABLES = """
CREATE TABLE journal (
    position    bigint NOT NULL,
    recorded_at bigint NOT NULL,
    occurred_at bigint NOT NULL,
    currency    text   NOT NULL,
    event       text   NOT NULL,
    customer    text   NOT NULL,
    accounts    text[] NOT NULL,              -- in order of name, each once
    amounts     numeric(38, 12)[] NOT NULL,   -- of those accounts: debits above zero; sum zero
    CONSTRAINT journal_position PRIMARY KEY (position)
);
"""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._lines: list[str] = []

    def collect(self, change: Change) -> None:
        """Keep an event's postings, if it has any; raises Unbalanced if they do not sum to zero."""
        recorded, before, after = change
        posted = postings(before, recorded.event, after)
        if not posted:
            return
        terms = after.customer if after is not None else None
        assert terms is not None, "only an event of a customer who exists posts anything"
        # Accounts are made of ids and names, which no array literal has to quote.
        accounts = ",".join([account for account, _ in posted])
        amounts = "e-12,".join([str(amount) for _, amount in posted])
        self._lines.append(
            f"{recorded.position}\t{recorded.recorded_at}\t{recorded.occurred_at}\t"
            f"{terms.currency}\t{recorded.name}\t{terms.id}\t{{{accounts}}}\t{{{amounts}e-12}}\n"
        )

    def write(self, connection: Connection) -> None:
        """Append the rows collected so far."""
        lines, self._lines = self._lines, []
        copy_lines(connection, "journal", _COLUMNS, lines)

    def discard(self) -> None:
        """Forget the rows collected so far."""
        self._lines = []

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process as one piece of text."""
        return {"_lines": in_one_piece(self._lines)}


_SHOWN = ("position", "recorded_at", "occurred_at", "currency", "event", "customer")
_SHOWN_ALL = (*_SHOWN, "accounts", "amounts")
_SELECT = f"SELECT {', '.join(_SHOWN)}, accounts, amounts::text[] FROM views.journal"  # noqa: S608
# A customer's entries are found by the log's own index; the limit keeps this one probe for each.
_OF_CUSTOMER = f"""
SELECT entry.* FROM (
    SELECT position AS at, customer_sequence AS number FROM events {{own}}) AS event
CROSS JOIN LATERAL ({_SELECT} {{where}} AND position = at LIMIT 1) AS entry
ORDER BY number
"""  # noqa: S608 - our own names

_TOTALS = """
SELECT account COLLATE "C" AS name, currency COLLATE "C" AS money,
    sum(amount)::numeric(38, 12)::text
FROM views.journal, unnest(accounts, amounts) AS posted (account, amount) {where}
GROUP BY name, money ORDER BY name, money
"""


def page(
    run: Run,
    *,
    customer: str | None = None,
    from_position: int | None = None,
    to_position: int | None = None,
    newest_first: bool = False,
    after: int | None = None,
    limit: int = 100,
) -> Page:
    """Return entries in order of position, each with all its postings; positions are inclusive."""
    where = Where()
    where.add("customer = %s", customer)
    where.add("position >= %s", from_position)
    where.add("position <= %s", to_position)
    where.add("position < %s" if newest_first else "position > %s", after)
    query, values = f"{_SELECT} {where} ORDER BY position", where.values
    if customer is not None:
        checked_limit(limit)
        before = None if from_position is None else from_position - 1
        first = [before, None if newest_first else after]
        last = [to_position, after if newest_first else None]
        own = Where()
        own.add("customer = %s", customer)
        own.add("customer_sequence > %s", _until(run, customer, max, first))
        own.add("customer_sequence <= %s", _until(run, customer, min, last))
        query, values = _OF_CUSTOMER.format(own=own, where=where), [*own.values, *where.values]
    query = f"{query} {'DESC' if newest_first else 'ASC'}"
    found = read_page(run, query, values, limit, _SHOWN_ALL, "position")
    return Page([_shown(row) for row in found.items], found.next)


def _until(
    run: Run, customer: str, closest: Callable[[list[int]], int], bounds: list[int | None]
) -> int | None:
    """Return how many of a customer's events the closest bound leaves, or None without one."""
    known = [bound for bound in bounds if bound is not None]
    return events_until(run, customer, closest(known)) if known else None


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as it travels."""
    currency = row["currency"]
    row["recorded_at"] = format_instant(row["recorded_at"])
    row["occurred_at"] = format_instant(row["occurred_at"])
    row["postings"] = [
        {"account": account, "amount": {"amount": amount, "currency": currency}}
        for account, amount in zip(row.pop("accounts"), row.pop("amounts"), strict=True)
    ]
    return row


def trial_balance(run: Run, *, to_position: int | None = None) -> list[dict[str, Any]]:
    """Return every account's total up to a position, in order of account; currencies apart.

    For each currency the totals sum to zero.
    """
    where = Where()
    where.add("position <= %s", to_position)
    rows = run(_TOTALS.format(where=where), where.values)
    return [
        {"account": account, "total": {"amount": total, "currency": currency}}
        for account, currency, total in rows
    ]
