"""What usage costs, after docs/formats/price-book.md: tiers, versions, the worst that can come.

Amounts are integers of 10^-12 of the currency unit. A price of 1 per million tokens is 10^-6 per
token, so a price in its own 10^-6 is exactly the number of 10^-12 that one token costs.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from tollbook.amounts import parse_micro, parse_price
from tollbook.errors import Invalid
from tollbook.times import SECOND, parse_instant

TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens")
"""In the order in which one inference walks through the tiers."""

MEASURED = ("gpu_seconds", "compute_units")
"""Counted in millionths; all other units are whole numbers."""

Quantities = dict[str, int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unpriced(NamedTuple):
    """Why there is no price: the code and the facts of the refusal."""

    code: str
    facts: dict[str, Any]


def quantities(value: object) -> Quantities:
    """Read usage or an estimate from an event."""
    if type(value) is not dict:
        raise Invalid.because("usage", value, "an object of units and quantities")
    read = {}
    for unit, given in value.items():
        quantity = parse_micro(given, unit) if unit in MEASURED else given
        if type(quantity) is not int or quantity < 0:
            raise Invalid.because(unit, given, "a quantity of zero or more")
        read[unit] = quantity
    return read


def tokens_of(usage: Quantities) -> int:
    """Count the tokens that move the customer through the tiers."""
    return sum([usage.get(unit, 0) for unit in TOKENS])


class ModelPrices:
    """The prices of one model in one version of a book."""

    def __init__(self, model: dict[str, Any]) -> None:
        """Read a model as it was published."""
        self.rates = {unit: _rate(unit, price) for unit, price in model.get("prices", {}).items()}
        self.bounds: list[int] = []
        self.tiers: list[tuple[int, int | None, dict[str, int]]] = []
        """(first token is after, last token, price of a token by unit)."""
        lower = 0
        for tier in model.get("tiers", ()):
            upper = tier.get("up_to")
            prices = {
                "input_tokens": parse_price(tier["input"]),
                "cached_input_tokens": parse_price(tier.get("cached_input", tier["input"])),
                "output_tokens": parse_price(tier["output"]),
            }
            self.tiers.append((lower, upper, prices))
            if upper is not None:
                self.bounds.append(upper)
                lower = upper
        self.worst_from = [
            {unit: max(prices[unit] for _, _, prices in self.tiers[first:]) for unit in TOKENS}
            for first in range(len(self.tiers))
        ]
        self.output_cap: int | None = model.get("max_output_tokens")

    def unpriced(self, usage: Quantities) -> str | None:
        """Name the first unit that is used and has no price."""
        for unit, quantity in usage.items():
            if quantity and unit not in self.rates and not (self.tiers and unit in TOKENS):
                return unit
        return None

    def charge(self, usage: Quantities, volume: int) -> int:
        """Price usage that begins after `volume` tokens of the period."""
        total = 0
        for unit in TOKENS if self.tiers else ():
            quantity = usage.get(unit, 0)
            total += self._walk(unit, volume, volume + quantity)
            volume += quantity
        for unit, quantity in usage.items():
            if quantity and not (self.tiers and unit in TOKENS):
                total += quantity * self.rates[unit]
        return total

    def _walk(self, unit: str, start: int, end: int) -> int:
        """Price the tokens start+1 to end, each at the price of the tier in which it falls."""
        total = 0
        for lower, upper, prices in self.tiers:
            if lower >= end:
                break
            last = end if upper is None or upper > end else upper
            if last > start:
                total += (last - max(start, lower)) * prices[unit]
        return total

    def worst(self, estimate: Quantities, volume: int) -> int:
        """Price an estimate at the highest price of each unit that is still ahead."""
        estimate = self._bounded(estimate)
        ahead = self.worst_from[bisect_right(self.bounds, volume)] if self.tiers else {}
        total = 0
        for unit, quantity in estimate.items():
            if quantity:
                total += quantity * (ahead[unit] if unit in ahead else self.rates[unit])
        return total

    def _bounded(self, estimate: Quantities) -> Quantities:
        """Bound the output by what the model can produce; no word about output means all of it."""
        cap = self.output_cap
        if cap is None or not (self.tiers or "output_tokens" in self.rates):
            return estimate
        return {**estimate, "output_tokens": min(estimate.get("output_tokens", cap), cap)}


def _rate(unit: str, price: str) -> int:
    per_base_unit = parse_price(price)
    return per_base_unit if unit in TOKENS or unit in MEASURED else per_base_unit * 10**6


class Version(NamedTuple):
    """One version of a book."""

    number: int
    effective_from: int
    models: dict[str, ModelPrices]
    published: dict[str, dict[str, Any]]
    """The models as they were published, by name."""


class Changed(NamedTuple):
    """What a version would change of the prices that another has at its instant."""

    field: str
    expected: object
    found: object


class Book:
    """All versions of a price book, in the order in which they take effect."""

    __slots__ = ("currency", "versions")

    def __init__(self, currency: str) -> None:
        """Start a book that has no version yet."""
        self.currency = currency
        self.versions: list[Version] = []

    def publish(self, data: dict[str, Any]) -> None:
        """Add a published version."""
        published = {model["name"]: model for model in data["models"]}
        models = {name: ModelPrices(model) for name, model in published.items()}
        effective_from = parse_instant(data["effective_from"])
        self.versions.append(Version(len(self.versions) + 1, effective_from, models, published))
        self.versions.sort(key=lambda version: version.effective_from)

    def changed(self, data: dict[str, Any], now: int) -> Changed | None:
        """Return what a version would change, unless it begins after now and after all others."""
        at = parse_instant(data["effective_from"])
        if not self.versions or at > max(now, self.versions[-1].effective_from):
            return None
        known = self.in_force(at, at)
        if not known:
            return None
        if known[0].effective_from == at:
            return Changed("effective_from", "an instant of its own", data["effective_from"])
        given = {model["name"]: model for model in data["models"]}
        for name, before in known[0].published.items():
            after = given.get(name)
            if after is None or _without_additions(before, after) != before:
                return Changed("models", before, after)
        return None

    def in_force(self, start: int, end: int) -> list[Version]:
        """Return every version that is in force at some instant from start to end, oldest first."""
        found = []
        for version in reversed(self.versions):
            if version.effective_from <= end:
                found.append(version)
                if version.effective_from <= start:
                    break
        return found[::-1]


def _without_additions(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return a published model without the prices of units that had no price before."""
    old = before.get("prices", {})
    prices = {unit: price for unit, price in after.get("prices", {}).items() if unit in old}
    rest = {name: value for name, value in after.items() if name != "prices"}
    return {**rest, "prices": prices} if prices else rest


def month(instant: int, zone: str) -> str:
    """Return the calendar month of an instant in a time zone."""
    return _month_of_second(instant // SECOND, zone)


# Neighbouring events share their second, and no zone changes its offset within one.
@lru_cache(maxsize=4096)
def _month_of_second(second: int, zone: str) -> str:
    local = _EPOCH + timedelta(seconds=second)
    if zone != "UTC":
        # Loaded by whoever has a zone of their own; it looks for its data on the whole machine.
        from zoneinfo import ZoneInfo

        local = local.astimezone(ZoneInfo(zone))
    return f"{local.year:04d}-{local.month:02d}"
