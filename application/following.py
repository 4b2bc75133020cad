"""Following the log: what a reader that keeps up with the ledger sees of it.

An event that cannot be read is told as such, so that one bad row never hides the ones after it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from tollbook.errors import Unavailable

from application.replaying import Share
from domain.event import Event


class TooNew(Unavailable):
    """Only a newer program can go on from here; trying again does not help this one."""

    default_retryable = False


class Followed(NamedTuple):
    """As much of a recorded event as one who follows the log has a use for."""

    position: int
    name: str
    customer: str | None
    customer_sequence: int | None
    command: str
    occurred_at: int
    recorded_at: int
    event: Event


class Unreadable(NamedTuple):
    """A stored event whose payload does not have the form of its version."""

    position: int
    name: str
    customer: str | None
    customer_sequence: int | None
    recorded_at: int
    error: Exception


Entry = tuple[Followed | Unreadable, bytes]
"""An event, or what is known of one that cannot be read, and its stored leaf hash."""


class Stretch(NamedTuple):
    """Some entries of the log, in order."""

    firsts: dict[str, int]
    """The customers among them, each with the number of their first event here."""
    entries: Iterator[Entry]
    """Each payload is read when it is asked for, so that few events are in memory at a time."""


class LedgerLog(Protocol):
    """Reads the log in order of position, and customers' events after what is known of them."""

    def head(self) -> tuple[int, int]:
        """Return position and recorded time of the newest event."""

    def after(self, position: int, limit: int) -> Sequence[Entry]:
        """Return up to `limit` entries after a position, in order; fewer where they are large.

        Raises TooNew when the very next event is newer than this program; before that, it
        returns the entries that come first.
        """

    def reach(self, position: int, last: int) -> int:
        """Return up to where after a position, and up to another, events can be read at once."""

    def share(self, position: int, last: int, share: Share) -> Stretch:
        """Return the entries of a share of the customers after one position and up to another.

        Events without a customer belong to the first share. An event that is newer than this
        program raises TooNew when its turn comes.
        """

    def customers_after(
        self, wanted: Sequence[tuple[str, int]], position: int
    ) -> Iterator[Followed]:
        """Yield the events of these customers, each after a sequence number, up to a position.

        One customer's events come in order; those that cannot be read are left out.
        """
