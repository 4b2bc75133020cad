"""Reconciliation: what servers say they ran against what the ledger charged, gap by gap.

A gap is the number of requests that a model was given less those that were charged. Each cause
accounts for a part of it, some exactly and some within bounds; what no cause can account for is
unexplained. docs/reconciliation.md says what each cause is.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from domain.server_counters import NONE, Counted, Counters

INSIDE, UNSEEN, BOUNDS = "inside", "unseen", "bounds"
"""When an inference ran: between the samples; in a stretch that nobody saw; at a sample itself."""

Cause = Literal[
    "cache",
    "ensemble",
    "errors",
    "refused",
    "left",
    "parked",
    "released",
    "open",
    "in flight",
    "restart",
]

NEVER_SENT = (
    "its client left before it was",
    "its server cannot be reached",
    "its server never saw it",
    "no pool",
    "no server of the pool",
    "the gateway could not",
    "the gateway stopped before",
    "the server never ran it",
)
"""How the reasons begin for which the gateway releases what no server was given."""
_FAILED = "the server failed it"
_LEFT = "its client left before anything was produced"
_NOBODY_KNOWS = "nobody knows"
TOLD_APART = (_FAILED, _LEFT, _NOBODY_KNOWS)
"""How the other reasons begin that mean something here."""


class Ended(NamedTuple):
    """Some inferences that ended alike, as the ledger has them."""

    model: str
    """As the price book calls it; of a run through a pipeline, that."""
    when: str
    how: Literal["charged", "released", "parked", "open"]
    """`open` is a hold without any outcome, expired or not."""
    reason: str
    """How the reason begins."""
    mark: str
    """`refused` where the server's words name the request, `untaken` where no server had it."""
    number: int
    device_time: int = 0
    """What was charged, in microseconds."""


class Part(NamedTuple):
    """A cause, and how much of a gap it accounts for."""

    cause: Cause
    number: int
    low: int
    """The least that it can account for."""
    high: int
    """The most."""

    def nearer(self, rest: int) -> "Part":
        """Return the part with as much of what is left of a gap as it can take."""
        return self._replace(number=min(max(self.number + rest, self.low), self.high))


class DeviceTime(NamedTuple):
    """Device time in microseconds: what servers computed, and what was charged."""

    ran: int
    charged: int
    causes: tuple[str, ...]
    """What explains a difference; nothing does where it is empty."""
    unexplained: int


class Line(NamedTuple):
    """One model of the price book, or one of a server that nobody sells."""

    model: str | None
    """As the price book calls it."""
    served_as: tuple[str, ...]
    """As servers call it."""
    ran: int
    charged: int
    parts: tuple[Part, ...]
    unexplained: int
    device_time: DeviceTime | None = None

    @property
    def gap(self) -> int:
        """Return how many more requests ran than were charged."""
        return self.ran - self.charged

    @property
    def is_explained(self) -> bool:
        """Say whether causes account for all of it."""
        time = self.device_time
        return not self.unexplained and (time is None or not time.unexplained)


class Sold(NamedTuple):
    """What a gateway offers: its servers' models, by the names under which they are charged."""

    models: Mapping[str, tuple[str, ...]]
    by_device_time: frozenset[str] = frozenset()
    """Models of the price book whose meters charge device time."""


def reconciled(counted: Counted, ended: Iterable[Ended], sold: Sold) -> list[Line]:
    """Compare every model; one that nothing happened to is left out."""
    of_models: dict[str, list[Ended]] = {}
    for each in ended:
        of_models.setdefault(each.model, []).append(each)
    failures = _failures(of_models, sold)
    lines = []
    for model in sorted({*sold.models, *of_models}):
        served_as = sold.models.get(model, ())
        lines.append(_line(model, served_as, counted, of_models.get(model, ()), failures))
    known = {name for names in sold.models.values() for name in names}
    lines += [
        _line(None, (name,), counted, (), failures) for name in sorted({*counted.models} - known)
    ]
    found = [line for line in lines if line.ran or line.charged or line.parts]
    return [_timed(line, counted, of_models, sold) for line in found]


def _line(
    model: str | None,
    served_as: tuple[str, ...],
    counted: Counted,
    ended: Sequence[Ended],
    failures: Mapping[str, int],
) -> Line:
    seen = _together(counted, served_as)
    ensembles = _together(counted, [name for name in served_as if name in counted.stages])
    charged = sum(each.number for each in ended if each.how == "charged" and each.when != BOUNDS)
    parts = [
        _ensemble(counted, served_as, failures),
        *_ledger_parts(ended, seen, ensembles),
        Part("restart", 0, -_charged_unseen(ended), sum(map(counted.doubt_of, served_as))),
    ]
    parts = [part for part in parts if part.low or part.high]
    if seen.cache_hits:
        # Nothing ran for these, and they were charged, if only nothing.
        parts.append(Part("cache", -seen.cache_hits, -seen.cache_hits, -seen.cache_hits))
    rest = seen.requests - charged - sum(part.number for part in parts)
    fitted = []
    for part in parts:
        found = part.nearer(rest)
        rest -= found.number - part.number
        fitted.append(found)
    return Line(model, served_as, seen.requests, charged, tuple(fitted), rest)


def _together(counted: Counted, models: Iterable[str]) -> Counters:
    total = NONE
    for model in models:
        total = total.plus(counted.models.get(model, NONE))
    return total


