"""Reading much at once: what many commands need, while the server still looks for the rest of it.

The rows come in chunks, straight through libpq: those of the first are decoded while the server,
a process of its own, sends the next.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection, OperationalError
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGresult

from adapters.event_store.appending import flushed, next_result
from adapters.event_store.arrays import ARRAY_OF, BIGINT, TEXT, bigint, text_array
from adapters.event_store.brief import decode_briefly, decode_likewise
from adapters.event_store.held import reservation_held
from adapters.event_store.mapper import ROW_COLUMNS, decode
from adapters.event_store.recorder import snapshot_from
from application.ports import Fact, History
from domain.balance import Balance
from domain.event import Recorded
from domain.events import OF_RESERVATION, ReservationHeld
from domain.reservation import Reservation, evolve
from domain.state import STATE_VERSION

ROWS_AT_ONCE = 64
_STREAMS = b"tollbook_streams"
_RESERVATIONS = b"tollbook_reservations"
_CUSTOMERS = b"tollbook_customers"
# Lateral probes per stream and customer: whatever the planner thinks of their number, it never
# scans. That they end at a position is no help to it: a new ledger has no statistics, and an index
# of positions would be read from its beginning. A snapshot comes before the events since.
_OF_STREAMS = """ FROM unnest($1) AS wanted (one)
    CROSS JOIN LATERAL (SELECT * FROM events
        WHERE events.stream = wanted.one AND events.position + 0 <= $2
        ORDER BY events.stream_version
    ) AS found"""
_QUERIES = {
    _STREAMS: f"SELECT {ROW_COLUMNS}{_OF_STREAMS}",
    _RESERVATIONS: "SELECT name, version, data, recorded_at, command, "
    f"substr(stream, {len(OF_RESERVATION) + 1}){_OF_STREAMS}",
    _CUSTOMERS: f"""
        SELECT wanted.customer, found.* FROM unnest($1) AS wanted (customer)
        LEFT JOIN LATERAL (SELECT data, stream_version FROM snapshots
            WHERE stream = 'balance-' || wanted.customer AND state_version = {STATE_VERSION}
        ) AS kept ON true
        CROSS JOIN LATERAL (
            SELECT NULL, NULL, kept.data, NULL WHERE kept.data IS NOT NULL
            UNION ALL
            (SELECT name, version, data, recorded_at FROM events
            WHERE events.customer = wanted.customer AND events.position + 0 <= $2
                AND events.customer_sequence > coalesce(kept.stream_version, 0)
            ORDER BY events.customer_sequence)
        ) AS found (name, version, data, recorded_at)
    """,  # noqa: S608 - our own number
}
_TYPES = (ARRAY_OF[TEXT], BIGINT)
_FORMATS = [Format.BINARY] * len(_TYPES)


def prepare(connection: Connection[Any]) -> None:
    """Prepare the queries on a new connection."""
    for name, query in _QUERIES.items():
        result = connection.pgconn.prepare(name, query.encode(), _TYPES)
        if result.status != ExecStatus.COMMAND_OK:
            raise error_from_result(result)


def streams(connection: Connection[Any], names: Sequence[str], position: int) -> list[Recorded]:
    """Return the events of many streams up to a position, each stream's in order.

    Whoever catches what these functions raise must close the connection: rows may still be on
    their way.
    """
    found: list[Recorded] = []
    for rows in _chunks(connection, _STREAMS, names, position):
        found += [
            Recorded._make((*row[:13], decode_likewise(row[1], row[2], row[13]))) for row in rows
        ]
    return found


def reservations(
    connection: Connection[Any], names: Sequence[str], position: int
) -> dict[str, Reservation]:
    """Return many reservations as of a position; those that there are not are left out."""
    states: dict[str, Reservation] = {}
    wanted = [OF_RESERVATION + name for name in names]
    for rows in _chunks(connection, _RESERVATIONS, wanted, position):
        for kind, version, data, recorded_at, command, name in rows:
            opened = None
            if kind == ReservationHeld.NAME and version == ReservationHeld.VERSION:
                opened = reservation_held(data, recorded_at)
            state = opened
            if opened is None:
                event = decode(kind, version, data)
                state = evolve(states.get(name), event, recorded_at, command)
            if state is not None:
                states[name] = state
    return states


def histories(
    connection: Connection[Any], customers: Sequence[str], position: int
) -> dict[str, History]:
    """Return what the folds of many customers start from, and the events since.

    Those are left out of whom there is only a snapshot of later than the position.
    """
    found = {name: History(Balance(), []) for name in customers}
    late: list[str] = []
    for rows in _chunks(connection, _CUSTOMERS, customers, position):
        for customer, name, version, data, recorded_at in rows:
            if name is None:
                snapshot = snapshot_from(data)
                found[customer] = History(snapshot.balance, [])
                if snapshot.position > position:
                    late.append(customer)
            else:
                fact = Fact(decode_briefly(name, version, data), recorded_at)
                found[customer].facts.append(fact)
    for customer in late:
        del found[customer]
    return found


def _chunks(
    connection: Connection[Any], query: bytes, names: Sequence[str], position: int
) -> Iterator[list[tuple[Any, ...]]]:
    libpq = connection.pgconn
    # Each once: rows that came twice would be folded twice.
    given = [text_array(list(dict.fromkeys(names))), bigint(position)]
    libpq.send_query_prepared(query, given, _FORMATS, result_format=Format.BINARY)
    libpq.set_chunked_rows_mode(ROWS_AT_ONCE)
    flushed(libpq)
    transformer = Transformer(connection)
    failure: PGresult | None = None
    while (result := next_result(libpq)) is not None:  # to the end, which tells a broken session
        if result.status not in (ExecStatus.TUPLES_CHUNK, ExecStatus.TUPLES_OK):
            failure = failure or result
        elif result.ntuples:
            transformer.set_pgresult(result, set_loaders=True, format=Format.BINARY)
            yield transformer.load_rows(0, result.ntuples, tuple)
    if failure is not None:
        raise error_from_result(failure)
    if libpq.status == ConnStatus.BAD:
        raise OperationalError("the connection broke")
