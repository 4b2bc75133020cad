"""Device time: what share of each batch every request of it is charged.

Each request of a batch has the whole batch's times in its trace, so that times must never be
summed over requests: they are grouped into batches first, and a batch's time is shared once.
docs/decisions/device-time.md has the rules.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Trace(NamedTuple):
    """What one trace tells of one request, or of one stage of an ensemble."""

    id: int
    """Counts up in the order in which a server's traces began."""
    request: str | None
    """The request's id; None where its client gave none."""
    model: str
    version: int
    began: int
    """When its first step was, in nanoseconds of a clock that starts with the machine."""
    spans: tuple[tuple[int, int], ...]
    """From when to when the device computed for it: mostly one, none for a cached answer."""
    answered: bool
    """Whether an answer was made; a request that was cancelled in its queue has none."""
    leaf: bool = True
    """Whether no other trace is a part of it: what has parts counts through these."""

    @property
    def ran(self) -> bool:
        """Whether a device had it, or an answer was made without one."""
        return bool(self.spans) or self.answered


class Batch(NamedTuple):
    """One batch: requests that were computed together have all of this in common."""

    model: str
    version: int
    start: int
    end: int


Members = Mapping[int, Trace]
"""The traces of one batch, by their ids."""


def batches(traces: Iterable[Trace]) -> dict[Batch, dict[int, Trace]]:
    """Group the traces of one server, from one start of it, by the batches they were part of."""
    found: dict[Batch, dict[int, Trace]] = {}
    for trace in traces:
        for batch in batches_of(trace):
            found.setdefault(batch, {})[trace.id] = trace
    return found


def batches_of(trace: Trace) -> tuple[Batch, ...]:
    """Return the batches that a trace was part of."""
    spans = dict.fromkeys(trace.spans)
    return tuple(Batch(trace.model, trace.version, start, end) for start, end in spans)


def microseconds(batch: Batch) -> int:
    """Return how long a batch took, rounded half up: the one place where time is rounded."""
    return (2 * (batch.end - batch.start) + 1000) // 2000


def shares(
    batch: Batch, members: Members, weights: Mapping[int, int] | None = None
) -> dict[int, int]:
    """Share a batch's microseconds among its traces, equally or by weight.

    The shares add up to the batch's time exactly, and depend on nothing but what is in the batch.
    """
    equally = dict.fromkeys(members, 1)
    return apportioned(microseconds(batch), equally if weights is None else weights)


def apportioned(total: int, weights: Mapping[int, int]) -> dict[int, int]:
    """Divide a whole number by weights, by the largest remainder; the smaller key goes first."""
    if not weights:
        return {}
    if min(weights.values()) < 0:
        raise ValueError("a weight is negative")
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    whole = sum(weights.values())
    given = {key: total * weight // whole for key, weight in weights.items()}
    rest = total - sum(given.values())
    by_remainder = sorted(weights, key=lambda key: (-(total * weights[key] % whole), key))
    for key in by_remainder[:rest]:
        given[key] += 1
    return given


def times(traces: Iterable[Trace]) -> dict[str, int]:
    """Return each request's device time in microseconds, over all stages of an ensemble.

    A cached answer has none: zero. Requests without an id take their shares, and are nobody's.
    """
    known = list(traces)
    found = {trace.request: 0 for trace in known if trace.request is not None}
    for batch, members in batches(known).items():
        for id, share in shares(batch, members).items():
            request = members[id].request
            if request is not None and members[id].leaf:
                found[request] += share
    return found


def never_began(known: Mapping[int, int], before: int, after: int) -> bool:
    """Say whether traces prove that no other request began between two instants.

    `known` has by trace id when it began. Ids are given one by one as requests begin: where all
    between one from before and one from after are known, nothing else can have begun between.
    """
    first = max((id for id, began in known.items() if began < before), default=None)
    last = min((id for id, began in known.items() if began > after), default=None)
    if first is None or last is None or last < first:
        return False
    return all(id in known for id in range(first + 1, last))