def _charged_unseen(ended: Iterable[Ended]) -> int:
    return sum(each.number for each in ended if each.how == "charged" and each.when == UNSEEN)


def _ensemble(counted: Counted, served_as: Iterable[str], failures: Mapping[str, int]) -> Part:
    """Return how often ensembles asked these models; one that failed may not have come to all."""
    low = high = 0
    for name, steps in counted.stages.items():
        parent = counted.models.get(name, NONE)
        times = sum(steps.get(model, 0) for model in served_as)
        answered = parent.success - parent.cache_hits
        # A failure may be counted twice: the ledger knows better, if they were asked through us.
        failed = min(parent.failed, max((parent.failed + 1) // 2, failures.get(name, 0)))
        low += times * answered
        high += times * (answered + failed)
    return Part("ensemble", low, low, high)


def _failures(of_models: Mapping[str, Sequence[Ended]], sold: Sold) -> dict[str, int]:
    """Return by model of a server how many of its inferences have failed as the ledger knows."""
    found: dict[str, int] = {}
    for model, names in sold.models.items():
        each_of = of_models.get(model, ())
        count = sum(each.number for each in each_of if each.reason.startswith(_FAILED))
        found.update(dict.fromkeys(names, count))
    return found


def _ledger_parts(ended: Iterable[Ended], seen: Counters, ensembles: Counters) -> list[Part]:
    """Return what the ledger tells of inferences that ran, or may have, and were not charged."""
    bounds: dict[Cause, tuple[int, int]] = {}
    for each in ended:
        if each.how == "charged" and each.when != BOUNDS:
            continue
        cause, low, high = _meaning(each)
        before = bounds.get(cause, (0, 0))
        bounds[cause] = (before[0] + low * each.number, before[1] + high * each.number)
    # What a server refuses before a model has it is not counted, or as failed.
    refused = bounds.get("refused", (0, 0))[1]
    bounds["refused"] = (0, min(refused, seen.failed - ensembles.failed))
    # Each failure of an ensemble is counted twice.
    low, high = bounds.get("errors", (0, 0))
    bounds["errors"] = (low, high + min(high, ensembles.failed // 2))
    parts = []
    for cause in _ORDER:
        low, high = bounds.get(cause, (0, 0))
        parts.append(Part(cause, high if cause in _LIKELY else low, low, high))
    return parts


_ORDER: tuple[Cause, ...] = (
    *("refused", "open", "in flight", "left", "released", "parked", "errors"),
)
"""The order in which causes give way where a gap needs less, or more, of them."""
_LIKELY = frozenset({"errors", "parked", "left"})
"""Causes of which all mostly ran."""


def _meaning(each: Ended) -> tuple[Cause, int, int]:
    """Return what an inference is a cause of, and how often at least and at most it ran."""
    cause, low, high = _inside(each)
    if each.when == BOUNDS:
        return "in flight", 0, high
    return cause, low if each.when == INSIDE else 0, high


def _inside(each: Ended) -> tuple[Cause, int, int]:
    if each.how == "charged":
        return "in flight", 1, 1
    if each.how == "open":
        return "open", 0, 1
    if each.how == "parked":
        return "parked", 0 if each.reason.startswith(_NOBODY_KNOWS) else 1, 1
    if each.mark == "untaken" or each.reason.startswith(NEVER_SENT):
        return "released", 0, 0
    if each.reason.startswith(_FAILED):
        return ("refused", 0, 1) if each.mark == "refused" else ("errors", 0, 1)
    return ("left" if each.reason.startswith(_LEFT) else "released"), 0, 1


def _timed(
    line: Line, counted: Counted, of_models: Mapping[str, Sequence[Ended]], sold: Sold
) -> Line:
    """Add the comparison of device time, where it is charged."""
    if line.model is None or line.model not in sold.by_device_time:
        return line
    charged = sum(each.device_time for each in of_models.get(line.model, ()) if each.when != BOUNDS)
    computing = _computing(line.served_as, counted)
    seen = _together(counted, computing)
    ran = seen.device_ns // 1000
    causes: list[str] = [
        part.cause for part in line.parts if part.cause != "cache" and part.high - part.low
    ]
    causes += [part.cause for part in line.parts if part.cause != "cache" and part.low > 0]
    if computing & _computed_for_others(line, counted, sold):
        causes.append("others")
    if line.unexplained:
        causes.append("unexplained")
    difference = ran - charged
    # Each batch was rounded once, to whole microseconds.
    is_rounding = abs(difference) <= seen.batches
    may_lack = difference > 0 and causes
    may_exceed = difference < 0 and {"in flight", "restart"} & {*causes}
    unexplained = 0 if is_rounding or may_lack or may_exceed else difference
    shown = () if is_rounding else tuple(dict.fromkeys(causes))
    return line._replace(device_time=DeviceTime(ran, charged, shown, unexplained))


def _computing(models: Iterable[str], counted: Counted) -> set[str]:
    """Return the models that compute for some: an ensemble computes through its own."""
    found: set[str] = set()
    waiting = list(models)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += counted.stages.get(name, ())
    return found


def _computed_for_others(line: Line, counted: Counted, sold: Sold) -> set[str]:
    others: set[str] = set()
    for model, names in sold.models.items():
        if model != line.model and _together(counted, names).requests:
            others |= _computing(names, counted)
    return others
