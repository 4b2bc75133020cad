"""Buckets: a map that is never changed, only replaced by a new one.

A plain dictionary would be copied whole for each event. This one is split into buckets once it
holds more than a few, so a change copies one bucket and the short list of buckets, and older
versions stay valid: a batch that fails to commit is forgotten by dropping the new version.
"""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

V = TypeVar("V")

_BUCKETS = 64
_FEW = 16
"""So many are copied as quickly as the list of buckets is."""

_EMPTY: tuple[dict[str, Any], ...] = ({},)


class Buckets(Generic[V]):
    """An immutable map of id to value."""

    __slots__ = ("_buckets",)

    def __init__(self, buckets: tuple[dict[str, V], ...] = _EMPTY) -> None:
        """Wrap buckets; callers start from an empty map and use `put` and `drop`."""
        self._buckets = buckets

    @classmethod
    def of(cls, values: dict[str, V]) -> "Buckets[V]":
        """Return a map of these values."""
        return cls((values.copy(),) if len(values) <= _FEW else _spread(values))

    def get(self, name: str) -> V | None:
        """Return the value under an id, or None."""
        buckets = self._buckets
        return buckets[hash(name) % len(buckets)].get(name)

    def put(self, name: str, value: V) -> "Buckets[V]":
        """Return a map in which the id has this value."""
        buckets = self._buckets
        index = hash(name) % len(buckets)
        changed = {**buckets[index], name: value}
        if len(buckets) == 1:
            return Buckets((changed,) if len(changed) <= _FEW else _spread(changed))
        return _with(buckets, index, changed)

    def put_all(self, values: dict[str, V]) -> "Buckets[V]":
        """Return a map in which each of these ids has its value."""
        buckets = self._buckets
        if len(buckets) == 1 and len(buckets[0]) + len(values) <= _FEW:
            return Buckets(({**buckets[0], **values},))
        changed = self
        for name, value in values.items():
            changed = changed.put(name, value)
        return changed

    def drop(self, name: str) -> "Buckets[V]":
        """Return a map without the id."""
        buckets = self._buckets
        index = hash(name) % len(buckets)
        changed = buckets[index].copy()
        changed.pop(name, None)
        return Buckets((changed,)) if len(buckets) == 1 else _with(buckets, index, changed)

    def items(self) -> Iterator[tuple[str, V]]:
        """Yield (id, value) in no particular order."""
        for bucket in self._buckets:
            yield from bucket.items()

    def __bool__(self) -> bool:
        """Say whether there is any id."""
        return any(self._buckets)

    def __len__(self) -> int:
        """Return how many ids there are."""
        return sum(map(len, self._buckets))

    def __eq__(self, other: object) -> bool:
        """Compare by content."""
        return isinstance(other, Buckets) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]


def _spread(values: dict[str, V]) -> tuple[dict[str, V], ...]:
    """Split what has become many."""
    buckets: tuple[dict[str, V], ...] = tuple({} for _ in range(_BUCKETS))
    for name, value in values.items():
        buckets[hash(name) % _BUCKETS][name] = value
    return buckets


def _with(buckets: tuple[dict[str, V], ...], index: int, changed: dict[str, V]) -> Buckets[V]:
    copied = list(buckets)
    copied[index] = changed
    return Buckets(tuple(copied))
