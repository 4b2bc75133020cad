"""What the model is fed about prices: models, books, and versions that add what was missing."""

from typing import Any

from hypothesis import strategies as st

from tests.model.oracle_records import UsageRules
from tests.model.oracle_rules import Body
from tests.model.wire import SECOND, instant, written

UNHEARD = "unheard-of"
"""A model that no book prices at first."""

LATE = "late"
"""A book of which nothing is in force at first."""

FLAT: Body = {
    "name": "flat",
    "prices": {"requests": "1", "pages": "0.5", "gpu_seconds": "0.25", "output_tokens": "1000"},
    "max_output_tokens": 2000,
}
TIERED: Body = {
    "name": "tiered",
    "max_output_tokens": 1500,
    "prices": {"requests": "0.25"},
    "tiers": [
        {"up_to": 1000, "input": "1000", "output": "2000"},
        {"up_to": 3000, "input": "3000", "cached_input": "500", "output": "1000"},
        {"input": "500", "output": "1500"},
    ],
}
DEARER: Body = {
    "name": "tiered",
    "tiers": [{"up_to": 2000, "input": "2000", "output": "2500"}, {"input": "1", "output": "1"}],
}

AHEAD = [1, 100 * SECOND, 1000 * SECOND]
BEHIND = [0, 1, 800 * SECOND, 7200 * SECOND, 86_400 * SECOND]
"""How far from now a version takes effect."""


def book(name: str, effective_from: str, *models: Body, currency: str = "USD") -> Body:
    """Return a version of a price book."""
    return {
        "id": name,
        "currency": currency,
        "effective_from": effective_from,
        "models": list(models),
    }


OPENING: list[tuple[str, Body]] = [
    ("publish_prices", book("default", "2020-01-01T00:00:00.000000Z", FLAT, TIERED)),
    ("publish_prices", book("default", "2026-04-01T00:01:40.000000Z", FLAT, DEARER)),
    ("publish_prices", book("other", "2020-01-01T00:00:00.000000Z", FLAT, TIERED)),
    ("publish_prices", book("euro", "2020-01-01T00:00:00.000000Z", FLAT, currency="EUR")),
    ("publish_prices", book(LATE, "2026-03-31T23:53:20.000000Z", FLAT, TIERED)),
]


def publishing(draw: st.DrawFn, rules: UsageRules, now: int, *, odd: bool) -> Body:
    """Return a version from now on, or one that adds to the past; an odd one may change it."""
    name = draw(st.sampled_from(["default", "default", "other", LATE]))
    if draw(st.booleans()):
        when = now + draw(st.sampled_from(AHEAD))
        models = draw(st.sampled_from([(FLAT, TIERED), (FLAT, DEARER)]))
        return book(name, written(when), *((TIERED,) if odd else models))
    when = now - draw(st.sampled_from(BEHIND))
    before = _in_force(rules, name, when)
    if odd:
        return book(name, written(when), *_changed(draw, before))
    added = {"name": UNHEARD, "prices": {"pages": draw(st.sampled_from(["0.75", "2"]))}}
    return book(name, written(when), *({UNHEARD: added} | before).values())


def missing(draw: st.DrawFn, rules: UsageRules, record: Body) -> Body:
    """Return a version that adds a price for pages of a record's model when it occurred."""
    account = rules.accounts.get(record["customer"])
    name = "default" if account is None else account.terms.get("price_book", "default")
    when = instant(record["occurred_at"]) - draw(st.sampled_from([0, 1, 60 * SECOND]))
    models = _in_force(rules, name, when)
    old = models.get(record["model"], {"name": record["model"]})
    models[record["model"]] = {**old, "prices": {"pages": "0.75", **old.get("prices", {})}}
    currency = rules.books.currency(name) or "USD"
    return book(name, written(when), *models.values(), currency=currency)


def _in_force(rules: UsageRules, name: str, when: int) -> dict[str, Body]:
    versions = rules.books.in_force(name, when, when)
    return dict(versions[0].models) if versions else {}


def _changed(draw: st.DrawFn, models: dict[str, Body]) -> list[Body]:
    """Return models of which one is gone, has lost or changed a price, or has another bound."""
    kept = [FLAT, TIERED] if not models else list(models.values())
    place = draw(st.integers(0, len(kept) - 1))
    old = kept[place]
    prices: dict[str, Any] = old.get("prices", {})
    changed = [{**old, "max_output_tokens": 777}]
    if prices:
        changed.append({**old, "prices": {**prices, next(iter(prices)): "7"}})
    if len(prices) > 1:
        changed.append({**old, "prices": dict([*prices.items()][1:])})
    if "tiers" in old:
        changed.append({**old, "tiers": [{"input": "9", "output": "9"}]})
    gone: list[list[Body]] = [[]] if len(kept) > 1 else []
    new = draw(st.sampled_from([*([each] for each in changed), *gone]))
    return [*kept[:place], *new, *kept[place + 1 :]]
