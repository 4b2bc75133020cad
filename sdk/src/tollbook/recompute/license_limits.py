"""Limits of licences: what counts in which window, and what they leave (docs/formats/licenses.md).

Unlike the program that wrote the ledger, a count is moved by what each event does: it is taken,
given back, and used, each by itself.
"""

from typing import Any, NamedTuple

from tollbook.amounts import format_micro
from tollbook.recompute.caps import LARGEST, window
from tollbook.recompute.prices import MEASURED, Quantities, quantities
from tollbook.times import MAX_INSTANT, SECOND, format_instant

_FIXED = {"second": SECOND, "minute": 60 * SECOND}
_CALENDARS = {"day": "day", "period": "month"}


def fits(names: list[str] | None, model: str) -> bool:
    """Say whether a model is meant: by its name, by how it begins, or because nothing is said."""
    if names is None:
        return True
    return any(
        model.startswith(name[:-1]) if name.endswith("*") else model == name for name in names
    )


class Use(NamedTuple):
    """What a settlement says was used."""

    usage: Quantities
    whole: bool
    """Whether it is an inference, and not a part of one."""

    def units(self, unit: str) -> int:
        """Return the quantity of a unit; an inference is one request unless it says more."""
        if unit == "requests" and unit not in self.usage:
            return 1 if self.whole else 0
        return self.usage.get(unit, 0)


class Count:
    """A limit, and what counts in the newest window in which something was counted."""

    __slots__ = ("bound", "limit", "name", "per", "start", "unit", "units")

    def __init__(self, limit: dict[str, Any]) -> None:
        """Read a limit of a policy; nothing counts yet."""
        self.limit = limit
        self.unit: str = limit["unit"]
        self.per: str = limit["per"]
        self.bound = quantities({self.unit: limit["limit"]})[self.unit]
        models = limit.get("models")
        self.name = (limit["id"], self.unit, self.per, None if models is None else tuple(models))
        """What makes it the same limit under another policy."""
        self.start = 0
        self.units = 0

    def concerns(self, model: str) -> bool:
        """Say whether a model's use counts."""
        return fits(self.limit.get("models"), model)

    def asks(self, estimate: Quantities, *, new: bool) -> int:
        """Return what an estimate asks for; a new use is one request unless requests are named."""
        if self.unit == "requests" and self.unit not in estimate:
            return 1 if new else 0
        return estimate.get(self.unit, 0)

    def window(self, at: int, zone: str) -> tuple[int, int]:
        """Return the beginning and the end of the window of an instant."""
        if self.per in _FIXED:
            length = _FIXED[self.per]
            return at // length * length, (at // length + 1) * length
        if self.per == "total":
            return 0, MAX_INSTANT
        begin, end = window(_CALENDARS[self.per], at, zone)
        return max(0, begin), end

    def used(self, at: int, zone: str) -> int:
        """Return what counts in the present window."""
        return self.units if self.start >= self.window(at, zone)[0] else 0

    def move(self, net: int, since: int, at: int, zone: str) -> None:
        """Add the net of one event, of a hold admitted at `since`, to the present window.

        What an earlier window admitted is its own, so nothing is taken from this one for it.
        """
        begin = max(self.start, self.window(at, zone)[0])
        if net > 0 or (net < 0 and since >= begin):
            self.units = max(0, self.used(at, zone) + net)
            self.start = begin

    def rezone(self, at: int, before: str, after: str) -> None:
        """Let the count of the present day or period go on in that of another zone."""
        if self.per in _CALENDARS:
            self.units = self.used(at, before)
            self.start = max(self.start, self.window(at, before)[0], self.window(at, after)[0])

    def shown(self, units: int) -> int | str:
        """Write a quantity of the limit's unit."""
        return format_micro(units) if self.unit in MEASURED else min(units, LARGEST)

    def state(self) -> dict[str, Any]:
        """Write the count as docs/formats/state.md does."""
        start = format_instant(self.start)
        return {"limit": self.limit, "start": start, "units": str(self.units)}


class Room(NamedTuple):
    """What the limits leave after a request, or the first that has no room for it."""

    remaining: list[list[Any]]
    full: dict[str, Any] | None
    """What the refusal says of the limit."""


def room_for(
    counts: list[Count], model: str, estimate: Quantities, at: int, zone: str, *, new: bool
) -> Room:
    """Ask every limit that concerns a model, in order.

    An extension passes a limit of which it asks nothing, however much is used.
    """
    remaining: list[list[Any]] = []
    for count in counts:
        if not count.concerns(model):
            continue
        used, asked = count.used(at, zone), count.asks(estimate, new=new)
        resets_at = format_instant(count.window(at, zone)[1])
        if used + asked > count.bound and (asked or new):
            figures = {"allowed": count.bound, "requested": asked, "used": used}
            named = {"limit": count.limit["id"], "per": count.per, "unit": count.unit}
            shown = {name: count.shown(units) for name, units in figures.items()}
            return Room([], {**named, **shown, "resets_at": resets_at})
        left = max(0, count.bound - used - asked)
        remaining.append([count.limit["id"], count.shown(left), resets_at])
    return Room(remaining, None)


def admit(
    counts: list[Count], model: str, estimate: Quantities, at: int, zone: str, *, new: bool
) -> None:
    """Count what was admitted."""
    for count in counts:
        if count.concerns(model):
            count.move(count.asks(estimate, new=new), at, at, zone)


class Held(NamedTuple):
    """A hold as a licence sees it: when it was admitted, what it expected, what it expects now."""

    since: int
    before: Quantities
    after: Quantities | None
    """None when the hold has ended."""


def end(
    counts: list[Count], model: str, held: Held | None, use: Use | None, at: int, zone: str
) -> None:
    """Give back what a hold expects no longer, and count what was used, in one step."""
    since = at if held is None else held.since
    for count in counts:
        if not count.concerns(model):
            continue
        net = 0 if use is None else use.units(count.unit)
        if held is not None:
            net -= count.asks(held.before, new=True)
            net += 0 if held.after is None else count.asks(held.after, new=True)
        count.move(net, since, at, zone)
