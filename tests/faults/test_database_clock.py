"""A writer's clock never follows the database's: what comes later is never recorded as earlier."""

from collections.abc import Iterator

from adapters.clock import DatabaseClock


class Far:
    """A database whose answers take their time, on the way there and on the way back."""

    def __init__(self, delays: list[tuple[int, int]]) -> None:
        """Start at an hour of its own; delays are microseconds there and back."""
        self.passed = 0
        self._delays: Iterator[tuple[int, int]] = iter(delays)

    def monotonic(self) -> int:
        """Return the nanoseconds that passed."""
        return self.passed * 1000

    def time(self) -> int:
        """Return the database's time at this instant."""
        return 1_600_000_000_000_000 + self.passed

    def ask(self) -> int:
        """Return the time that the database told when it was reached."""
        there, back = next(self._delays)
        self.passed += there
        told = self.time()
        self.passed += back
        return told


def test_a_slow_answer_does_not_make_the_clock_follow() -> None:
    """However long the way back, an event decided now is recorded no earlier than what was told."""
    far = Far([(0, 90_000), (400, 50_000), (3_000, 0)])
    clock = DatabaseClock(far.monotonic)
    clock.synchronise(far.ask)
    assert clock.now() == far.time()


def test_the_clock_leads_by_the_shortest_way_there() -> None:
    """Of three answers the one that tells most."""
    far = Far([(90_000, 10), (400, 50_000), (3_000, 5)])
    clock = DatabaseClock(far.monotonic)
    clock.synchronise(far.ask)
    assert clock.now() - far.time() == 400
