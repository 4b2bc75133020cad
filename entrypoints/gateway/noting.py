"""Noting: what ran for nothing in part of a slice is written down beside the samples.

The ledger is never told of it, and a server has counted it: reconciliation reads the notes.
"""

import logging
import time
from pathlib import Path
from typing import Any

from tollbook.errors import Unavailable

from adapters import sample_log
from domain.free_inferences import Free, may_have_run
from entrypoints.gateway.settling import Outcome, Teller

logger = logging.getLogger("tollbook.gateway")


class Noting:
    """A teller that notes down what the one behind it tells nobody."""

    def __init__(self, teller: Teller, folder: Path) -> None:
        """Stand before a teller; the folder is that of its gateway's samples."""
        self._teller = teller
        self._folder = folder

    @property
    def told(self) -> int:
        """How many outcomes were taken."""
        return self._teller.told

    @property
    def stuck(self) -> int:
        """How many never will be."""
        return self._teller.stuck

    @property
    def backlog(self) -> int:
        """How many outcomes wait."""
        return self._teller.backlog

    def waits_seconds(self) -> float:
        """Say for how long the oldest outcome waits."""
        return self._teller.waits_seconds()

    def tell(self, id: str, outcome: Outcome) -> None:
        """Queue an outcome; what is noted twice, after a crash between the two, counts once."""
        free = _free(id, outcome)
        if free is not None:
            try:
                sample_log.note(self._folder, free)
            except Unavailable as error:
                logger.warning("%s ran for nothing, and is not noted: %s", id, error)
        self._teller.tell(id, outcome)

    async def run(self) -> None:
        """Tell outcomes until cancelled."""
        await self._teller.run()

    async def drain(self, seconds: float) -> None:
        """Wait until everything is told, or the time is over."""
        await self._teller.drain(seconds)


def _free(id: str, outcome: dict[str, Any]) -> Free | None:
    """Return the note of an outcome that needs one."""
    reason = outcome.get("release")
    if reason is None or not {"slice", "model"} <= outcome.keys() or not may_have_run(reason):
        return None
    ended = time.time_ns() // 1000
    began = int(outcome["began"])
    return Free(id, outcome["customer"], outcome["model"], reason, began, ended)
