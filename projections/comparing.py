"""Comparing the views with the log: they are made once more, for one session alone, row by row.

The second build consists of temporary tables, so nothing that anybody else reads is touched, and
nothing of it is left. An audit asks for it: what the views show is then known to follow from events
that it has verified.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from psycopg import IsolationLevel

from application.following import LedgerLog, TooNew
from domain.balance import Balance
from domain.folding import evolve
from domain.state import STATE_VERSION, balance_from_wire, balance_to_wire
from projections.building import is_current, lay_tables
from projections.checkpoint import read_mark
from projections.model import SCHEMA, Connection, Run
from projections.registry import new_models
from projections.runner import Progress, Projector

LISTED_MAX = 1_000
"""So many rows of each table are told at most."""

_HERE = "pg_temp"
_HISTORY = "balance_history"

_NOT_COMPARED = {"build", "parked_at", "traceback"}
"""Columns that say when and where rows were made, rather than what they say."""

_TABLES = """
SELECT made.relname::text, array_agg(part.attname::text ORDER BY part.attnum)
FROM pg_index JOIN pg_class AS made ON made.oid = indrelid
JOIN pg_attribute AS part ON part.attrelid = made.oid AND part.attnum = ANY (indkey)
WHERE indisprimary AND made.relnamespace = pg_my_temp_schema() GROUP BY 1 ORDER BY 1
"""
_UNLIKE = f"""
SELECT to_jsonb(ours)::text, to_jsonb(theirs)::text
FROM {_HERE}.{{table}} AS ours FULL JOIN {SCHEMA}.{{table}} AS theirs USING ({{key}})
WHERE ours IS DISTINCT FROM theirs ORDER BY {{key}} LIMIT {LISTED_MAX}
"""  # noqa: S608 - our own names
_KEPT_BEFORE = """
SELECT state FROM pg_temp.balance_history
WHERE customer = %s AND position <= %s ORDER BY position DESC LIMIT 1
"""

_NOBODY = Balance()

Row = dict[str, Any]


class Unlike(NamedTuple):
    """Something that the views say and the log does not, or the other way round."""

    position: int
    what: str
    expected: object
    found: object


def can_compare(connection: Connection) -> bool:
    """Say whether there are views, made by this version: the next projector builds others anew."""
    row = connection.execute("SELECT to_regclass('views.checkpoint')").fetchone()
    return row != (None,) and is_current(connection)


def unlike(log: LedgerLog, connection: Connection, advance: Progress) -> Iterator[Unlike]:
    """Yield every difference between the live views and those that the log leads to.

    The connection is used up by it.
    """
    connection.execute("SET statement_timeout = 0")
    connection.execute("SET idle_in_transaction_session_timeout = 0")
    projector = Projector(log, _run_on(connection), connection, _HERE)
    lay_tables(connection, new_models())
    try:
        projector.catch_up(_live_position(connection, log), advance)
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            # The live views may have moved on; from here on they stand still for us.
            projector.catch_up(_live_position(connection, log), advance)
            yield from _put_aside(connection)
            yield from _of_tables(log, connection)
    except TooNew as error:
        yield Unlike(log.head()[0], SCHEMA, "events that this program knows", error.message)


def _run_on(connection: Connection) -> Run:
    def run(query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        return connection.execute(query.encode(), parameters).fetchall()

    return run


def _live_position(connection: Connection, log: LedgerLog) -> int:
    row = connection.execute("SELECT position FROM views.checkpoint").fetchone()
    return min(row[0] if row else 0, log.head()[0])


def _of_tables(log: LedgerLog, connection: Connection) -> Iterator[Unlike]:
    reached = read_mark(connection).position
    for table, key in connection.execute(_TABLES).fetchall():
        query = _UNLIKE.format(table=table, key=", ".join(key))
        for ours, theirs in connection.execute(query.encode()).fetchall():
            expected, found = _row(ours), _row(theirs)
            if table == _HISTORY:
                expected = _state(log, connection, found)
            place = found or expected
            position = place.get("position", reached)
            what = " ".join([f"{SCHEMA}.{table}", *(str(place.get(name, "")) for name in key)])
            if expected and found:
                yield from _of_row(position, what, expected, found)
            elif expected or found:
                yield Unlike(position, what, expected or None, found or None)


def _put_aside(connection: Connection) -> Iterator[Unlike]:
    """Yield what no build can take in, this one neither."""
    rows = connection.execute("SELECT position, model, error FROM pg_temp.parked_events")
    for position, model, error in rows.fetchall():
        yield Unlike(position, f"{SCHEMA}: model {model}", "an event that it takes in", error)


def _row(text: str | None) -> Row:
    found: Row = {} if text is None else json.loads(text, parse_float=str)
    return {name: value for name, value in found.items() if name not in _NOT_COMPARED}


def _of_row(position: int, what: str, expected: Row, found: Row) -> Iterator[Unlike]:
    for name, value in expected.items():
        if value != found.get(name):
            yield Unlike(position, f"{what}: {name}", value, found.get(name))


def _state(log: LedgerLog, connection: Connection, found: Row) -> Row:
    """Return a state as it should be kept; which ones are kept hangs on what was in memory."""
    if not found or found["state_version"] != STATE_VERSION:
        return found
    customer, position = found["customer"], found["position"]
    row = connection.execute(_KEPT_BEFORE, (customer, position)).fetchone()
    balance = balance_from_wire(json.loads(row[0])) if row else _NOBODY
    for recorded in log.customers_after([(customer, balance.sequence)], position):
        balance = evolve(balance, recorded.event, recorded.recorded_at)
    state = json.dumps(balance_to_wire(balance))
    return {**found, "sequence": balance.sequence, "state": state}
