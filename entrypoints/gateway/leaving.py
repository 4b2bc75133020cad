"""Leaving: a gateway that stops waits for the ledger's answers to those whom it was asked for.

What the ledger holds for who is admitted only then is given back at once: nobody else would, and a
customer's money would stay held until the hold expires.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from entrypoints.http.submitting import COMMAND_SECONDS

logger = logging.getLogger("tollbook.gateway")

LEAVE_SECONDS = COMMAND_SECONDS
"""So long answers are waited for: later than that the ledger says that it does not know."""
CANCELLED_SECONDS = 1.0
"""So long what is cancelled has to end."""
_PAUSE_SECONDS = 0.02


class Leaving:
    """Counts who waits for an admission, and whether anybody may begin."""

    def __init__(self) -> None:
        """Nobody waits, and the gateway stays."""
        self.has_begun = False
        self.waiting = 0
        """How many wait for an admission."""
        self._until = 0.0

    def __enter__(self) -> None:
        """Have somebody wait for an admission, during the block."""
        self.waiting += 1

    def __exit__(self, *_: object) -> None:
        """Take note that the answer has come, or who waited was cancelled."""
        self.waiting -= 1

    def begin(self) -> None:
        """Leave from now on; the time for it runs from the first call."""
        if not self.has_begun:
            self.has_begun, self._until = True, time.monotonic() + LEAVE_SECONDS

    async def end(self, others: Callable[[], int]) -> None:
        """Wait until no answer is under way, `others` counted, or the time is over."""
        while count := self.waiting + others():
            if time.monotonic() >= self._until:
                logger.warning("%d holds may stay until they expire: no answer came", count)
                return
            await asyncio.sleep(_PAUSE_SECONDS)
