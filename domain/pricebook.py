"""PriceBook: versions of prices, each in force from an instant until the next one is.

Publishing never changes a price that was in force: a version takes effect in the future, after all
others, or it only adds to what the version in force at its instant prices.
"""

from bisect import bisect_right
from typing import Any, NamedTuple

from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.commands import PublishPrices
from domain.event import Event
from domain.events import PricesPublished
from domain.pricing import ModelPrices, compile_model


class PriceVersion(NamedTuple):
    """One version of a book: its number, when it takes effect, and its prices by model."""

    version: int
    effective_from: int
    models: dict[str, ModelPrices]
    published: dict[str, dict[str, Any]]
    """The models as they were published, by name."""


class PriceBook(NamedTuple):
    """All versions of one book, in the order in which they take effect."""

    id: str
    currency: str = ""
    versions: tuple[PriceVersion, ...] = ()

    def in_force(self, instant: int) -> PriceVersion | None:
        """Return the version in force at an instant, or None before the first."""
        index = bisect_right(self.versions, instant, key=lambda each: each.effective_from)
        return self.versions[index - 1] if index else None

    def in_force_between(self, start: int, end: int) -> tuple[PriceVersion, ...]:
        """Return every version that is in force at some instant of [start, end]."""
        versions = self.versions
        if versions and versions[-1].effective_from <= start:
            return versions[-1:]
        first = max(bisect_right(versions, start, key=lambda each: each.effective_from) - 1, 0)
        last = bisect_right(versions, end, key=lambda each: each.effective_from)
        return versions[first:last]


def publication_id(book: str, effective_from: int) -> str:
    """Return the id under which a version is published, for ever: `BOOK:INSTANT`."""
    return f"{book}:{format_instant(effective_from)}"


def decide_publish(book: PriceBook, command: PublishPrices, now: int) -> tuple[Event, ...]:
    """Accept a new version, unless it would change prices that were already in force."""
    body = command.book
    name = publication_id(body.id, body.effective_from)
    if command.id != name:
        raise Invalid.because("id", command.id, f"{name} for this book and this instant")
    if book.versions:
        if body.currency != book.currency:
            raise Invalid.because("currency", body.currency, f"the book's currency {book.currency}")
        latest = max(now, book.versions[-1].effective_from)
        if body.effective_from <= latest:
            _check_only_adds(book, command, latest)
    return (
        PricesPublished(
            book=body.id,
            currency=body.currency,
            effective_from=body.effective_from,
            models=body.wire_models(),
            version=len(book.versions) + 1,
        ),
    )


def _check_only_adds(book: PriceBook, command: PublishPrices, latest: int) -> None:
    """Refuse a version that would change a price of the version in force at its instant."""
    body = command.book
    before = book.in_force(body.effective_from)
    if before is None:
        return
    kept = "prices already in force do not change"
    if before.effective_from == body.effective_from:
        taken = f"an instant from which no version is in force yet: {kept}"
        raise Invalid.because("effective_from", format_instant(body.effective_from), taken)
    kept = f"{kept} (others take effect after {format_instant(latest)})"
    models = body.wire_models()
    places = {model["name"]: place for place, model in enumerate(models)}
    for name, old in before.published.items():
        same = f"for model {name} in version {before.version}: {kept}"
        if name not in places:
            raise Invalid.because("models", models, f"a list with what stands {same}")
        place, new = places[name], models[places[name]]
        changed = _changed(old, new)
        if changed is not None:
            field, value = changed
            raise Invalid.because(f"models.{place}.{field}", value, f"as {same}")


def _changed(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, Any] | None:
    """Return the first field of a model that is not as it was, with its value now.

    A unit that had no price may get one: it was never charged.
    """
    prices = new.get("prices", {})
    for unit, price in old.get("prices", {}).items():
        if prices.get(unit) != price:
            return f"prices.{unit}", prices.get(unit)
    for field in ("tiers", "max_output_tokens"):
        if old.get(field) != new.get(field):
            return field, new.get(field)
    return None


def evolve(book: PriceBook, event: Event) -> PriceBook:
    """Put a published version in its place among the others."""
    if not isinstance(event, PricesPublished):
        return book
    published = {model["name"]: model for model in event.models}
    models = {name: compile_model(model) for name, model in published.items()}
    version = PriceVersion(event.version, event.effective_from, models, published)
    versions = book.versions
    place = bisect_right(versions, event.effective_from, key=lambda each: each.effective_from)
    ordered = (*versions[:place], version, *versions[place:])
    return PriceBook(event.book, event.currency, ordered)
