"""A server's counters: they only grow, begin again at a restart, and so are read as a series.

Between two samples a restart loses what was counted since the earlier one. That stretch is told by
positions of the ledger, so that whoever compares knows which inferences may be missing.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple


class Counters(NamedTuple):
    """What a server has counted of one version of a model since its start."""

    success: int = 0
    """Requests that were answered; from the cache, or with an error of their own, included."""
    failed: int = 0
    """Requests that failed with their whole batch, or before it."""
    cache_hits: int = 0
    device_ns: int = 0
    """How long batches were computed; each batch once, however many requests it had."""
    batches: int = 0

    @property
    def requests(self) -> int:
        """Return how many requests the model itself was given: the cache answered the others."""
        return self.success - self.cache_hits + self.failed

    def plus(self, other: "Counters") -> "Counters":
        """Return both together."""
        return Counters(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, earlier: "Counters") -> "Counters":
        """Return what was counted since an earlier moment."""
        return Counters(*(a - b for a, b in zip(self, earlier, strict=True)))

    def fell_behind(self, earlier: "Counters") -> bool:
        """Say whether any counter is smaller than before, which only a new beginning explains."""
        return any(a < b for a, b in zip(self, earlier, strict=True))


NONE = Counters()

Key = tuple[str, str]
"""A model and its version, as its server calls them."""

Stages = Mapping[str, Mapping[str, int]]
"""By ensemble, how often it asks each of its models."""


class Sample(NamedTuple):
    """The counters of all servers at one moment, and where the ledger stood around it."""

    at: int
    """By the clock of whoever took it; microseconds since 1970."""
    before: int
    """The ledger's position before the servers were asked."""
    after: int
    """Its position when they had answered."""
    servers: Mapping[str, Mapping[Key, Counters]]
    """By address; a server that did not answer is not there, nor is a counter of nothing."""
    stages: Stages


Stretch = tuple[int, int]
"""From one position of the ledger to another."""


class Counted(NamedTuple):
    """What servers counted from the first of some samples to the last."""

    models: Mapping[str, Counters]
    """By model, over all servers and versions."""
    doubt: Mapping[str, int]
    """By model, requests that were counted before already if it was not restarted after all."""
    unseen: tuple[Stretch, ...]
    """Stretches in which a server's counters were lost, or nobody could read them."""
    restarts: int
    stages: Stages

    def doubt_of(self, model: str) -> int:
        """Return the doubt about one model."""
        return self.doubt.get(model, 0)


class _Sums:
    """Collects what pairs of samples tell."""

    def __init__(self) -> None:
        self.models: dict[str, Counters] = {}
        self.doubt: dict[str, int] = {}
        self.unseen: list[Stretch] = []
        self.restarts = 0

    def add(self, model: str, counters: Counters) -> None:
        self.models[model] = self.models.get(model, NONE).plus(counters)


def counted(samples: Sequence[Sample]) -> Counted:
    """Sum what was counted between the first sample and the last, over restarts as well."""
    sums = _Sums()
    stages: dict[str, Mapping[str, int]] = {}
    for sample in samples:
        stages.update(sample.stages)
    for server in sorted({name for sample in samples for name in sample.servers}):
        _follow(server, samples, sums)
    unseen = tuple(sorted(set(sums.unseen)))
    return Counted(sums.models, sums.doubt, unseen, sums.restarts, stages)


def _follow(server: str, samples: Sequence[Sample], sums: _Sums) -> None:
    """Add what one server counted from its first sample to its last."""
    present = [sample for sample in samples if server in sample.servers]
    first, last = present[0], present[-1]
    if first is not samples[0]:
        sums.unseen.append((samples[0].before, first.after))
    if last is not samples[-1]:
        sums.unseen.append((last.before, samples[-1].after))
    for earlier, later in pairwise(present):
        before, after = earlier.servers[server], later.servers[server]
        lost = {key for key in before if after.get(key, NONE).fell_behind(before[key])}
        if lost:
            sums.unseen.append((earlier.before, later.after))
            sums.restarts += 1
        anew = set(before) if _all_began_anew(before, after, lost) else lost
        for key in anew - lost:
            model = key[0]
            sums.doubt[model] = sums.doubt.get(model, 0) + before[key].requests
        for key, counters in after.items():
            sums.add(key[0], counters if key in anew else counters.minus(before.get(key, NONE)))


def _all_began_anew(
    before: Mapping[Key, Counters], after: Mapping[Key, Counters], lost: set[Key]
) -> bool:
    """Say whether a whole server began anew, and not only the models that show it.

    A counter that stood still did not begin anew, and then neither did its server.
    """
    return bool(lost) and not any(after.get(key) == before[key] for key in before)
