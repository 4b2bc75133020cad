"""Hearing: whether the ledger answers, and asking it again and again while it does not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tollbook.errors import TollbookError

logger = logging.getLogger("tollbook.gateway")

PAUSE_SECONDS = 0.25


class Hearing:
    """Remembers that the ledger went away, until it answers again."""

    def __init__(self, answers: Callable[[], Awaitable[None]]) -> None:
        """Ask `answers`, which raises when there is no answer."""
        self._answers = answers
        self._probing: asyncio.Task[None] | None = None

    @property
    def away(self) -> bool:
        """Say whether the ledger did not answer when it was asked last."""
        return self._probing is not None

    def lost(self) -> None:
        """Take note that the ledger did not answer, and ask it until it does."""
        if self._probing is None:
            logger.warning("the ledger does not answer")
            self._probing = asyncio.create_task(self._probe())

    def close(self) -> None:
        """Ask no more."""
        if self._probing is not None:
            self._probing.cancel()

    async def _probe(self) -> None:
        while True:
            if await self._is_back():
                break
            await asyncio.sleep(PAUSE_SECONDS)
        logger.warning("the ledger answers again")
        self._probing = None

    async def _is_back(self) -> bool:
        try:
            await self._answers()
        except TollbookError:
            return False
        except Exception:
            logger.exception("asking whether the ledger answers failed")
            return False
        return True
