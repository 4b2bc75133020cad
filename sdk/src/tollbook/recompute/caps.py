"""Caps on usage: what counts against them, and whether they leave room (docs/ledger.md)."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tollbook.amounts import format_micro
from tollbook.errors import Invalid
from tollbook.recompute.prices import MEASURED, TOKENS, Quantities, quantities
from tollbook.times import SECOND, format_instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_TICK = timedelta(microseconds=1)
LARGEST = 2**53 - 1
CALENDARS = ("hour", "day", "week", "month")
UNITS = (*TOKENS, *MEASURED, "requests", "pages", "images")


class Cap:
    """A cap with the usage that it has counted, by the start of the window or step."""

    def __init__(self, body: dict[str, Any]) -> None:
        """Read a cap as it was set."""
        self.body = body
        self.unit: str = body["unit"]
        self.limit = quantities({self.unit: body["limit"]})[self.unit]
        self.seconds: int | None = body.get("rolling_seconds")
        calendar = body.get("calendar")
        if (self.seconds is None) == (calendar is None):
            raise Invalid.because("caps", body, "a calendar or rolling_seconds")
        if calendar not in (None, *CALENDARS) or self.unit not in UNITS:
            raise Invalid.because("caps", body, "a known calendar and unit")
        self.counts: dict[int, int] = {}

    def rule(self) -> dict[str, Any]:
        """Return everything that makes it the same cap when it is set again."""
        return {name: value for name, value in self.body.items() if name != "limit"}

    def concerns(self, model: str) -> bool:
        """Say whether a model's usage counts."""
        return model in self.body.get("models", [model])

    def asked(self, estimate: Quantities) -> int:
        """Return what an estimate asks for; a reservation is one request unless it says more."""
        if self.unit == "requests" and "requests" not in estimate:
            return 1
        return estimate.get(self.unit, 0)

    def count(self, usage: Quantities, requests: int, occurred_at: int, at: int, zone: str) -> None:
        """Count usage that is charged."""
        units = requests if self.unit == "requests" else usage.get(self.unit, 0)
        if not units:
            return
        start = self._start(occurred_at, zone)
        self.counts[start] = self.counts.get(start, 0) + units
        if self.seconds is None:
            kept = sorted(self.counts)[-2:]
        else:
            kept = [each for each in self.counts if each >= self._oldest(at)]
        self.counts = {each: self.counts[each] for each in kept}

    def _start(self, instant: int, zone: str) -> int:
        if self.seconds is None:
            return max(0, window(self.body["calendar"], instant, zone)[0])
        return instant // self._step() * self._step()

    def _step(self) -> int:
        assert self.seconds is not None
        return (self.seconds + 59) // 60 * SECOND

    def _oldest(self, at: int) -> int:
        """Return the start of the oldest step that counts at an instant."""
        assert self.seconds is not None
        return (at - self.seconds * SECOND) // self._step() * self._step()

    def used(self, at: int, zone: str) -> int:
        """Return what counts as used at an instant."""
        if self.seconds is None:
            return self.counts.get(self._start(at, zone), 0)
        oldest = self._oldest(at)
        return sum(units for start, units in self.counts.items() if start >= oldest)

    def resets(self, at: int, zone: str) -> int:
        """Return when something of what is used counts no longer."""
        if self.seconds is None:
            return window(self.body["calendar"], at, zone)[1]
        counting = [start for start in self.counts if start >= self._oldest(at)]
        begun = min(counting) + self._step() if counting else at
        return begun + self.seconds * SECOND

    def move(self, at: int, before: str, after: str) -> None:
        """Carry the present window's count over into another time zone."""
        if self.seconds is None:
            used = self.used(at, before)
            self.counts = {self._start(at, after): used} if used else {}

    def shown(self, units: int) -> int | str:
        """Write a quantity of the cap's unit."""
        return format_micro(units) if self.unit in MEASURED else min(units, LARGEST)

    def state(self) -> dict[str, Any]:
        """Write the cap as docs/formats/state.md does."""
        used = [[format_instant(start), str(self.counts[start])] for start in sorted(self.counts)]
        return {**self.body, "used": used}


def window(calendar: str, instant: int, zone: str) -> tuple[int, int]:
    """Return where a calendar window begins and where the next one does."""
    # Loaded by whoever has caps; it looks for its data on the whole machine.
    from zoneinfo import ZoneInfo

    local = (_EPOCH + timedelta(microseconds=instant)).astimezone(ZoneInfo(zone))
    if calendar == "hour":
        into = (local.replace(tzinfo=None) - datetime.min) % _HOUR  # noqa: DTZ901 - no zone here
        start = instant - into // _TICK
        return start, start + _HOUR // _TICK
    day = local.date()
    if calendar == "day":
        first, last = day, day + timedelta(days=1)
    elif calendar == "week":
        first = day - timedelta(days=day.weekday())
        last = first + timedelta(days=7)
    else:
        first = day.replace(day=1)
        last = (first + timedelta(days=32)).replace(day=1)
    midnights = [datetime(*each.timetuple()[:3], tzinfo=local.tzinfo) for each in (first, last)]
    start, end = ((each - _EPOCH) // _TICK for each in midnights)
    return start, end
