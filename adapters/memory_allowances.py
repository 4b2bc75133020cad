"""Allowances in this process's own memory: the places of slices, handed out without a Redis.

It forgets nothing as long as the process lives, and everything with it: then nobody draws any more
from what it handed out. It never fails, so what is written of Redis is compared with it.
"""

from typing import NamedTuple

from application.allowing import Drawn, NoDraw, Slice, checked

_KEPT_MICROSECONDS = 3_600 * 1_000_000
_MANY = 1_024


class _Published:
    """A slice and what became of its places."""

    def __init__(self, key: str, new: Slice) -> None:
        """Begin with all places left."""
        self.key = key
        self.slice = new
        self.left = new.inferences
        self.is_closed = False
        self.drew: set[str] = set()
        self.told: set[str] = set()


class _Late(NamedTuple):
    """A slice that was closed before it was published: it never will be."""


class LocalPlaces:
    """All slices that are handed out in this process."""

    def __init__(self) -> None:
        """Begin with none."""
        self.slices: dict[str, _Published | _Late] = {}
        self.current: dict[str, str] = {}
        self._new = 0
        """How many were published since old ones were looked for."""

    def known(self, reservation: str) -> _Published | None:
        """Return a slice that was published."""
        found = self.slices.get(reservation)
        return found if isinstance(found, _Published) else None

    def publish(self, key: str, new: Slice, now: int) -> None:
        """Make a slice the current one, unless it was closed already."""
        if self.known(new.reservation):
            raise ValueError(f"{new.reservation} was published before")
        self._new += 1
        if self._new >= _MANY:
            self._drop_old(now)
        if new.reservation in self.slices:
            return
        before = self.known(self.current.get(key, ""))
        if before is not None:
            before.is_closed = True
        self.slices[new.reservation] = _Published(key, new)
        self.current[key] = new.reservation

    def forget(self, reservation: str) -> None:
        """Drop a slice."""
        found = self.slices.pop(reservation, None)
        if isinstance(found, _Published) and self.current.get(found.key) == reservation:
            del self.current[found.key]

    def _drop_old(self, now: int) -> None:
        """Drop what ended long ago, seldom enough that it costs nothing."""
        for reservation in list(self.slices):
            found = self.known(reservation)
            if found is None or found.slice.draw_until + _KEPT_MICROSECONDS < now:
                self.forget(reservation)
        self._new = 0


class LocalAllowances:
    """What one gateway does with slices in this process."""

    def __init__(self, places: LocalPlaces, gateway: str) -> None:
        """Draw for a gateway of that name."""
        self._places = places
        self._gateway = gateway

    async def publish(self, key: str, new: Slice, now: int) -> None:
        """Make a slice the current one of a question's digest, and close the one before."""
        self._places.publish(key, checked(new), now)

    async def draw(self, key: str, count: int, now: int) -> Drawn | NoDraw:
        """Draw places of the current slice."""
        if count < 1:
            raise ValueError("at least one place is drawn")
        found = self._places.known(self._places.current.get(key, ""))
        if found is None:
            return NoDraw("none")
        if found.is_closed:
            return NoDraw("closed")
        if now >= found.slice.draw_until:
            return NoDraw("ending")
        if not found.left:
            return NoDraw("spent")
        taken = min(count, found.left)
        found.left -= taken
        found.drew.add(self._gateway)
        return Drawn(found.slice.reservation, taken, found.left)

    async def terms(self, reservation: str) -> str | None:
        """Return the terms of a slice, as long as they are known."""
        found = self._places.known(reservation)
        return found.slice.terms if found else None

    async def close_slice(self, reservation: str) -> None:
        """End drawing from a slice, for every gateway and for ever."""
        found = self._places.slices.setdefault(reservation, _Late())
        if isinstance(found, _Published):
            found.is_closed = True

    async def tally(self, reservation: str) -> bool:
        """Note that the ledger knows what became of everything that this gateway drew."""
        found = self._places.known(reservation)
        if found is None or not found.is_closed:
            return False
        found.told.add(self._gateway)
        return True

    async def is_tallied(self, reservation: str) -> bool:
        """Say whether every gateway that drew from a closed slice has tallied it."""
        found = self._places.known(reservation)
        return found is not None and found.is_closed and found.drew <= found.told

    async def forget(self, reservation: str) -> None:
        """Drop all that is known of a slice, which nobody asks about any more."""
        self._places.forget(reservation)

    async def close(self) -> None:
        """Let go of nothing: the places stay with whoever made them."""
