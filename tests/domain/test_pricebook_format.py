"""The schema of a price book: what it accepts, and every way in which it refuses."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.commands import PublishPrices, parse
from domain.pricebook_format import MODELS_MAX, TIERS_MAX
from tests.domain.examples import ALWAYS, EVERYTHING, FOUNDING, instant, publication, version_of


def book(**changes: Any) -> dict[str, Any]:
    """Return a good book with some fields replaced; `...` removes one."""
    body = {**version_of(ALWAYS, FOUNDING), **changes}
    return {key: value for key, value in body.items() if value is not ...}


def one_model(**changes: Any) -> dict[str, Any]:
    """Return a book whose one model has these fields besides its name."""
    return book(models=[{"name": "m", **changes}])


def tiered(*tiers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a book with one graduated model."""
    return one_model(tiers=list(tiers), **changes)


def tier(up_to: Any = None, **changes: Any) -> dict[str, Any]:
    """Return a tier with prices 2 and 1."""
    body = {"input": "2", "output": "1", **changes}
    return body if up_to is None else {"up_to": up_to, **body}


def test_the_founding_book_is_accepted_as_it_stands() -> None:
    command = publication(book())
    assert (command.book.id, command.book.currency) == ("default", "USD")
    assert command.book.effective_from == instant(ALWAYS)
    assert command.id == "default:2020-01-01T00:00:00.000000Z"


def test_models_are_stored_in_the_order_of_their_keys_without_what_is_absent() -> None:
    (model,) = publication(book()).book.wire_models()
    assert list(model) == ["max_output_tokens", "name", "tiers"]
    assert model["tiers"][0] == {"input": "10", "output": "30", "up_to": 1_000_000}
    assert model["tiers"][3] == {"input": "5", "output": "15"}


def test_prices_are_stored_in_their_shortest_form() -> None:
    prices = {"requests": "0.500000", "pages": 3, "images": "0", "gpu_seconds": "10.0"}
    (model,) = publication(one_model(prices=prices)).book.wire_models()
    shortest = {"gpu_seconds": "10", "images": "0", "pages": "3", "requests": "0.5"}
    assert model["prices"] == shortest


def test_every_unit_may_have_a_price() -> None:
    assert len(publication(book(models=[EVERYTHING])).book.models[0].prices) == 8


GOOD: list[dict[str, Any]] = [
    one_model(pricing="flat", prices={"requests": 1}),
    tiered(tier(), pricing="graduated"),
    tiered(tier(1), tier(2), tier()),
    tiered(tier(), prices={"requests": "0.002", "gpu_seconds": "1"}),
    tiered(tier(cached_input="0.000001")),
    tiered(*(tier(number) for number in range(1, TIERS_MAX)), tier()),
    one_model(prices={"requests": "1000000"}),
]


@pytest.mark.parametrize("body", GOOD)
def test_these_books_are_accepted(body: dict[str, Any]) -> None:
    assert publication(body).book.models


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("a float", one_model(prices={"requests": 0.5}), "never a float"),
    ("a boolean", one_model(prices={"requests": True}), "never a float"),
    ("no price at all", one_model(prices={"requests": None}), "never a float"),
    ("seven places", one_model(prices={"requests": "0.0000001"}), "at most 6"),
    ("an exponent", one_model(prices={"requests": "1e-3"}), "at most 6"),
    ("a negative price", one_model(prices={"requests": "-1"}), "not negative"),
    ("a negative number", one_model(prices={"requests": -1}), "not negative"),
    ("a huge price", one_model(prices={"requests": "1000000.000001"}), "1000000"),
    ("not a number", one_model(prices={"requests": "NaN"}), "at most 6"),
    ("a float in a tier", tiered(tier(input=0.5)), "never a float"),
    ("an unknown unit", one_model(prices={"thoughts": "1"}), "'thoughts' is not one of"),
    ("no prices", one_model(), "has no price"),
    ("empty prices", one_model(prices={}), "has no price"),
    ("no tiers", tiered(), "at least 1"),
    ("too many tiers", tiered(*(tier(n) for n in range(1, TIERS_MAX + 1)), tier()), "at most 50"),
    ("volume pricing", tiered(tier(), pricing="volume"), "'volume' is not built yet"),
    ("package pricing", one_model(prices={"pages": 1}, pricing="package"), "'package' is not"),
    ("minimum", one_model(prices={"pages": 1}, pricing="minimum"), "'minimum' is not built"),
    ("flat with tiers", tiered(tier(), pricing="flat"), "'graduated' with tiers"),
    ("graduated without", one_model(prices={"pages": 1}, pricing="graduated"), "'graduated' with"),
    ("tokens priced twice", tiered(tier(), prices={"output_tokens": 1}), "priced by the tiers"),
    ("an end on the last tier", tiered(tier(1), tier(2)), "the last"),
    ("no end on an earlier tier", tiered(tier(), tier()), "only the last tier"),
    ("overlapping tiers", tiered(tier(5), tier(4), tier()), "tier 2 must be above 5"),
    ("an empty tier", tiered(tier(5), tier(5), tier()), "tier 2 must be above 5"),
    ("a tier up to zero", tiered(tier(0), tier()), "greater than or equal to 1"),
    ("a fraction of a token", tiered(tier(1.5), tier()), "integer"),
    ("a tier without output", tiered({"input": "1"}), "required"),
    ("an unknown key in a tier", tiered(tier(batch="1")), "not permitted"),
    ("an unknown key in a model", one_model(prices={"pages": 1}, discount="1"), "not permitted"),
    ("an unknown key in the book", book(region="eu"), "not permitted"),
    ("no cap on output", one_model(prices={"pages": 1}, max_output_tokens=0), "equal to 1"),
    ("a bad model name", book(models=[{**FOUNDING, "name": "a b"}]), "pattern"),
    ("a model twice", book(models=[FOUNDING, EVERYTHING, FOUNDING]), "stands twice"),
    ("no models", book(models=[]), "at least 1"),
    ("models of another form", book(models={"m": {}}), "array"),
    ("no id", book(id=...), "required"),
    ("a bad id", book(id="my book"), "pattern"),
    ("a bad currency", book(currency="usd"), "pattern"),
    ("no instant", book(effective_from=...), "required"),
    ("a local time", book(effective_from="2026-01-01T00:00:00"), "RFC 3339"),
    ("a number as time", book(effective_from=1), "RFC 3339"),
]


@pytest.mark.parametrize(
    ("body", "rule"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_these_books_are_refused(body: dict[str, Any], rule: str) -> None:
    with pytest.raises(Invalid, match=rule) as refused:
        parse("publish_prices", {"id": "x", "book": body})
    assert str(refused.value.facts["field"]).startswith("book")
    assert refused.value.facts["rule"]


def test_a_book_has_a_limit_on_its_models() -> None:
    models = [{"name": f"m{number}", "prices": {"pages": 1}} for number in range(MODELS_MAX + 1)]
    with pytest.raises(Invalid, match="at most 1000"):
        publication(book(models=models))
    assert len(publication(book(models=models[1:])).book.models) == MODELS_MAX


def test_a_published_command_is_a_value() -> None:
    assert publication(book()) == publication(book())
    assert isinstance(publication(book()), PublishPrices)
