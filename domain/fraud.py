"""The hard fraud rule: a burst far above a customer's own average blocks the account (B6).

    recent  = requests in (t - 5 min, t]
    total   = requests in [t - 24 h, t - 5 min]
    windows = whole 5-minute windows from the first use, or t - 24 h if later, to t - 5 min
    blocked = recent > 1,000 and recent * windows > 10 * total, once there are 12 windows

t is when the settled usage occurred. The account is blocked in the same transaction, after the
settlement, which is charged in full. Everything is an integer; nothing is estimated.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.activity import MINUTE, WINDOW, Activity, Bucket, fine_from, kept_from, up_to
from domain.balance import Balance
from domain.commands import Unblock
from domain.fraud_case import case_id
from domain.fraud_review import case_refusal, confirmed_case
from domain.guard_events import AccountBlocked, AccountUnblocked
from domain.outcomes import Decision, Refusal

RECENT = 5 * MINUTE
DAY = 24 * 60 * MINUTE
WINDOWS_MIN = 12
REQUESTS_MAX = 1_000
"""No more recent requests than these ever block."""
FACTOR = 10
FIGURE_MAX = 2**53 - 1
"""JSON carries no larger whole number: the figures of a block stop there."""


class Crossing(NamedTuple):
    """A settlement crossed the line; these are the rule's figures."""

    recent: int
    total: int
    windows: int


class Question(NamedTuple):
    """Asks how many requests of a bucket are at or before an instant that divides it."""

    edge: int
    bucket: Bucket
    length: int
    """Of the bucket, in microseconds."""


Questions = tuple[Question, ...]
"""What has to be known exactly before there can be a verdict."""


def judge(balance: Balance, at: int, known: Mapping[int, int]) -> Crossing | Questions | None:
    """Say whether the usage at an instant, counted already, crossed the line.

    `known` answers questions, by their edges. None means that it did not cross; no verdict either
    on a blocked account, on what had begun before the last unblock, or on what is too old.
    """
    activity = balance.activity
    if balance.block is not None or at - RECENT < balance.cleared_at:
        return None
    by_the_minute = at - RECENT >= fine_from(activity.newest) - 1
    if by_the_minute and activity.in_minutes <= REQUESTS_MAX:
        return None
    start = max(activity.first_use, at - DAY)
    windows = (at - RECENT - start) // RECENT
    if windows < WINDOWS_MIN or start - start % WINDOW < kept_from(activity.newest):
        return None
    _, most_before, before = _bounds(activity, start - 1, known)
    if by_the_minute and not _is_above(
        activity.in_minutes, activity.in_windows - most_before, windows
    ):
        return None  # most often with much use: not even if all that is kept were recent
    _, most, last = _bounds(activity, at, known)
    least, _, border = _bounds(activity, at - RECENT, known)
    # More at the end, less at the border and more before the beginning: the worst there can be.
    recent, total = most - least, least - most_before
    if not _is_above(recent, total, windows):
        return None
    questions = tuple(each for each in (last, border, before) if each is not None)
    return questions or Crossing(recent, total, windows)


def _bounds(
    activity: Activity, edge: int, known: Mapping[int, int]
) -> tuple[int, int, Question | None]:
    """Return the least and the most requests at or before an edge, and what would tell exactly."""
    sure, bucket = up_to(activity, edge)
    if bucket is None or edge < activity.first_use:
        return sure, sure, None
    if edge in known:
        return sure + known[edge], sure + known[edge], None
    length = MINUTE if edge >= fine_from(activity.newest) else WINDOW
    return sure, sure + bucket.units, Question(edge, bucket, length)


def _is_above(recent: int, total: int, windows: int) -> bool:
    return recent > REQUESTS_MAX and recent * windows > FACTOR * total


def blocked(customer: str, at: int, crossing: Crossing) -> AccountBlocked:
    """Return the fact that an account is blocked, with the figures that led to it."""
    return AccountBlocked(
        customer=customer,
        occurred_at=at,
        recent=min(crossing.recent, FIGURE_MAX),
        rule=1,  # the version of this rule
        total=min(crossing.total, FIGURE_MAX),
        windows=crossing.windows,
    )


def decide_unblock(balance: Balance, command: Unblock) -> Decision:
    """Let an account reserve again; the burst that blocked it does not block it once more."""
    if not command.reason.strip():
        raise Invalid.because("reason", command.reason, "a reason in words")
    case = confirmed_case(balance)
    if case is not None:
        return case_refusal(case.status, case_id(command.customer, case))
    if balance.block is None:
        return Refusal(
            "not_blocked",
            f"the account of customer {command.customer} is not blocked",
            {"customer": command.customer},
        )
    return (AccountUnblocked(customer=command.customer, reason=command.reason),)


def blocked_since(balance: Balance) -> int | None:
    """Return since when nothing new is admitted: by the hard rule, or by a confirmed case."""
    if balance.block is not None:
        return balance.block.blocked_at
    case = confirmed_case(balance)
    return None if case is None else case.since


def stopped(balance: Balance) -> Refusal | None:
    """Return the refusal for a blocked account, or None: nothing new is admitted there."""
    since = blocked_since(balance)
    if since is None:
        return None
    when = format_instant(since)
    return Refusal(
        "account_blocked",
        f"the account was blocked at {when} after unusual use",
        {"blocked_at": when},
    )
