"""How long the gateways' loop was held up by one thing, so that it could do nothing else."""

import time
from typing import Self

from tests.gateway.rig import Rig

EACH_SECONDS = 0.01


class HeldUp:
    """Looks at the loop each hundredth of a second, while the block runs."""

    def __init__(self, rig: Rig) -> None:
        """Look at the loop of a rig."""
        self._rig = rig
        self._due = 0.0
        self.seconds = 0.0
        """How late it was at worst."""

    def __enter__(self) -> Self:
        """Begin to look."""
        self._rig.now(self._wait)
        return self

    def __exit__(self, *_: object) -> None:
        """Look for the last time."""
        self._rig.now(self._look)
        self._rig.now(self._again.cancel)

    def _wait(self) -> None:
        self._due = time.monotonic() + EACH_SECONDS
        self._again = self._rig.loop.call_later(EACH_SECONDS, self._look)

    def _look(self) -> None:
        self.seconds = max(self.seconds, time.monotonic() - self._due)
        self._again.cancel()
        self._wait()
