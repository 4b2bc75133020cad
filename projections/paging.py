"""Lists that are read page by page: conditions that were asked for, and a cursor to go on from."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from tollbook.errors import Invalid

from domain.values import check_key_text
from projections.model import Run

LIMIT_MAX = 1000
_BEYOND = 2**15 - 1
"""No event has so many lines."""


class Page(NamedTuple):
    """Some rows in their order, and where the next page begins."""

    items: list[dict[str, Any]]
    next: Any
    """The cursor to give as `after`; None when nothing follows."""


class Where:
    """The conditions of one query; those whose value is None were not asked for."""

    def __init__(self) -> None:
        """Start without any condition."""
        self._conditions: list[str] = []
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        """Add a condition with a placeholder for each value, unless a value is None.

        Raises Invalid for a text that the database could not take.
        """
        if None not in values:
            for value in values:
                if isinstance(value, str):
                    check_key_text(condition.partition(" ")[0].strip("(,"), value)
            self._conditions.append(condition)
            self.values.extend(values)

    def __str__(self) -> str:
        """Return the clause, or nothing."""
        return f"WHERE {' AND '.join(self._conditions)}" if self._conditions else ""


def checked_limit(limit: int) -> int:
    """Return a limit that a page may have, or raise Invalid."""
    if not 1 <= limit <= LIMIT_MAX:
        raise Invalid.because("limit", limit, f"from 1 to {LIMIT_MAX}")
    return limit


def checked_day(field: str, day: str | None) -> date | None:
    """Return the day that `YYYY-MM-DD` names, or raise Invalid."""
    if day is None:
        return None
    try:
        found = date.fromisoformat(day)
    except ValueError:
        raise Invalid.because(field, day, "a day as YYYY-MM-DD") from None
    if found.isoformat() != day:
        raise Invalid.because(field, day, "a day as YYYY-MM-DD")
    return found


def place_of(after: str, *, newest_first: bool) -> tuple[int, int]:
    """Read a cursor `POSITION.LINE`: the line of an event that a page ended with; or raise Invalid.

    A position alone stands for all of the event.
    """
    position, point, line = after.partition(".")
    if not all(_is_number(part) for part in ((position, line) if point else (position,))):
        raise Invalid.because("after", after, "a cursor that a page gave")
    whole = 0 if newest_first else _BEYOND
    return int(position), min(int(line), _BEYOND) if point else whole


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def read_places(
    run: Run, query: str, values: Sequence[Any], limit: int, columns: Sequence[str]
) -> Page:
    """Read a page whose cursor is position and line, of which the rows have a column each."""
    found = read_page(run, query, values, limit, columns, "position")
    if found.next is None:
        return found
    last = found.items[-1]
    return Page(found.items, f"{last['position']}.{last['line']}")


def read_page(
    run: Run, query: str, values: Sequence[Any], limit: int, columns: Sequence[str], cursor: str
) -> Page:
    """Run a query that ends in its order; read one row more than wanted to know if more follow."""
    rows = run(f"{query} LIMIT %s", (*values, checked_limit(limit) + 1))
    items = [dict(zip(columns, row, strict=True)) for row in rows[:limit]]
    return Page(items, items[-1][cursor] if len(rows) > limit else None)
