"""A customer's requests in order of time, each by itself, and the fraud rule over them.

The rule is that of docs/ledger.md. The program that wrote the ledger counts by the minute; here
every instant is kept, so that the two can only agree by both being right.
"""

from bisect import bisect_right
from itertools import groupby
from typing import Any, NamedTuple

from tollbook.times import SECOND, format_instant

MINUTE = 60 * SECOND
FIVE_MINUTES = 5 * MINUTE
DAY = 288 * FIVE_MINUTES
KEPT = 300 * FIVE_MINUTES
"""How far the kept five minutes reach back from those of the newest usage."""

BY_THE_MINUTE = 3 * FIVE_MINUTES

LARGEST = 2**53 - 1
PRUNED_AT_ONCE = 1024


class Figures(NamedTuple):
    """What the rule computed when usage crossed its line."""

    at: int
    recent: int
    total: int
    windows: int


class Timeline:
    """When each request occurred; what is too old for the rule is forgotten."""

    def __init__(self) -> None:
        """Start without usage."""
        self.first_use = self.newest = -1
        self._times: list[int] = []
        self._sums: list[int] = []
        """All requests up to and including those at the same place in `_times`."""
        self._numbers: list[int] = []
        """The customer's event numbers."""
        self._forgotten = 0

    def add(self, at: int, requests: int, number: int) -> None:
        """Take usage at an instant; `number` is the customer's number of its event."""
        self.first_use = at if self.first_use < 0 else min(self.first_use, at)
        self.newest = max(self.newest, at)
        if not requests or at < self._oldest():
            return
        place = bisect_right(self._times, at)
        self._times.insert(place, at)
        self._numbers.insert(place, number)
        self._sums.insert(place, (self._sums[place - 1] if place else self._forgotten))
        for later in range(place, len(self._sums)):
            self._sums[later] += requests
        self._forget()

    def _oldest(self) -> int:
        return self.newest - self.newest % FIVE_MINUTES - KEPT

    def _forget(self) -> None:
        """Let go of the older half, once none of it is needed."""
        half = len(self._times) // 2
        if half >= PRUNED_AT_ONCE and self._times[half] < self._oldest():
            self._forgotten = self._sums[half - 1]
            del self._times[:half], self._sums[:half], self._numbers[:half]

    def _up_to(self, at: int) -> int:
        place = bisect_right(self._times, at)
        return self._sums[place - 1] if place else self._forgotten

    def judge(self, at: int) -> Figures | None:
        """Apply the rule to usage at an instant; None when it does not block."""
        border = at - FIVE_MINUTES
        begin = max(self.first_use, at - DAY)
        windows = (border - begin) // FIVE_MINUTES
        if windows < 12 or begin - begin % FIVE_MINUTES < self._oldest():
            return None
        recent = self._up_to(at) - self._up_to(border)
        if recent <= 1000:
            return None
        total = self._up_to(border) - self._up_to(at - DAY - 1)
        if recent * windows <= 10 * total:
            return None
        return Figures(at, min(recent, LARGEST), min(total, LARGEST), windows)

    def state(self) -> dict[str, Any]:
        """Write what docs/formats/state.md calls the activity."""
        fine = self.newest - self.newest % FIVE_MINUTES - BY_THE_MINUTE
        start = bisect_right(self._times, self._oldest() - 1)
        middle = bisect_right(self._times, fine - 1)
        used = self.newest >= 0
        return {
            "first_use": format_instant(self.first_use) if used else None,
            "minutes": self._buckets(middle, len(self._times), MINUTE),
            "newest": format_instant(self.newest) if used else None,
            "windows": self._buckets(start, middle, FIVE_MINUTES),
        }

    def _buckets(self, start: int, end: int, length: int) -> list[list[Any]]:
        """Gather the usage between two places by stretches of a length."""
        buckets = []
        places = range(start, end)
        for index, group in groupby(places, lambda place: self._times[place] // length):
            inside = list(group)
            before = self._sums[inside[0] - 1] if inside[0] else self._forgotten
            numbers = [self._numbers[place] for place in inside]
            requests = str(self._sums[inside[-1]] - before)
            began = format_instant(index * length)
            buckets.append([began, requests, min(numbers), max(numbers)])
        return buckets
