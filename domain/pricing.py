"""What usage costs: exact prices from one version of a price book (A2, A3, A8).

Prices are compiled to integers of 10^-12 per base unit (one token, one request, one millionth
of a GPU-second), so a charge is a sum of integer products and nothing is ever rounded here.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tollbook.amounts import parse_price

from domain.units import MEASURED, TOKENS, Quantities

_PER_UNIT = 10**6
"""From a price per unit in 10^-6 to 10^-12 per counted unit."""


class Tier(NamedTuple):
    """The prices of one tier, in 10^-12 per token."""

    up_to: int | None
    """Cumulative tokens up to which this tier reaches, inclusive; None is without end."""
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int


class ModelPrices(NamedTuple):
    """The compiled prices of one model in one price version."""

    rates: dict[str, int]
    """Flat prices: unit to 10^-12 per base unit."""
    tiers: tuple[Tier, ...]
    ceilings: tuple[Tier, ...]
    """For each tier, the highest price of it and all later ones: the worst that can still come."""
    max_output_tokens: int | None


def compile_model(model: Mapping[str, Any]) -> ModelPrices:
    """Compile one model of a published book into integer prices."""
    rates = {
        unit: parse_price(price) * (1 if unit in MEASURED or unit in TOKENS else _PER_UNIT)
        for unit, price in model.get("prices", {}).items()
    }
    tiers = tuple(
        Tier(
            tier.get("up_to"),
            parse_price(tier["input"]),
            parse_price(tier.get("cached_input", tier["input"])),
            parse_price(tier["output"]),
        )
        for tier in model.get("tiers", ())
    )
    ceilings = tuple(
        Tier(
            tier.up_to,
            max(later.input_tokens for later in tiers[index:]),
            max(later.cached_input_tokens for later in tiers[index:]),
            max(later.output_tokens for later in tiers[index:]),
        )
        for index, tier in enumerate(tiers)
    )
    return ModelPrices(rates, tiers, ceilings, model.get("max_output_tokens"))


def unpriced_unit(prices: ModelPrices, usage: Quantities) -> str | None:
    """Return the first unit that is used but has no price, or None."""
    for unit, quantity in usage.items():
        if quantity and unit not in prices.rates and not (prices.tiers and unit in TOKENS):
            return unit
    return None


def token_volume(usage: Quantities) -> int:
    """Return the tokens that count towards the tier: input, cached input and output."""
    return (
        usage.get("input_tokens", 0)
        + usage.get("cached_input_tokens", 0)
        + usage.get("output_tokens", 0)
    )


def charge(prices: ModelPrices, usage: Quantities, volume: int) -> int:
    """Return the exact price of usage, in 10^-12.

    `volume` is the customer's tokens of this model in the period before this usage. Every unit
    used must have a price (see `unpriced_unit`).
    """
    rates = prices.rates
    if not prices.tiers:
        return sum(quantity * rates[unit] for unit, quantity in usage.items() if quantity)
    total = _graduated(prices.tiers, usage, volume)
    for unit, quantity in usage.items():
        if quantity and unit not in TOKENS:
            total += quantity * rates[unit]
    return total


def _graduated(tiers: tuple[Tier, ...], usage: Quantities, volume: int) -> int:
    """Walk the tokens of one inference through the tiers: input, then cached, then output."""
    total = 0
    index = tier_index(tiers, volume)
    tier = tiers[index]
    for meter, unit in enumerate(TOKENS, 1):
        left = usage.get(unit, 0)
        while tier.up_to is not None and volume + left > tier.up_to:
            fits = tier.up_to - volume
            total += fits * tier[meter]  # type: ignore[operator]
            volume += fits
            left -= fits
            index += 1
            tier = tiers[index]
        total += left * tier[meter]  # type: ignore[operator]
        volume += left
    return total


def tier_index(tiers: tuple[Tier, ...], volume: int) -> int:
    """Return the tier in which the next token after `volume` falls."""
    index = 0
    while (up_to := tiers[index].up_to) is not None and volume >= up_to:
        index += 1
    return index


def capped(prices: ModelPrices, estimate: Quantities) -> Quantities:
    """Return an estimate with its output bounded by what the model can produce.

    An estimate that names no output for a model that prices output is taken at the model's cap.
    """
    cap = prices.max_output_tokens
    if cap is None:
        return estimate
    output = estimate.get("output_tokens")
    if output is None:
        if not prices.tiers and "output_tokens" not in prices.rates:
            return estimate
        return {**estimate, "output_tokens": cap}
    return {**estimate, "output_tokens": cap} if output > cap else estimate


def worst(prices: ModelPrices, estimate: Quantities, volume: int) -> int:
    """Return the highest price that an estimate can come to, in 10^-12.

    Other usage may be settled first, so every tier from the one at `volume` on can be reached.
    """
    rates = prices.rates
    total = 0
    ceiling: Tier | None = None
    if prices.tiers:
        ceiling = prices.ceilings[tier_index(prices.tiers, volume)]
    for unit, quantity in estimate.items():
        if not quantity:
            continue
        if ceiling is not None and unit in TOKENS:
            total += quantity * getattr(ceiling, unit)
        else:
            total += quantity * rates[unit]
    return total
