"""The oracle's limits: a list of all that was taken and given back, added up at every question."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any
from zoneinfo import ZoneInfo

from tests.model.wire import EPOCH, SECOND, written

Body = dict[str, Any]

MILLIONTHS = ("gpu_seconds", "compute_units")


def units_of(unit: str, quantity: int | str) -> int:
    """Return a quantity on the wire in whole counts or millionths."""
    return int(Decimal(quantity) * 10**6) if unit in MILLIONTHS else int(quantity)


def shown(unit: str, units: int) -> int | str:
    """Write units as a quantity on the wire."""
    if unit not in MILLIONTHS:
        return units
    text = f"{units // 10**6}.{units % 10**6:06}"
    return text.rstrip("0").rstrip(".")


def concerned(models: list[str] | None, model: str) -> bool:
    """Say whether a model is meant."""
    return models is None or any(fnmatchcase(model, each) for each in models)


def _local(at: int, zone: str) -> datetime:
    return (EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(zone))


@dataclass
class Limit:
    """One limit of a licence, with every entry that counts against it."""

    body: Body
    since: int = 0
    """Nothing that was admitted before gives anything back."""
    crossings: list[tuple[int, str]] = field(default_factory=list)
    """When the customer's time zone changed, and from which."""
    entries: list[tuple[int, int]] = field(default_factory=list)
    """(instant, units)."""

    def identity(self) -> Body:
        """Return what makes it the same limit under another policy."""
        return {name: value for name, value in self.body.items() if name != "limit"}

    def bound(self) -> int:
        """Return the most that it allows."""
        return units_of(self.body["unit"], self.body["limit"])

    def asks(self, units: Body, otherwise: int) -> int:
        """Return what is asked of it; `otherwise` is for requests that are not named."""
        unit = self.body["unit"]
        if unit == "requests":
            return int(units.get(unit, otherwise))
        return units_of(unit, units.get(unit, 0))

    def _label(self, at: int, zone: str) -> tuple[int, ...]:
        """Name the window of an instant; later windows have greater names."""
        length = {"second": SECOND, "minute": 60 * SECOND}.get(self.body["per"])
        if length is not None:
            return (at // length,)
        local = _local(at, zone)
        parts = {"day": 3, "period": 2, "total": 0}[self.body["per"]]
        return (local.year, local.month, local.day)[:parts]

    def resets_at(self, now: int, zone: str) -> str | None:
        """Return when the present window ends, or None if it never does."""
        per = self.body["per"]
        if per == "total":
            return None
        if per in ("second", "minute"):
            length = SECOND if per == "second" else 60 * SECOND
            return written((now // length + 1) * length)
        local = _local(now, zone)
        midnight = datetime(local.year, local.month, local.day, tzinfo=local.tzinfo)
        if per == "day":
            following = midnight + timedelta(days=1)
        else:
            following = (midnight.replace(day=1) + timedelta(days=31)).replace(day=1)
        return written((following - EPOCH) // timedelta(microseconds=1))

    def used(self, now: int, zone: str) -> int:
        """Add up what counts in the window of an instant."""
        window = self._label(now, zone)
        return sum(units for at, units in self.entries if self._label(at, zone) >= window)

    def add(self, net: int, opened_at: int, now: int, zone: str) -> None:
        """Enter the net of one event; of a hold that was opened earlier, too early maybe."""
        if net > 0 or self._owes(opened_at, now, zone):
            self.entries.append((max(now, self.since), net))

    def _owes(self, opened_at: int, now: int, zone: str) -> bool:
        """Say whether what was admitted then is among what is counted now."""
        return (
            opened_at >= self.since
            and self._label(opened_at, zone) >= self._label(now, zone)
            and all(self._label(opened_at, old) >= self._label(at, old) for at, old in self._moves)
        )

    @property
    def _moves(self) -> list[tuple[int, str]]:
        return self.crossings if self.body["per"] in ("day", "period") else []

    def move(self, now: int, before: str) -> None:
        """Carry what is used now over into another time zone."""
        if self.body["per"] in ("day", "period"):
            self.entries = [(now, self.used(now, before))]
            self.crossings.append((now, before))


def put_on(limits: list[Body], before: list[Limit], since: int) -> list[Limit]:
    """Return the limits of a new policy; one that stays goes on, and others begin."""
    after = []
    for body in limits:
        limit = Limit(body, since)
        for known in before:
            if known.identity() == limit.identity():
                limit = Limit(body, known.since, known.crossings, known.entries)
        after.append(limit)
    return after


@dataclass
class Lease:
    """A seat that somebody took."""

    id: str
    model: str
    leased_at: int
    expires_at: int
    returned: bool = False

    def live(self, now: int) -> bool:
        """Say whether it takes a seat."""
        return not self.returned and now < self.expires_at
