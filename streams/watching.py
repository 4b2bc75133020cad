"""Watching: a worker is ended, not believed, where records lie and nobody settles them.

That may be because it hangs, or because its group has dealt the partition to nobody: Faust does so
when the topic is missing from what a broker says that has just come back.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

logger = logging.getLogger("tollbook.stream")

LOOK_SECONDS = 5.0
STUCK_SECONDS = 60.0

Standing = Mapping[int, int]
"""An offset for each partition."""


class Seen(NamedTuple):
    """How things stand at a moment."""

    settled: Standing
    """The ledger's next offset of each partition."""
    ends: Standing
    """The offset after the last record of each partition of the topic."""
    mine: AbstractSet[int]
    """The partitions that this worker was given."""


class Watch:
    """Whether a topic gets on, by the ledger's offsets and the topic's ends."""

    def __init__(self, stuck_seconds: float = STUCK_SECONDS) -> None:
        """Begin to look."""
        self._stuck_seconds = stuck_seconds
        self._since: dict[int, tuple[int, float]] = {}
        """By partition, the offset that it stands at, and since when it waits there."""

    def stuck(self, seen: Seen, now: float) -> list[int]:
        """Return the partitions that have had records before them for too long.

        Those of others have twice the time: whoever has them is to notice first.
        """
        found = []
        for partition, end in seen.ends.items():
            at = seen.settled.get(partition, 0)
            patience = self._stuck_seconds * (1 if partition in seen.mine else 2)
            if at >= end or self._since.get(partition, (None, 0.0))[0] != at:
                self._since[partition] = (at, now)
            elif now - self._since[partition][1] > patience:
                found.append(partition)
        return found


async def watch(
    look: Callable[[], Awaitable[Seen]],
    end: Callable[[Sequence[int]], None],
    stuck_seconds: float = STUCK_SECONDS,
) -> None:
    """Look every few seconds until cancelled; `end` is told who is stuck, and then anew."""
    watched = Watch(stuck_seconds)
    while True:
        await asyncio.sleep(min(LOOK_SECONDS, stuck_seconds))
        try:
            seen = await look()
        except Exception as error:  # noqa: BLE001 - what cannot be asked now is asked again
            logger.warning("it is not known how far the stream is behind: %r", error)
            continue
        stuck = watched.stuck(seen, time.monotonic())
        if stuck:
            end(stuck)
            watched = Watch(stuck_seconds)
