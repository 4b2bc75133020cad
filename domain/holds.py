"""The open holds of one customer: a map that is never changed, only replaced by a new one.

A plain dictionary would be copied whole for each event. This one is split into buckets, so a
change copies one bucket and the short list of buckets, and older versions stay valid: a batch
that fails to commit is forgotten by dropping the new version.
"""

from collections.abc import Iterator
from typing import NamedTuple

from domain.units import Quantities

_BUCKETS = 64
_EMPTY: tuple[dict[str, "Hold"], ...] = tuple({} for _ in range(_BUCKETS))


class Hold(NamedTuple):
    """Money set aside by one reservation."""

    amount: int
    """Everything held, in 10^-12: the parts plus the overdraft share."""
    expires_at: int
    """The instant (microseconds) from which the hold counts no longer."""
    parts: tuple[tuple[str, int], ...]
    """(grant id, amount) in burn order."""
    credit: int
    """The share that rests on the credit limit instead of a grant."""
    model: str
    estimate: Quantities
    """What may still be used: the estimate, less what parts have used, never below zero."""


class Holds:
    """An immutable map of reservation id to hold."""

    __slots__ = ("_buckets",)

    def __init__(self, buckets: tuple[dict[str, Hold], ...] = _EMPTY) -> None:
        """Wrap buckets; callers start from `Holds()` and use `put` and `drop`."""
        self._buckets = buckets

    def get(self, reservation: str) -> Hold | None:
        """Return the hold of a reservation, or None."""
        return self._buckets[hash(reservation) % _BUCKETS].get(reservation)

    def put(self, reservation: str, hold: Hold) -> "Holds":
        """Return a map in which the reservation has this hold."""
        index = hash(reservation) % _BUCKETS
        buckets = self._buckets
        changed = {**buckets[index], reservation: hold}
        return Holds((*buckets[:index], changed, *buckets[index + 1 :]))

    def drop(self, reservation: str) -> "Holds":
        """Return a map without the reservation."""
        index = hash(reservation) % _BUCKETS
        buckets = self._buckets
        changed = buckets[index].copy()
        changed.pop(reservation, None)
        return Holds((*buckets[:index], changed, *buckets[index + 1 :]))

    def items(self) -> Iterator[tuple[str, Hold]]:
        """Yield (reservation, hold) in no particular order."""
        for bucket in self._buckets:
            yield from bucket.items()

    def __len__(self) -> int:
        """Return how many holds are open."""
        return sum(map(len, self._buckets))

    def __eq__(self, other: object) -> bool:
        """Compare by content."""
        return isinstance(other, Holds) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]
