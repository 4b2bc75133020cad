"""Inferences that ran for nothing in part of a slice: the ledger never hears of any of them.

Their gateway notes them down, so that reconciliation has a cause for what a server counted.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from domain.reconciliation import BOUNDS, INSIDE, NEVER_SENT, Ended
from domain.server_counters import Sample
from domain.values import SECOND

NEAR = SECOND
"""So near to a sample nobody can say whether the servers' counters have it already."""

_OTHER_WORDS = re.compile("unexpected inference (in|out)put |Request for unknown model")
_UNTAKEN = ": no server took it"


class Free(NamedTuple):
    """One such inference, by the clock of its gateway; microseconds since 1970."""

    id: str
    customer: str
    model: str
    """As the price book calls it."""
    reason: str
    began: int
    ended: int


def may_have_run(reason: str) -> bool:
    """Say whether a server may have been given what ended for this reason."""
    return not reason.startswith(NEVER_SENT) and not reason.endswith(_UNTAKEN)


def ended_free(notes: Iterable[Free], first: Sample, last: Sample) -> list[Ended]:
    """Return what ended for nothing between two samples.

    Of two notes of one inference the first counts: what is told again later knows less.
    """
    once: dict[str, Free] = {}
    for each in notes:
        once.setdefault(each.id, each)
    return [
        Ended(each.model, when, "released", each.reason.partition(":")[0], _mark(each), 1)
        for each in once.values()
        if may_have_run(each.reason) and (when := _when(each, first, last)) is not None
    ]


def _when(each: Free, first: Sample, last: Sample) -> str | None:
    if each.ended + NEAR < first.at or each.began > last.at + NEAR:
        return None
    is_inside = each.began > first.at and each.ended + NEAR < last.at
    return INSIDE if is_inside else BOUNDS


def _mark(each: Free) -> str:
    """Tell, as of released holds, whether the server refused the request before a model had it."""
    names_it = f"[request id: {each.id}]" in each.reason
    return "refused" if names_it or _OTHER_WORDS.search(each.reason) else ""
