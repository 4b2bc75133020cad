"""The pages on events, states and price books say what is stored: their vectors are run."""

import json
import tomllib
from pathlib import Path
from typing import Any

from tollbook import merkle
from tollbook.amounts import format_pico
from tollbook.recompute import Difference, Recomputation

from adapters.event_store.mapper import encode, leaf_hash, recorded_from
from application.folded import FoldedLedger, state_hash, state_lines
from domain.commands import parse
from domain.event import EVENT_TYPES
from domain.policy import policy_to_wire
from domain.pricebook import PriceBook, decide_publish, evolve
from domain.pricing import capped, charge, worst
from domain.tiers import TEMPLATES
from domain.units import quantities_from_wire

FORMATS = Path(__file__).resolve().parents[2] / "docs" / "formats"


def block(page: str, info: str) -> str:
    """Return the fenced block of a page that carries this info string."""
    text = (FORMATS / page).read_text(encoding="utf-8")
    mark = f"```{info}\n"
    assert mark in text, f"{page} has no block {mark}"
    return text.partition(mark)[2].partition("```")[0]


START = "2025-01-01T00:00:00.000000Z"
VECTORS = json.loads(block("events.md", "json vectors"))


def folded() -> FoldedLedger:
    """Fold the events of the page."""
    ledger = FoldedLedger()
    for row in VECTORS["events"]:
        ledger.apply(recorded_from(tuple(row[:14])))
    return ledger


def test_every_kind_of_event_stands_on_the_page() -> None:
    assert {(row[1], row[2]) for row in VECTORS["events"]} == EVENT_TYPES.keys()
    text = (FORMATS / "events.md").read_text(encoding="utf-8")
    for (name, _), kind in EVENT_TYPES.items():
        assert f"| `{name}` |" in text
        for field in kind.__annotations__:
            if field not in ("NAME", "VERSION", "KIND"):
                assert f"`{field}`" in text, f"{name}.{field}"


def test_the_events_of_the_page_are_stored_as_they_stand_there() -> None:
    tree = merkle.Frontier()
    for row in VECTORS["events"]:
        recorded = recorded_from(tuple(row[:14]))
        data = encode(recorded.event)
        assert data.decode() == row[13]
        assert recorded.event.stream() == recorded.stream
        leaf = leaf_hash(recorded, data)
        assert leaf.hex() == row[14]
        tree.append(leaf)
    assert tree.root().hex() == VECTORS["root"]


def test_the_state_of_the_page_is_the_fold_of_its_events() -> None:
    text = block("state.md", "json state")
    ledger = folded()
    assert b"".join(state_lines(ledger)).decode() == text
    assert f"`{state_hash(ledger)}`" in (FORMATS / "state.md").read_text(encoding="utf-8")


def test_the_recomputation_comes_to_the_state_of_the_page() -> None:
    differences: list[Difference] = []
    recomputation = Recomputation(differences.append, whole=True)
    for row in VECTORS["events"]:
        recomputation.add(tuple(row[:14]))
    ledger = folded()
    assert differences == []
    assert dict(recomputation.customer_states()) == dict(ledger.customer_states())
    assert dict(recomputation.book_states()) == dict(ledger.book_states())
    assert dict(recomputation.export_states()) == dict(ledger.export_states())
    assert dict(recomputation.model_states()) == dict(ledger.model_states())
    assert dict(recomputation.policy_states()) == dict(ledger.policy_states())
    assert dict(recomputation.license_states()) == dict(ledger.license_states())
    assert dict(recomputation.pipeline_states()) == dict(ledger.pipeline_states())
    assert dict(recomputation.stages_states()) == dict(ledger.stages_states())


def test_the_tiers_of_the_page_are_those_of_the_program() -> None:
    page = json.loads(block("licenses.md", "json tiers"))
    assert {name: policy_to_wire(policy) for name, policy in TEMPLATES.items()} == page


def example() -> PriceBook:
    """Publish the example of the price book's page."""
    document: dict[str, Any] = tomllib.loads(block("price-book.md", "toml example"))
    body = {**document["book"], "models": document["model"]}
    command = parse("publish_prices", {"id": f"default:{START}", "book": body})
    events = decide_publish(PriceBook("default"), command, 0)  # type: ignore[arg-type]
    return evolve(PriceBook("default"), events[0])


def test_the_example_of_a_price_book_costs_what_the_page_says() -> None:
    (version,) = example().versions
    for vector in json.loads(block("price-book.md", "json vectors")):
        prices, usage = version.models[vector["model"]], quantities_from_wire(vector["usage"])
        assert format_pico(charge(prices, usage, vector["volume"])) == vector["charge"]
        bounded = capped(prices, usage)
        assert format_pico(worst(prices, bounded, vector["volume"])) == vector["worst"]
