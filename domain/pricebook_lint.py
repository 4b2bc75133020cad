"""What looks wrong in a valid price book: remarks for its author, none of which stops it.

A book that is wrong in form is refused elsewhere. Here are the mistakes that a schema cannot
know: a price per token where one per million was meant, tiers that rise, units left out.
"""

from typing import NamedTuple

from tollbook.amounts import parse_price

from domain.pricebook_format import ModelBody, PriceBookBody, TierBody
from domain.pricing import ModelPrices, charge, compile_model
from domain.units import TOKENS, Quantities

TYPICAL = {"input_tokens": 800, "output_tokens": 200}
"""A thousand tokens as a request typically has them: four of input to one of output."""

PER_TOKEN_BELOW = 1_000
"""In 10^-6: a token price below 0.001 per million looks like a price per token."""


class Remark(NamedTuple):
    """One suspicion: where, a stable code, and a sentence."""

    field: str
    code: str
    detail: str


class Typical(NamedTuple):
    """What a thousand typical tokens of a model cost, in 10^-12: in the first and last tier."""

    usage: Quantities
    first: int
    last: int


def typical_cost(model: ModelBody) -> Typical | None:
    """Return what a thousand typical tokens of a model cost; None when it prices no tokens."""
    prices = compile_model(model.model_dump(mode="json", exclude_none=True))
    usage = _typical_usage(prices)
    if usage is None:
        return None
    # After the last tier's threshold every token costs the last tier's price.
    reached = prices.tiers[-2].up_to if len(prices.tiers) > 1 else 0
    return Typical(usage, charge(prices, usage, 0), charge(prices, usage, reached or 0))


def _typical_usage(prices: ModelPrices) -> Quantities | None:
    priced = [unit for unit in TYPICAL if prices.tiers or unit in prices.rates]
    if len(priced) == 1:  # an embedding has no output
        return {priced[0]: sum(TYPICAL.values())}
    return {unit: TYPICAL[unit] for unit in priced} or None


def remarks(book: PriceBookBody) -> tuple[Remark, ...]:
    """Return everything suspicious in a valid book, in the order of its models."""
    found: list[Remark] = []
    for number, model in enumerate(book.models):
        field = f"models.{number}"
        found += _tier_remarks(model, field)
        found += _gap_remarks(model, field)
        found += _price_remarks(model, field)
    return tuple(found)


def _tier_remarks(model: ModelBody, field: str) -> list[Remark]:
    found: list[Remark] = []
    tiers = model.tiers or []
    for number in range(1, len(tiers)):
        rising = [
            name for name in _TIER_PRICES if _of(tiers[number], name) > _of(tiers[number - 1], name)
        ]
        if rising:
            found.append(
                Remark(
                    f"{field}.tiers.{number}",
                    "rising_price",
                    f"{model.name}: the {' and '.join(rising)} price of tier {number + 1} is above"
                    f" that of tier {number}: whoever uses more pays more for each token",
                )
            )
    return found


_TIER_PRICES = ("input", "cached_input", "output")


def _of(tier: TierBody, name: str) -> int:
    return parse_price(getattr(tier, name) or tier.input)


def _gap_remarks(model: ModelBody, field: str) -> list[Remark]:
    """Find units that such a model is usually used in and that have no price here."""
    found: list[Remark] = []
    outputs = model.tiers or "output_tokens" in model.prices
    if outputs and model.max_output_tokens is None:
        found.append(
            Remark(
                field,
                "no_max_output_tokens",
                f"{model.name} has no max_output_tokens: an estimate that names no output holds"
                " nothing for it",
            )
        )
    if model.tiers:
        return found
    tokens = [unit for unit in TOKENS if unit in model.prices]
    if "output_tokens" in tokens and "input_tokens" not in tokens:
        found.append(_gap(model, field, "input_tokens"))
    if tokens and "cached_input_tokens" not in tokens and "output_tokens" in tokens:
        found.append(_gap(model, field, "cached_input_tokens"))
    return found


def _gap(model: ModelBody, field: str, unit: str) -> Remark:
    detail = f"{model.name} has no price for {unit}: usage that counts any is refused or parked"
    return Remark(f"{field}.prices", "unit_without_price", detail)


def _price_remarks(model: ModelBody, field: str) -> list[Remark]:
    found: list[Remark] = []
    for name, place, text in _token_prices(model):
        price = parse_price(text)
        if price == 0:
            detail = f"{model.name}: {name} costs nothing"
            found.append(Remark(f"{field}.{place}", "free", detail))
        elif price < PER_TOKEN_BELOW:
            detail = f"{model.name}: {text} per million for {name} looks like a price per token"
            found.append(Remark(f"{field}.{place}", "price_per_token", detail))
    for name, place, text in _cached_above_input(model):
        detail = f"{model.name}: {name} at {text} costs more than input that is not cached"
        found.append(Remark(f"{field}.{place}", "cached_above_input", detail))
    return found


def _token_prices(model: ModelBody) -> list[tuple[str, str, str]]:
    """List the token prices as (name, place, price)."""
    listed = [
        (unit, f"prices.{unit}", model.prices[unit]) for unit in TOKENS if unit in model.prices
    ]
    for number, tier in enumerate(model.tiers or ()):
        for name in _TIER_PRICES:
            text = getattr(tier, name)
            if text is not None:
                listed.append((f"{name} of tier {number + 1}", f"tiers.{number}.{name}", text))
    return listed


def _cached_above_input(model: ModelBody) -> list[tuple[str, str, str]]:
    """List the cached input prices above the price of other input, as (name, place, price)."""
    pairs = [
        (f"cached_input of tier {number + 1}", f"tiers.{number}.cached_input", tier)
        for number, tier in enumerate(model.tiers or ())
        if _of(tier, "cached_input") > _of(tier, "input")
    ]
    listed = [(name, place, str(tier.cached_input)) for name, place, tier in pairs]
    cached = model.prices.get("cached_input_tokens")
    full = model.prices.get("input_tokens")
    if cached and full and parse_price(cached) > parse_price(full):
        listed.append(("cached_input_tokens", "prices.cached_input_tokens", cached))
    return listed
