"""Watching: a worker that has records before it and does not get on is ended, not believed."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

logger = logging.getLogger("tollbook.stream")

LOOK_SECONDS = 5.0
STUCK_SECONDS = 60.0

Standing = Mapping[int, int]
"""An offset for each partition."""


class Watch:
    """Whether a worker gets on, by the ledger's offsets and the topic's ends."""

    def __init__(self, stuck_seconds: float = STUCK_SECONDS) -> None:
        """Begin to look."""
        self._stuck_seconds = stuck_seconds
        self._since: dict[int, tuple[int, float]] = {}
        """By partition, the offset that it stands at, and since when it waits there."""

    def stuck(self, settled: Standing, ends: Standing, now: float) -> list[int]:
        """Return the partitions that have had records before them for too long."""
        found = []
        for partition, end in ends.items():
            at = settled.get(partition, 0)
            if at >= end or self._since.get(partition, (None, 0.0))[0] != at:
                self._since[partition] = (at, now)
            elif now - self._since[partition][1] > self._stuck_seconds:
                found.append(partition)
        for gone in self._since.keys() - ends.keys():
            del self._since[gone]
        return found


async def watch(
    look: Callable[[], Awaitable[tuple[Standing, Standing]]],
    end: Callable[[], None],
    stuck_seconds: float = STUCK_SECONDS,
) -> None:
    """Look every few seconds until cancelled; `end` is called for a worker that is stuck."""
    seen = Watch(stuck_seconds)
    while True:
        await asyncio.sleep(min(LOOK_SECONDS, stuck_seconds))
        try:
            settled, ends = await look()
        except Exception as error:  # noqa: BLE001 - what cannot be asked now is asked again
            logger.warning("it is not known how far the stream is behind: %r", error)
            continue
        stuck = seen.stuck(settled, ends, time.monotonic())
        if stuck:
            logger.critical("partitions %s do not get on: this worker ends", stuck)
            end()
