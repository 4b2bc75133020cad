"""The open holds of one customer, by reservation."""

from typing import NamedTuple

from domain.buckets import Buckets
from domain.units import Quantities

TTL_DEFAULT_SECONDS = 300
TTL_MAX_SECONDS = 86_400
"""How long a hold counts where nobody says, and at most."""

INFERENCES_MIN = 2
INFERENCES_MAX = 10_000
"""For how many inferences one reservation may hold, where it is not for one alone."""


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
    """What may still be used: the estimate, less what parts have used, never below zero.

    For several inferences it is the estimates of those that are still to come.
    """
    license: str | None = None
    """The licence that counts it, if one does."""
    opened_at: int = 0
    """When it was admitted; without a licence it is written in no state, and 0 if read from one."""
    each: Quantities | None = None
    """What one inference takes of the estimate, where it is held for several."""
    untouched: bool = False
    """Whether it is known to stand as it was opened; then it tells its whole reservation."""


Holds = Buckets[Hold]
"""Reservation id to hold."""
