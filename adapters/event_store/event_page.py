"""Pages of the log as people read it: every column of an event, as JSON, with its leaf hash.

The stored payload is passed on byte by byte, so what is shown is what was hashed.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from tollbook.times import format_instant

Run = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

_COLUMNS = (
    "position, name, version, stream, stream_version, customer, customer_sequence, command, "
    "causation, correlation, actor, occurred_at, recorded_at, {data}, encode(leaf, 'hex')"
)
BYTES_MAX = 4 * 2**20
"""Once so many bytes of payloads are on a page, the rest is on the next one."""

# The size of a payload is known without reading it; what comes too late is not read at all.
_DATA = f"CASE WHEN ahead < {BYTES_MAX} THEN data END"
_PAGE = (
    f"SELECT {_COLUMNS.format(data=_DATA)} FROM (SELECT *, sum(octet_length(data)) "  # noqa: S608
    "OVER (ORDER BY position) - octet_length(data) AS ahead "
    "FROM (SELECT * FROM events WHERE {whose} LIMIT %s) AS wanted) AS sized ORDER BY position"
)
_EVERYBODY = _PAGE.format(whose="position > %s ORDER BY position")
_OF_CUSTOMER = _PAGE.format(
    whose="customer = %s AND customer_sequence > %s ORDER BY customer_sequence"
)
_DATA_AT = 13
"""Where the payload is in a row."""

_NEWEST = "SELECT max(customer_sequence) FROM events WHERE customer = %s"
_POSITION = "SELECT position FROM events WHERE customer = %s AND customer_sequence = %s"


def event_page(
    run: Run, *, after: int = 0, limit: int = 100, customer: str | None = None
) -> tuple[list[str], int | None]:
    """Return events after a position as JSON objects in text, and the cursor of the next page.

    There are `limit` of them at most, and fewer where they are large.
    """
    if customer is None:
        rows = run(_EVERYBODY, (after, limit + 1))
    else:
        rows = run(_OF_CUSTOMER, (customer, _sequence_at(run, customer, after), limit + 1))
    shown = [row for row in rows[:limit] if row[_DATA_AT] is not None]
    return [_json(row) for row in shown], shown[-1][0] if len(rows) > len(shown) else None


def _sequence_at(run: Run, customer: str, position: int) -> int:
    """Return how many of a customer's events stand at or before a position.

    Their numbers are gapless and rise with the position, so halving finds it by the index.
    """
    if position == 0:
        return 0
    low, high = 0, run(_NEWEST, (customer,))[0][0] or 0
    while low < high:
        middle = (low + high + 1) // 2
        if run(_POSITION, (customer, middle))[0][0] <= position:
            low = middle
        else:
            high = middle - 1
    return low


def _json(row: tuple[Any, ...]) -> str:
    """Write one event; `data` is JSON already."""
    (position, name, version, stream, stream_version, customer, sequence) = row[:7]
    (command, causation, correlation, actor, occurred_at, recorded_at, data, leaf) = row[7:]
    head = {
        "position": position,
        "name": name,
        "version": version,
        "stream": stream,
        "stream_version": stream_version,
        "customer": customer,
        "customer_sequence": sequence,
        "command": command,
        "causation": causation,
        "correlation": correlation,
        "actor": actor,
        "occurred_at": format_instant(occurred_at),
        "recorded_at": format_instant(recorded_at),
        "leaf": leaf,
    }
    return f'{_COMPACT.encode(head)[:-1]},"data":{data}}}'


_COMPACT = json.JSONEncoder(separators=(",", ":"))
