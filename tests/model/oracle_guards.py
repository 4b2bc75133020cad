"""The oracle's guards: lists of every use, and the fraud rule and the caps over all of them."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.model.wire import EPOCH, SECOND

MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE

Body = dict[str, Any]


@dataclass
class Cap:
    """A cap, with all usage that it has counted."""

    body: Body
    uses: list[tuple[int, int]] = field(default_factory=list)
    """(instant, units)."""

    def rule(self) -> Body:
        """Return what makes it the same cap when it is set again."""
        return {name: value for name, value in self.body.items() if name != "limit"}

    def concerns(self, model: str) -> bool:
        """Say whether usage of a model counts."""
        return "models" not in self.body or model in self.body["models"]

    def of(self, units: Body, otherwise: int) -> int:
        """Return the units that it counts; `otherwise` is for requests that are not named."""
        unit = self.body["unit"]
        return int(units.get(unit, otherwise if unit == "requests" else 0))

    def used(self, now: int, zone: str) -> int:
        """Add up what counts in the window of an instant."""
        if "calendar" in self.body:
            label = self._label(now, zone)
            return sum(units for at, units in self.uses if self._label(at, zone) == label)
        length = self.body["rolling_seconds"]
        step = -(-length // 60) * SECOND
        first = (now - length * SECOND) // step * step
        return sum(units for at, units in self.uses if at >= first)

    def _label(self, at: int, zone: str) -> tuple[int, ...]:
        local = (EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(zone))
        offset = (local.utcoffset() or timedelta()).seconds
        return {
            "hour": (local.year, local.month, local.day, local.hour, offset),
            "day": (local.year, local.month, local.day),
            "week": local.isocalendar()[:2],
            "month": (local.year, local.month),
        }[self.body["calendar"]]


class Guards:
    """What guards one account."""

    def __init__(self) -> None:
        self.uses: list[tuple[int, int]] = []
        """(instant, requests) of every charge."""
        self.blocked_at: int | None = None
        self.cleared_at = 0
        self.caps: list[Cap] = []
        self.left: dict[str, Body] = {}
        """What caps still expect of each reservation, by its id."""
        self.shares: dict[str, Body | None] = {}
        """What one inference takes of it, where it is for several."""

    def reserve(self, name: str, estimate: Body, share: Body | None = None) -> None:
        """Expect an estimate, or more of one."""
        self.shares.setdefault(name, share)
        is_new = name not in self.left
        left = self.left.setdefault(name, {})
        for unit, units in estimate.items():
            implied = 1 if unit == "requests" and not is_new else 0
            left[unit] = left.get(unit, implied) + units

    def use(self, model: str, usage: Body, whole: bool, at: int, name: str | None = None) -> None:
        """Count a charge."""
        requests = usage.get("requests", 1 if whole else 0)
        self.uses.append((at, requests))
        for cap in self.caps:
            if cap.concerns(model):
                cap.uses.append((at, cap.of(usage, requests)))
        left, share = self.left.get(name or "", {}), self.shares.get(name or "")
        for unit in left:
            left[unit] = max(0, left[unit] - (usage if share is None else share).get(unit, 0))

    def crossed(self, at: int) -> bool:
        """Say whether the usage at an instant crossed the line."""
        first = min(each for each, _ in self.uses)
        newest = max(each for each, _ in self.uses)
        border, begin = at - 5 * MINUTE, max(first, at - DAY)
        windows = (border - begin) // (5 * MINUTE)
        if border < self.cleared_at or windows < 12:
            return False
        if begin // (5 * MINUTE) < newest // (5 * MINUTE) - 300:
            return False
        recent = sum(requests for each, requests in self.uses if border < each <= at)
        total = sum(requests for each, requests in self.uses if at - DAY <= each <= border)
        return recent > 1000 and recent * windows > 10 * total

    def set_caps(self, bodies: list[Body]) -> None:
        """Replace the caps."""
        before = self.caps
        self.caps = [Cap(body) for body in bodies]
        for cap in self.caps:
            for other in before:
                if other.rule() == cap.rule():
                    cap.uses = list(other.uses)

    def move(self, now: int, before: str, after: str) -> None:
        """Carry what is used now over into another time zone."""
        for cap in self.caps:
            if "calendar" in cap.body and before != after:
                cap.uses = [(now, cap.used(now, before))]

    def over(
        self,
        model: str,
        asked: Body,
        new: bool,
        open_holds: list[tuple[str, str]],
        at: tuple[int, str],
    ) -> Body | None:
        """Return the facts of the first cap without room, of (id, model) holds, at (now, zone)."""
        for cap in self.caps:
            if not cap.concerns(model):
                continue
            requested = cap.of(asked, 1 if new else 0)
            used, held = cap.used(*at), self.held(cap, open_holds)
            if used + held + requested > cap.body["limit"]:
                figures = {"used": used, "held": held, "requested": requested}
                return {"cap": cap.body["id"], "limit": cap.body["limit"], **figures}
        return None

    def held(self, cap: Cap, open_holds: list[tuple[str, str]]) -> int:
        """Add up what open holds may still use."""
        return sum(cap.of(self.left[name], 1) for name, model in open_holds if cap.concerns(model))
