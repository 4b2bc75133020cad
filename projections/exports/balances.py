"""Every customer's balance as of a position: folded from the nearest kept state, then exported.

What has expired by the instant of that position counts nowhere, which only the rules can say. So
the rows are made here, and laid into a table of this transaction for the formats to read.
"""

import json
from collections.abc import Iterable, Iterator

from application.following import LedgerLog
from domain.balance import Balance, view
from domain.folding import evolve
from domain.state import STATE_VERSION, balance_from_wire
from projections.copying import copy_lines
from projections.exports.tables import AMOUNTS
from projections.model import Connection, Run

CUSTOMERS_AT_ONCE = 200

_TABLE = f"""
CREATE TEMPORARY TABLE exported_balances (
    customer text NOT NULL,
    currency text NOT NULL,
    {", ".join(f"{name} numeric(38, 12) NOT NULL" for name in AMOUNTS)},
    events   bigint NOT NULL
) ON COMMIT DROP
"""
_AMOUNTS = ", ".join(AMOUNTS)
# Whoever has had no event since, and nothing that expired since, stands as the views have it.
_UNCHANGED = f"""
INSERT INTO pg_temp.exported_balances
SELECT customer, currency, {_AMOUNTS}, sequence FROM views.balances
WHERE position <= %s AND next_expiry > %s
"""  # noqa: S608 - our own names
_OTHERS = """
SELECT customer FROM views.balances
WHERE customer > %s AND (position > %s OR next_expiry <= %s) ORDER BY customer LIMIT %s
"""
_NEAREST = """
SELECT wanted.id, kept.state FROM unnest(%s::text[]) AS wanted (id), LATERAL (
    SELECT state FROM views.balance_history
    WHERE customer = wanted.id AND position <= %s AND state_version = %s
    ORDER BY position DESC LIMIT 1) AS kept
"""


def lay_out(connection: Connection, log: LedgerLog, run: Run, position: int, instant: int) -> None:
    """Fill the table `exported_balances` inside the open transaction."""
    connection.execute(_TABLE.encode())
    connection.execute(_UNCHANGED.encode(), (position, instant))
    columns = f"customer, currency, {_AMOUNTS}, events"
    for names in _others(run, position, instant):
        states = _states(run, log, names, position)
        lines = list(_lines(states.values(), instant))
        copy_lines(connection, "pg_temp.exported_balances", columns, lines)


def _others(run: Run, position: int, instant: int) -> Iterator[list[str]]:
    """Yield the customers whose balances have to be worked out, some at a time."""
    last = ""
    while rows := run(_OTHERS, (last, position, instant, CUSTOMERS_AT_ONCE)):
        names = [name for (name,) in rows]
        yield names
        last = names[-1]


def _states(run: Run, log: LedgerLog, names: list[str], position: int) -> dict[str, Balance]:
    """Return the folded states of these customers after the event at a position."""
    states = dict.fromkeys(names, Balance())
    for name, state in run(_NEAREST, (names, position, STATE_VERSION)):
        states[name] = balance_from_wire(json.loads(state))
    wanted = [(name, states[name].sequence) for name in names]
    for recorded in log.customers_after(wanted, position):
        assert recorded.customer is not None
        before = states[recorded.customer]
        states[recorded.customer] = evolve(before, recorded.event, recorded.recorded_at)
    return states


def _lines(balances: Iterable[Balance], instant: int) -> Iterator[str]:
    """Yield the row of every customer who existed by then."""
    for balance in balances:
        terms = balance.customer
        if terms is not None:
            seen = view(balance, instant)
            amounts = "\t".join([f"{getattr(seen, name)}e-12" for name in AMOUNTS])
            yield f"{terms.id}\t{terms.currency}\t{amounts}\t{balance.sequence}\n"
