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
    "causation, correlation, actor, occurred_at, recorded_at, data, encode(leaf, 'hex')"
)
_EVERYBODY = (
    f"SELECT {_COLUMNS} FROM events WHERE position > %s "  # noqa: S608 - our own names
    "ORDER BY position LIMIT %s"
)
_OF_CUSTOMER = (
    f"SELECT {_COLUMNS} FROM events WHERE customer = %s AND customer_sequence > %s "  # noqa: S608
    "ORDER BY customer_sequence LIMIT %s"
)
_NEWEST = "SELECT max(customer_sequence) FROM events WHERE customer = %s"
_POSITION = "SELECT position FROM events WHERE customer = %s AND customer_sequence = %s"


def event_page(
    run: Run, *, after: int = 0, limit: int = 100, customer: str | None = None
) -> tuple[list[str], int | None]:
    """Return events after a position as JSON objects in text, and the cursor of the next page."""
    if customer is None:
        rows = run(_EVERYBODY, (after, limit + 1))
    else:
        rows = run(_OF_CUSTOMER, (customer, _sequence_at(run, customer, after), limit + 1))
    follows = rows[limit - 1][0] if len(rows) > limit else None
    return [_json(row) for row in rows[:limit]], follows


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
