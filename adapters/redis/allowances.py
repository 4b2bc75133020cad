"""Allowances in Redis: the places of slices, handed out to several gateways at once.

Redis may lose all it knows at any time, or go back to what it knew before. So a slice is drawn
from only in the epoch in which it was published, and each process remembers how far it had got.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from adapters.redis import scripts
from adapters.redis.client import ScriptClient
from adapters.redis.drawing import Draws
from adapters.redis.errors import RedisUnavailable
from adapters.redis.sightings import Sightings
from application.allowing import Drawn, NoDraw, Slice, checked

LOOPBACK = "redis://127.0.0.1:6379/0"
"""The address of a Redis on this machine."""

_KEPT_MILLISECONDS = 3_600_000
"""For so long after its end a slice stays in Redis, so that nothing stays for ever."""
_AT_ONCE = 4


class RedisAllowances:
    """What one gateway does with the slices of one ledger; one event loop uses it.

    Where Redis is of no use, for whatever reason, a draw raises RedisUnavailable in
    `timeout_seconds`, or half as many more where it waits behind another. So does everything else,
    from its turn on: few go at once, and whoever waits fails with whoever went.
    """

    def __init__(
        self, url: str, ledger: str, gateway: str, *, timeout_seconds: float = 0.05
    ) -> None:
        """Prepare to connect; raises Invalid for an address that is none."""
        self._server = ScriptClient(url)
        self._prefix = f"tollbook:{{{ledger}}}:"
        self._gateway = gateway
        self._seconds = timeout_seconds
        self._seen = Sightings()
        self._draws = Draws(self._draw, self._seen, timeout_seconds)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._failures = 0

    @property
    def rewound(self) -> int:
        """How many slices were found to have gone back in time within one run of the server."""
        return self._seen.rewound

    async def publish(self, key: str, new: Slice, now: int) -> None:
        """Make a slice the current one of a question's digest, and close the one before."""
        self._seen.publish(checked(new).reservation, new.draw_until, now)
        kept = max(0, new.draw_until - now) // 1000 + _KEPT_MILLISECONDS
        await self._run(
            scripts.PUBLISH,
            (self._question(key), *self._slice(new.reservation)),
            (self._prefix, new.reservation, new.inferences, new.draw_until, kept, new.terms),
        )

    async def draw(self, key: str, count: int, now: int) -> Drawn | NoDraw:
        """Draw places of the current slice; where the answer is lost, they are wasted."""
        return await self._draws.draw(key, count, now)

    async def terms(self, reservation: str) -> str | None:
        """Return the terms of a slice, as long as they are known."""
        found = await self._run(scripts.TERMS, self._slice(reservation)[1:], ())
        return None if found is None else str(found)

    async def close_slice(self, reservation: str) -> None:
        """End drawing from a slice, for every gateway and for ever."""
        slice_key, _ = self._slice(reservation)
        sequence = await self._run(scripts.END, (slice_key,), (_KEPT_MILLISECONDS,))
        self._seen.closed(reservation, sequence)

    async def tally(self, reservation: str) -> bool:
        """Note that the ledger knows what became of everything that this gateway drew."""
        slice_key, _ = self._slice(reservation)
        # A draw on its way may have been counted: once this is sent, nobody may use its places.
        self._seen.rest(reservation)
        noted, sequence = await self._run(scripts.TALLY, (slice_key,), (self._gateway,))
        if not noted:
            self._seen.go_on(reservation)
            return False
        self._seen.closed(reservation, sequence)
        return self._seen.stands(reservation, sequence)

    async def is_tallied(self, reservation: str) -> bool:
        """Say whether every gateway that drew from a closed slice has tallied it."""
        slice_key, _ = self._slice(reservation)
        told, sequence = await self._run(scripts.TALLIED, (slice_key,), ())
        return bool(told) and self._seen.stands(reservation, sequence)

    async def forget(self, reservation: str) -> None:
        """Drop all that is known of a slice, which nobody asks about any more."""
        await self._run(scripts.FORGET, self._slice(reservation), (reservation,))
        self._seen.forget(reservation)

    async def close(self) -> None:
        """Let go of the connections; slices stay."""
        await self._draws.close()
        await self._server.close()

    def _question(self, key: str) -> str:
        return f"{self._prefix}question:{key}"

    def _slice(self, reservation: str) -> tuple[str, str]:
        """Return the keys of a slice and of its terms."""
        return f"{self._prefix}slice:{reservation}", f"{self._prefix}terms:{reservation}"

    async def _draw(
        self, keys: Sequence[str], counts: Sequence[int], now: int, seconds: float
    ) -> list[list[Any]]:
        """Ask for places of several questions at once."""
        names = [self._question(key) for key in keys]
        args: list[str | int] = [self._prefix, self._gateway, now, *counts]
        answers: list[list[Any]] = await self._server.run(scripts.DRAW, names, args, seconds)
        return answers

    async def _run(
        self, script: scripts.Script, keys: Sequence[str], args: Sequence[str | int]
    ) -> Any:
        """Run a script when it is its turn; fail with whoever was before, if that one fails."""
        failures = self._failures
        async with self._turns:
            if self._failures != failures:
                raise RedisUnavailable("Redis cannot be used")
            try:
                return await self._server.run(script, keys, args, self._seconds)
            except RedisUnavailable:
                self._failures += 1
                raise
