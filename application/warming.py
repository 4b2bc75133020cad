"""Warming: a process that has just begun loads whom it will be asked about first."""

from application.prefetching import load_customers
from application.world import World

EVENTS = 20_000
"""The customers of so many newest events are loaded,"""
CUSTOMERS_MAX = 256
"""but so many at most,"""
AT_ONCE = 4
"""and so many at a time: whoever asks for something waits for them."""


def whom_to_load(world: World) -> list[list[str]]:
    """Return the customers of the newest events, the newest first, a few at a time."""
    names = world.ahead.customers_lately(EVENTS)[:CUSTOMERS_MAX]
    return [names[first : first + AT_ONCE] for first in range(0, len(names), AT_ONCE)]


def load(world: World, names: list[str]) -> None:
    """Load some customers, unless they are in memory."""
    load_customers(world, world.ahead, names, 1)
