"""The oracle's prices: what usage costs, by counting how many tokens fall into each tier."""

from datetime import timedelta
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.model.wire import EPOCH, instant

TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens")
MILLION = 1_000_000


class Version(NamedTuple):
    """One published version of a book: its number, its instant, and its models as they came."""

    number: int
    effective_from: int
    models: dict[str, dict[str, Any]]


class Books:
    """Every version of every book, as published."""

    def __init__(self) -> None:
        self._published: list[dict[str, Any]] = []

    def publish(self, book: dict[str, Any]) -> None:
        """Take a version of a book."""
        self._published.append(book)

    def currency(self, name: str) -> str | None:
        """Return a book's currency, if it has a version."""
        return next((book["currency"] for book in self._published if book["id"] == name), None)

    def versions(self, name: str) -> list[Version]:
        """Return the versions of a book in the order of their instants."""
        bodies = [book for book in self._published if book["id"] == name]
        found = [
            Version(
                number,
                instant(body["effective_from"]),
                {model["name"]: model for model in body["models"]},
            )
            for number, body in enumerate(bodies, 1)
        ]
        return sorted(found, key=lambda version: version.effective_from)

    def in_force(self, name: str, start: int, end: int) -> list[Version]:
        """Return the versions that are in force at some instant from start to end."""
        versions = self.versions(name)
        ends = [later.effective_from for later in versions[1:]]
        found = []
        for index, version in enumerate(versions):
            gone = index < len(ends) and ends[index] <= start
            if version.effective_from <= end and not gone:
                found.append(version)
        return found

    def changed_field(self, book: dict[str, Any]) -> str | None:
        """Return the field by which a book is not the version in force at its instant, and more."""
        at = instant(book["effective_from"])
        before = next(iter(self.in_force(book["id"], at, at)), None)
        if before is None:
            return None
        if before.effective_from == at:
            return "effective_from"
        places = {model["name"]: place for place, model in enumerate(book["models"])}
        for name, old in before.models.items():
            if name not in places:
                return "models"
            new = book["models"][places[name]]
            given, wanted = new.get("prices", {}), old.get("prices", {})
            fields = [
                f"prices.{unit}" for unit in sorted(wanted) if wanted[unit] != given.get(unit)
            ]
            bounds = ("tiers", "max_output_tokens")
            fields += [field for field in bounds if old.get(field) != new.get(field)]
            if fields:
                return f"models.{places[name]}.{fields[0]}"
        return None


def month_of(moment: int, zone: str) -> tuple[int, int]:
    """Return the calendar month of a moment in a zone."""
    local = (EPOCH + timedelta(microseconds=moment)).astimezone(ZoneInfo(zone))
    return local.year, local.month


def tokens(usage: dict[str, Any]) -> int:
    """Return how many tokens usage has, of all three kinds."""
    return sum(int(usage.get(unit, 0)) for unit in TOKENS)


def unpriced(model: dict[str, Any], usage: dict[str, Any]) -> set[str]:
    """Return the units that are used but have no price."""
    priced = {*model.get("prices", {}), *(TOKENS if "tiers" in model else ())}
    return {unit for unit, count in usage.items() if Fraction(count) and unit not in priced}


def flat(model: dict[str, Any], usage: dict[str, Any]) -> Fraction:
    """Return the price of the units that have a flat price."""
    total = Fraction(0)
    for unit, count in usage.items():
        if unit in model.get("prices", {}):
            per = MILLION if unit in TOKENS else 1
            total += Fraction(count) * Fraction(model["prices"][unit]) / per
    return total


def price_in(tier: dict[str, Any], unit: str) -> Fraction:
    """Return the price of a kind of token in a tier."""
    if unit == "output_tokens":
        return Fraction(tier["output"])
    if unit == "cached_input_tokens" and "cached_input" in tier:
        return Fraction(tier["cached_input"])
    return Fraction(tier["input"])


def price(model: dict[str, Any], usage: dict[str, Any], volume: int) -> Fraction:
    """Return what usage costs after so many tokens in the period."""
    total, reached = flat(model, usage), volume
    for unit in TOKENS if "tiers" in model else ():
        until, begins = reached + int(usage.get(unit, 0)), 0
        for tier in model["tiers"]:
            ends = tier.get("up_to", until)
            falls = max(0, min(until, ends) - max(reached, begins))
            total += falls * price_in(tier, unit) / MILLION
            begins = ends
        reached = until
    return total


def highest(model: dict[str, Any], estimate: dict[str, Any], volume: int) -> Fraction:
    """Return the most that an estimate can cost, whatever is settled before it."""
    estimate = dict(estimate)
    has_output = "tiers" in model or "output_tokens" in model.get("prices", {})
    if "max_output_tokens" in model and has_output:
        most = model["max_output_tokens"]
        estimate["output_tokens"] = min(estimate.get("output_tokens", most), most)
    total = flat(model, estimate)
    reachable = [
        tier for tier in model.get("tiers", []) if "up_to" not in tier or tier["up_to"] > volume
    ]
    for unit in TOKENS if reachable else ():
        dearest = max(price_in(tier, unit) for tier in reachable)
        total += int(estimate.get(unit, 0)) * dearest / MILLION
    return total
