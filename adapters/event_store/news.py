"""News: what happened since a position that is out of the ordinary, for who must hear it soon."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

EVENTS_MAX = 500
"""So many events are told one by one."""
BEHIND_MAX = 200_000
"""Who is further behind is told nothing one by one: it would take too long."""

_NEWS = """
    SELECT head.position, head.clock, public.clock_us(), event.position, event.customer
    FROM public.ledger_head AS head
    LEFT JOIN LATERAL (
        SELECT position, customer FROM public.events
        WHERE position > %s AND position <= head.position AND head.position - %s <= %s
            AND name <> ALL(%s)
        ORDER BY position LIMIT %s
    ) AS event ON true
"""
_BEGUN = "SELECT EXISTS (SELECT FROM public.events WHERE stream = ANY(%s) AND stream_version = 1)"
_PARKED_SINCE = """
    SELECT EXISTS (
        SELECT FROM public.events AS event JOIN public.events AS since USING (customer)
        WHERE customer = %s AND since.position = %s AND event.name = 'usage_parked'
            AND event.customer_sequence > since.customer_sequence
    )
"""
_LEDGER = "SELECT encode(leaf, 'hex') FROM public.events WHERE position = 1"

Run = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


class News(NamedTuple):
    """What there is to tell, as of one moment."""

    position: int
    """Where the ledger stood at that moment."""
    clock: str
    """Whose time the ledger follows: `database`, or `trace`."""
    now: int
    """The database's time, in microseconds since 1970."""
    events: list[tuple[int, str | None]]
    """Position and customer of each event that is out of the ordinary, in order."""
    is_whole: bool
    """Whether these are all of them."""


def news(run: Run, after: int, ordinary: Sequence[str]) -> News:
    """Return what happened after a position, less the events of these names."""
    given = (after, after, BEHIND_MAX, list(ordinary), EVENTS_MAX + 1)
    rows = run(_NEWS, given)
    position, clock, now = rows[0][:3]
    events = [(row[3], row[4]) for row in rows if row[3] is not None]
    is_whole = len(events) <= EVENTS_MAX and position - after <= BEHIND_MAX
    return News(position, clock, now, events, is_whole)


def any_begun(run: Run, streams: Sequence[str]) -> bool:
    """Say whether any of these streams has an event."""
    return bool(run(_BEGUN, (list(streams),))[0][0])


def any_parked_since(run: Run, customer: str, position: int) -> bool:
    """Say whether a usage record of a customer was parked after an event of theirs."""
    return bool(run(_PARKED_SINCE, (customer, position))[0][0])


def ledger_name(run: Run) -> str:
    """Return a name that tells this ledger from others: the beginning of its first leaf hash.

    A ledger without events, which can admit nobody, has the name of all of those.
    """
    rows = run(_LEDGER, ())
    return str(rows[0][0])[:32] if rows else "empty"
