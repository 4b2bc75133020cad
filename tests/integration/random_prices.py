"""Random prices: of models with tiers, with flat prices, and of measured units."""

from random import Random
from typing import Any


def random_models(chosen: Random) -> list[dict[str, Any]]:
    """Return the models of a price book as it is published."""
    bounds = sorted(chosen.sample((100, 500, 1000, 1500, 3000, 10_000), chosen.randint(1, 4)))
    tiers: list[dict[str, Any]] = [
        {"up_to": bound, "input": _price(chosen), "output": _price(chosen)} for bound in bounds
    ]
    tiers += [{"input": _price(chosen), "output": _price(chosen), "cached_input": _price(chosen)}]
    tokens = ("input_tokens", "output_tokens", "cached_input_tokens")
    units = ("gpu_seconds", "compute_units", "pages", "images", "requests")
    cap = {"max_output_tokens": chosen.choice((50, 200, 1000))}
    models: list[dict[str, Any]] = [
        {"name": "tiered", "tiers": tiers, "prices": {"requests": _price(chosen)}},
        {"name": "flat", "prices": {unit: _price(chosen) for unit in tokens}, **cap},
        {"name": "measured", "prices": {unit: _price(chosen) for unit in units}},
    ]
    if chosen.random() < 0.5:
        models[0] |= cap
    return models


def _price(chosen: Random) -> str:
    return chosen.choice("0125") + chosen.choice(("", ".5", ".000001", ".25"))
