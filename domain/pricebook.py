"""PriceBook: versions of prices, each in force from an instant until the next one is.

Publishing never changes what was in force before: a later version takes effect in the future.
"""

from bisect import bisect_right
from typing import NamedTuple

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
        earliest = max(now, book.versions[-1].effective_from)
        if body.effective_from <= earliest:
            raise Invalid.because(
                "effective_from",
                format_instant(body.effective_from),
                f"after {format_instant(earliest)}: prices already in force do not change",
            )
    return (
        PricesPublished(
            book=body.id,
            currency=body.currency,
            effective_from=body.effective_from,
            models=body.wire_models(),
            version=len(book.versions) + 1,
        ),
    )


def evolve(book: PriceBook, event: Event) -> PriceBook:
    """Apply a published version."""
    if not isinstance(event, PricesPublished):
        return book
    models = {model["name"]: compile_model(model) for model in event.models}
    version = PriceVersion(event.version, event.effective_from, models)
    return PriceBook(event.book, event.currency, (*book.versions, version))
