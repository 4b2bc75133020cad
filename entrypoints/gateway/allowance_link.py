"""The link to what hands out places: it is asked for little, waited for briefly, and left alone.

Whatever goes wrong there, an inference is admitted by the ledger instead.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from adapters.redis.errors import RedisUnavailable
from application.allowing import Allowances
from entrypoints.gateway.pausing import Pause

logger = logging.getLogger("tollbook.gateway")

T = TypeVar("T")

PAUSE_SECONDS, PAUSE_MOST_SECONDS = 0.25, 5.0
FORGOT_SECONDS, FORGOT_MOST_SECONDS = 1.0, 30.0
WATCH_SECONDS = 2.0
"""How often it is asked something although nobody needs a place."""
_NO_SLICE = "nothing"


class Link:
    """Reaches what hands out places, unless it failed just before."""

    def __init__(self, allowances: Allowances) -> None:
        """Believe that it answers."""
        self._allowances = allowances
        self._pause = Pause(PAUSE_SECONDS, PAUSE_MOST_SECONDS)
        self.forgot = Pause(FORGOT_SECONDS, FORGOT_MOST_SECONDS)
        """How long nothing is set aside after what had been published was forgotten there."""
        self.is_away = False

    def is_paused(self) -> bool:
        """Say whether it is left alone just now."""
        return self._pause.is_on(time.monotonic())

    async def ask(self, call: Callable[[Allowances], Awaitable[T]]) -> T:
        """Ask something of it; raises RedisUnavailable, at once while it is left alone."""
        if self._pause.until and self.is_paused():
            raise RedisUnavailable("Redis did not answer just now")
        try:
            found = await call(self._allowances)
        except RedisUnavailable as error:
            if not self.is_away:
                logger.warning("no places are handed out: %s", error)
            self._pause.begin(time.monotonic())
            self.is_away = True
            raise
        if self.is_away:
            logger.warning("places are handed out again")
            self._pause.end()
            self.is_away = False
        return found

    async def watch(self) -> None:
        """Ask for next to nothing again and again, so that an idle gateway knows how it is too."""
        while True:
            try:
                await self.ask(lambda it: it.terms(_NO_SLICE))
            except RedisUnavailable:
                pass  # noted by `ask`
            except Exception:
                logger.exception("what hands out places is not looked at")
            await asyncio.sleep(WATCH_SECONDS)

    async def close(self) -> None:
        """Let go of it."""
        await self._allowances.close()
