"""What this process saw of slices in Redis: by it a Redis that went back in time is found out.

Each draw and each close gives a slice its next sequence number. A number that was seen before, or
a lower one, comes from a memory that has lost what came since: then nobody knows what is left.
"""

from application.allowing import Why

_KEPT_MICROSECONDS = 3_600 * 1_000_000
"""For so long after its end a slice is remembered: by then no reservation holds it."""
_MANY = 1_024


class _Sighting:
    """One slice, as it was last seen."""

    __slots__ = (
        "is_closed",
        "is_lost",
        "is_published",
        "is_resting",
        "keep_until",
        "sequence",
        "until",
    )

    def __init__(self, until: int) -> None:
        """Begin with a slice of which nothing was drawn yet."""
        self.until = until
        self.keep_until = until + _KEPT_MICROSECONDS
        self.sequence = 0
        self.is_closed = False
        self.is_lost = False
        self.is_published = False
        self.is_resting = False


class Sightings:
    """All slices that this process has seen; one event loop uses it."""

    def __init__(self) -> None:
        """Begin having seen nothing."""
        self._seen: dict[str, _Sighting] = {}
        self._many = _MANY
        self._now = 0
        self.rewound = 0
        """How many slices were found to have gone back in time within one run of the server."""

    def __len__(self) -> int:
        """Return how many slices are remembered."""
        return len(self._seen)

    def publish(self, reservation: str, until: int, now: int) -> None:
        """Note a slice that is being published, or raise ValueError if that happened before."""
        self._now = max(self._now, now)
        seen = self._at(reservation, until)
        if seen.is_published:
            raise ValueError(f"{reservation} was published before")
        seen.is_published = True

    def drew(self, reservation: str, sequence: int, until: int, now: int) -> Why | None:
        """Note a draw that was made; say why it does not count, if it does not."""
        self._now = max(self._now, now)
        seen = self._at(reservation, until)
        seen.is_published = True
        if self.is_over(reservation) and not seen.is_lost:
            # It was made before the close and heard of after it; or the close is forgotten.
            return "closed"
        if sequence <= seen.sequence:
            self._lose(seen)
        seen.sequence = max(seen.sequence, sequence)
        return "abandoned" if seen.is_lost else None

    def closed(self, reservation: str, sequence: int) -> None:
        """Note that a slice is closed, once for all."""
        self._at(reservation, self._now).is_closed = True
        self.stands(reservation, sequence)

    def is_over(self, reservation: str) -> bool:
        """Say whether places of a slice that are heard of now do not count any more."""
        seen = self._seen.get(reservation)
        return seen is not None and (seen.is_closed or seen.is_resting)

    def rest(self, reservation: str) -> None:
        """Note that everything drawn is being told: what is heard of now would not be."""
        self._at(reservation, self._now).is_resting = True

    def go_on(self, reservation: str) -> None:
        """Note that nothing was told, as there may be more."""
        self._at(reservation, self._now).is_resting = False

    def stands(self, reservation: str, sequence: int) -> bool:
        """Say whether a closed slice was never seen to have gone further than it has now."""
        seen = self._at(reservation, self._now)
        if sequence < seen.sequence:
            self._lose(seen)
        seen.sequence = max(seen.sequence, sequence)
        return not seen.is_lost

    def forget(self, reservation: str) -> None:
        """Remember a slice no longer than it could be drawn from, if all of it came back."""
        seen = self._seen.get(reservation)
        if seen is not None:
            seen.keep_until = seen.until

    def _lose(self, seen: _Sighting) -> None:
        self.rewound += not seen.is_lost
        seen.is_lost = True

    def _at(self, reservation: str, until: int) -> _Sighting:
        seen = self._seen.get(reservation)
        if seen is None:
            if len(self._seen) >= self._many:
                self._drop_old()
            seen = self._seen[reservation] = _Sighting(until)
        elif until > seen.until:
            # It was asked about before it was known.
            seen.until, seen.keep_until = until, until + _KEPT_MICROSECONDS
        return seen

    def _drop_old(self) -> None:
        """Drop what is over, seldom enough that it costs nothing."""
        self._seen = {id: seen for id, seen in self._seen.items() if seen.keep_until >= self._now}
        self._many = max(_MANY, 2 * len(self._seen))
