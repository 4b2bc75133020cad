"""Pausing: what did not work is left alone for a while, and longer each time it fails again."""


class Pause:
    """A time to wait that doubles; instants are those of one clock, in seconds."""

    __slots__ = ("_first", "_most", "_next", "until")

    def __init__(self, first: float, most: float) -> None:
        """Wait `first` seconds the first time, and never more than `most`."""
        self._first = first
        self._most = most
        self._next = first
        self.until = 0.0

    def is_on(self, now: float) -> bool:
        """Say whether it is too early to try again."""
        return now < self.until

    def begin(self, now: float) -> None:
        """Wait from now on; who waits already does not wait longer."""
        if not self.is_on(now):
            self.until = now + self._next
            self._next = min(self._most, 2 * self._next)

    def end(self) -> None:
        """It works: wait no longer, and the next time as the first."""
        self._next = self._first
        self.until = 0.0
