"""Slices for the tests, and gateways that draw from them, in this process or through Redis."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from adapters.memory_allowances import LocalAllowances, LocalPlaces
from adapters.redis.allowances import RedisAllowances
from application.allowing import Allowances, Slice

T = TypeVar("T")
Opens = Callable[[str], Allowances]
"""Opens what a gateway of that name does with the slices of one ledger."""

END = 1_000_000_000
"""When drawing from a slice of the tests ends, in the ledger's microseconds."""
PATIENCE = 20.0
"""So many seconds a test waits for an answer that comes, however busy the machine is."""


def a_slice(
    reservation: str = "slice-1", inferences: int = 10, until: int = END, terms: str = "{}"
) -> Slice:
    """Make a slice."""
    return Slice(reservation, inferences, until, terms)


def in_one_memory() -> Opens:
    """Open gateways that share a memory."""
    places = LocalPlaces()
    return lambda gateway: LocalAllowances(places, gateway)


def on_redis(url: str, ledger: str = "ledger") -> Opens:
    """Open gateways that share a Redis."""
    return lambda gateway: RedisAllowances(url, ledger, gateway, timeout_seconds=PATIENCE)


def told(opens: Opens, story: Callable[..., Awaitable[T]], *names: str) -> T:
    """Run a story whose parts are gateways of these names, and close them."""

    async def run() -> T:
        gateways = [opens(name) for name in names]
        try:
            return await story(*gateways)
        finally:
            for each in gateways:
                await each.close()

    return asyncio.run(run())
