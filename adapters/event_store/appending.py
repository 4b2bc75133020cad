"""Appending a batch: one prepared call with an array per column, straight through libpq.

The arrays are in wire form already, so nothing of the driver's adaptation is needed; a command that
comes alone would feel it.
"""

import json
import select
from typing import Any

from psycopg import Connection, OperationalError
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from adapters.event_store.arrays import (
    ARRAY_OF,
    BIGINT,
    INTEGER,
    SMALLINT,
    TEXT,
    bigint,
    int_array,
    text_array,
)
from adapters.event_store.mapper import encode, leaf_hash
from application.ports import Batch

_BYTEA, _JSON = 17, 114
_TYPES = (
    BIGINT,
    *(ARRAY_OF[BIGINT],) * 3,
    ARRAY_OF[INTEGER],
    ARRAY_OF[SMALLINT],
    *(ARRAY_OF[TEXT],) * 8,
    _BYTEA,
    ARRAY_OF[BIGINT],
    *(ARRAY_OF[TEXT],) * 3,
    _JSON,
)
"""The types of append_events' parameters, in order (adapters/migrations/0001_ledger.sql)."""

_NAME = b"tollbook_append"
_QUERY = f"SELECT append_events({', '.join(f'${n}' for n in range(1, len(_TYPES) + 1))})".encode()
_FORMATS = [Format.BINARY] * len(_TYPES)


def prepare(connection: Connection[Any]) -> None:
    """Prepare the call on a new connection."""
    result = connection.pgconn.prepare(_NAME, _QUERY, _TYPES)
    if result.status != ExecStatus.COMMAND_OK:
        raise error_from_result(result)


def send(connection: Connection[Any], batch: Batch) -> None:
    """Send a batch without waiting for it; the next use of the connection is `receive`."""
    libpq = connection.pgconn
    libpq.send_query_prepared(_NAME, columns(batch), _FORMATS)
    flushed(libpq)


def flushed(libpq: PGconn) -> None:
    """Send what is still waiting to be sent."""
    poller = select.poll()  # takes any descriptor, however many are open
    poller.register(libpq.socket, select.POLLIN | select.POLLOUT)
    while libpq.flush():
        if any(event & select.POLLIN for _, event in poller.poll()):
            libpq.consume_input()


def receive(connection: Connection[Any]) -> str:
    """Wait for the batch that was sent; return `ok` or why nothing was written, or raise."""
    libpq = connection.pgconn
    result = next_result(libpq)
    if result is None or libpq.status == ConnStatus.BAD:  # nobody knows what became of the batch
        message = b"" if result is None else result.error_message
        raise OperationalError(message.decode(errors="replace") or "the connection broke")
    last = result
    while (further := next_result(libpq)) is not None:
        last = further  # the row comes before the commit, and the commit may fail after it
    for each in (result, last):
        if each.status != ExecStatus.TUPLES_OK:
            raise error_from_result(each)
    return (result.get_value(0, 0) or b"").decode()


def next_result(libpq: PGconn) -> PGresult | None:
    """Wait for a result without holding up other threads, which libpq's own waiting would."""
    poller = select.poll()
    poller.register(libpq.socket, select.POLLIN)
    while libpq.is_busy():
        poller.poll()
        libpq.consume_input()
    return libpq.get_result()


def columns(batch: Batch) -> list[bytes | None]:
    """Lay a batch out as one array per column, in the order of append_events."""
    events = batch.events
    payloads = [encode(recorded.event) for recorded in events]
    by_column: list[Any] = list(zip(*events, strict=True)) if events else [()] * 14
    (_, names, versions, streams, stream_versions, customers, sequences) = by_column[:7]
    (commands, causations, correlations, actors, occurred, recorded_ats, _) = by_column[7:]
    keys = [key for key, _ in batch.ids]
    return [
        bigint(batch.expected),
        int_array(BIGINT, sequences),
        int_array(BIGINT, occurred),
        int_array(BIGINT, recorded_ats),
        int_array(INTEGER, stream_versions),
        int_array(SMALLINT, versions),
        text_array(names),
        text_array(streams),
        text_array(customers),
        text_array(commands),
        text_array(causations),
        text_array(correlations),
        text_array(actors),
        text_array(payloads),
        b"".join(map(leaf_hash, events, payloads)),
        int_array(BIGINT, [position for _, position in batch.ids]),
        text_array([key[2] for key in keys]),
        text_array([key[0] for key in keys]),
        text_array([key[1] for key in keys]),
        _riders(batch),
    ]


def _riders(batch: Batch) -> bytes | None:
    if not batch.riders:
        return None
    return json.dumps([rider._asdict() for rider in batch.riders]).encode()
