"""What the tables of the domain tests are made of: amounts, instants, price books."""

from fractions import Fraction
from typing import Any

from tollbook.times import parse_instant

from domain.commands import PublishPrices, parse
from domain.pricebook import PriceBook, decide_publish, evolve, publication_id
from domain.pricing import ModelPrices

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

ALWAYS = "2020-01-01T00:00:00Z"
"""When the first version of every example book takes effect."""

GPT4 = "gpt4-equivalent"

FOUNDING: dict[str, Any] = {
    "name": GPT4,
    "pricing": "graduated",
    "max_output_tokens": 16_384,
    "tiers": [
        {"up_to": 1_000_000, "input": "10", "output": "30"},
        {"up_to": 10_000_000, "input": "8", "output": "24"},
        {"up_to": 100_000_000, "input": "6", "output": "18"},
        {"input": "5", "output": "15"},
    ],
}
"""The table of the founding documents, in USD per million tokens."""

EVERYTHING: dict[str, Any] = {
    "name": "everything",
    "prices": {
        "requests": "0.002",
        "input_tokens": "3",
        "cached_input_tokens": "0.3",
        "output_tokens": "15",
        "pages": "0.01",
        "images": "0.04",
        "gpu_seconds": "0.000225",
        "compute_units": "0.5",
    },
}
"""A flat price for every unit there is."""

REQUEST: dict[str, Any] = {"name": "per-request", "prices": {"requests": "1"}}
"""One currency unit per request: amounts that are easy to read."""


def usd(text: str | int) -> int:
    """Return an amount of currency units in 10^-12, and refuse what would need rounding."""
    pico = Fraction(text) * 10**12
    assert pico.denominator == 1, text
    return pico.numerator


def instant(text: str) -> int:
    """Return the microseconds since 1970 of an RFC 3339 time."""
    return parse_instant(text)


NOON = instant("2026-03-10T12:00:00Z")
"""When the examples happen, unless they say otherwise."""


def compiled(model: dict[str, Any]) -> ModelPrices:
    """Return a model's prices as the rules use them, after the checks of a publication."""
    (version,) = price_book(version_of(ALWAYS, model)).versions
    return version.models[model["name"]]


def version_of(effective_from: str, *models: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a version of the book `default`."""
    return {
        "id": "default",
        "currency": "USD",
        "effective_from": effective_from,
        "models": list(models),
    }


def publication(body: dict[str, Any]) -> PublishPrices:
    """Return the command that publishes a body."""
    command = parse("publish_prices", {"id": "pending", "book": body})
    assert isinstance(command, PublishPrices)
    name = publication_id(command.book.id, command.book.effective_from)
    return PublishPrices(id=name, book=command.book)


def price_book(*bodies: dict[str, Any]) -> PriceBook:
    """Return a book after the publication of these versions, each long before it takes effect."""
    book = PriceBook("default")
    for body in bodies:
        (event,) = decide_publish(book, publication(body), now=0)
        book = evolve(book, event)
    return book
