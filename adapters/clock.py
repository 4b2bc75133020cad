"""Clocks: the database's time as this process sees it, and the time of a recorded trace."""

import time
from collections.abc import Callable

ASKED = 3
"""How often the database is asked for its time, to set a clock by it."""


class DatabaseClock:
    """Follows the database's clock by an offset to this machine's monotonic clock.

    The machine's own wall clock plays no part, so setting it changes nothing.
    """

    def __init__(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Start unsynchronised; `synchronise` gives it the time."""
        self._monotonic_ns = monotonic_ns
        self._offset = 0

    def now(self) -> int:
        """Return the time in microseconds since 1970."""
        return self._monotonic_ns() // 1000 + self._offset

    def synchronise(self, ask: Callable[[], int]) -> None:
        """Take the database's time as the truth from here on.

        Our clock is read before asking, so it leads by as long as the question took to get there,
        and never follows: what is decided after the database told a time is recorded later than
        it. Of three answers the one with the smallest lead is taken.
        """
        self._offset = min(self._lead(ask) for _ in range(ASKED))

    def _lead(self, ask: Callable[[], int]) -> int:
        ours = self._monotonic_ns() // 1000
        return ask() - ours


class TraceClock:
    """Stands at the time of the trace; every item brings its own."""

    def __init__(self, start: int) -> None:
        """Stand at an instant, in microseconds since 1970."""
        self._now = start

    def now(self) -> int:
        """Return the trace's time."""
        return self._now

    def synchronise(self, ask: Callable[[], int]) -> None:
        """Ignore the database: a trace keeps its own time."""
