"""What the servers' traces tell of inferences: if they ran, and their shares of device time."""

from collections.abc import Callable, Mapping
from typing import Protocol


class Traces(Protocol):
    """Tells about inferences that are waited for."""

    def expect(self, id: str, pool: str) -> None:
        """Take note that an inference goes to a server of a pool."""

    def when_known(self, id: str, call: Callable[[int | None], None]) -> None:
        """Call with an inference's share of device time in microseconds, or with None without."""

    def shares(self, id: str) -> Mapping[str, int]:
        """Return by model the shares that an inference's time is the sum of, until it is told."""

    def outcome(self, id: str, call: Callable[[bool | None], None]) -> None:
        """Call with whether the server ran an inference, or with None where nobody can tell."""

    def forget(self, id: str) -> None:
        """Take note that nobody will ask about an inference any more."""


class NoTraces:
    """Knows nothing: no pool writes traces."""

    def expect(self, id: str, pool: str) -> None:
        """Keep nothing."""

    def when_known(self, id: str, call: Callable[[int | None], None]) -> None:  # noqa: ARG002
        """Say that nothing is known."""
        call(None)

    def shares(self, id: str) -> Mapping[str, int]:  # noqa: ARG002
        """Know of none."""
        return {}

    def outcome(self, id: str, call: Callable[[bool | None], None]) -> None:  # noqa: ARG002
        """Say that nothing is known."""
        call(None)

    def forget(self, id: str) -> None:
        """Keep nothing."""
