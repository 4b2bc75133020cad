"""Buckets: a map that is never changed, only replaced by a new one.

A plain dictionary would be copied whole for each event. This one is split into buckets, so a
change copies one bucket and the short list of buckets, and older versions stay valid: a batch
that fails to commit is forgotten by dropping the new version.
"""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

V = TypeVar("V")

_BUCKETS = 64
_EMPTY: tuple[dict[str, Any], ...] = tuple({} for _ in range(_BUCKETS))


class Buckets(Generic[V]):
    """An immutable map of id to value."""

    __slots__ = ("_buckets",)

    def __init__(self, buckets: tuple[dict[str, V], ...] = _EMPTY) -> None:
        """Wrap buckets; callers start from an empty map and use `put` and `drop`."""
        self._buckets = buckets

    def get(self, name: str) -> V | None:
        """Return the value under an id, or None."""
        return self._buckets[hash(name) % _BUCKETS].get(name)

    def put(self, name: str, value: V) -> "Buckets[V]":
        """Return a map in which the id has this value."""
        index = hash(name) % _BUCKETS
        buckets = self._buckets
        return _with(buckets, index, {**buckets[index], name: value})

    def drop(self, name: str) -> "Buckets[V]":
        """Return a map without the id."""
        index = hash(name) % _BUCKETS
        buckets = self._buckets
        changed = buckets[index].copy()
        changed.pop(name, None)
        return _with(buckets, index, changed)

    def items(self) -> Iterator[tuple[str, V]]:
        """Yield (id, value) in no particular order."""
        for bucket in self._buckets:
            yield from bucket.items()

    def __len__(self) -> int:
        """Return how many ids there are."""
        return sum(map(len, self._buckets))

    def __eq__(self, other: object) -> bool:
        """Compare by content."""
        return isinstance(other, Buckets) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]


def _with(buckets: tuple[dict[str, V], ...], index: int, changed: dict[str, V]) -> Buckets[V]:
    copied = list(buckets)
    copied[index] = changed
    return Buckets(tuple(copied))
