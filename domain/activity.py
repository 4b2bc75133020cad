"""Activity: how much a customer used and when, as far back as the fraud rule can still ask.

The last quarter of an hour is kept by the minute, the day before it by windows of five minutes,
so that the state stays small whatever the customer does. Each bucket also names the customer's
events that it counts: where a question divides a bucket, these events give the exact answer.
"""

from collections.abc import Iterable
from typing import NamedTuple

from domain.allocation import NEVER
from domain.units import Quantities
from domain.values import SECOND

MINUTE = 60 * SECOND
WINDOW = 5 * MINUTE
"""Buckets are aligned to 1970: their starts are multiples of their length."""

FINE_WINDOWS = 3
"""So many windows before the window of the newest usage are kept by the minute, and itself."""

KEPT_WINDOWS = 300
"""So many windows before that of the newest usage are kept: a day, and an hour of lateness."""


class Bucket(NamedTuple):
    """What happened in one minute or window."""

    start: int
    units: int
    first: int
    """The customer's event number of the first usage in it, in the order of the ledger."""
    last: int


Buckets = tuple[Bucket, ...]
"""In order of time."""


class Activity(NamedTuple):
    """Requests by the time at which they occurred."""

    first_use: int = NEVER
    """The earliest instant of any usage."""
    newest: int = -1
    """The latest instant of any usage."""
    minutes: Buckets = ()
    windows: Buckets = ()
    in_minutes: int = 0
    """The sum over `minutes`."""
    in_windows: int = 0
    """The sum over `windows`."""


def requests_of(usage: Quantities, inference: bool) -> int:
    """Return the requests that a charge counts as: one, unless it says how many.

    A part of an inference is none by itself.
    """
    return usage.get("requests", 1 if inference else 0)


def fine_from(newest: int) -> int:
    """Return the instant from which usage is kept by the minute."""
    return newest - newest % WINDOW - FINE_WINDOWS * WINDOW


def kept_from(newest: int) -> int:
    """Return the instant from which usage is kept at all."""
    return newest - newest % WINDOW - KEPT_WINDOWS * WINDOW


def counted(activity: Activity, occurred_at: int, requests: int, sequence: int) -> Activity:
    """Count the requests of the customer's event number `sequence`."""
    first_use, newest, minutes, windows, in_minutes, in_windows = activity
    minute = occurred_at - occurred_at % MINUTE
    if requests and minutes and minutes[-1].start == minute and first_use <= occurred_at:
        last = minutes[-1]  # the usual case
        grown = Bucket(minute, last.units + requests, last.first, sequence)
        newest = max(newest, occurred_at)
        minutes = (*minutes[:-1], grown)
        return Activity(first_use, newest, minutes, windows, in_minutes + requests, in_windows)
    if occurred_at > newest:
        activity = _moved_on(activity, occurred_at)
    if occurred_at < first_use:
        activity = activity._replace(first_use=occurred_at)
    if not requests:
        return activity
    return _put(activity, occurred_at, Bucket(minute, requests, sequence, sequence))


def _moved_on(activity: Activity, newest: int) -> Activity:
    """Make an instant the newest: what has become old is kept by windows, or no longer."""
    horizon, end = fine_from(newest), kept_from(newest)
    windows = activity.windows
    for bucket in activity.minutes:
        if bucket.start < horizon:
            windows = _merged(windows, bucket._replace(start=bucket.start - bucket.start % WINDOW))
    return of_buckets(
        activity.first_use,
        newest,
        (bucket for bucket in activity.minutes if bucket.start >= horizon),
        (bucket for bucket in windows if bucket.start >= end),
    )


def _put(activity: Activity, occurred_at: int, bucket: Bucket) -> Activity:
    first_use, newest, minutes, windows, in_minutes, in_windows = activity
    if occurred_at >= fine_from(newest):
        minutes, in_minutes = _merged(minutes, bucket), in_minutes + bucket.units
    elif occurred_at >= kept_from(newest):
        bucket = bucket._replace(start=occurred_at - occurred_at % WINDOW)
        windows, in_windows = _merged(windows, bucket), in_windows + bucket.units
    return Activity(first_use, newest, minutes, windows, in_minutes, in_windows)


def _merged(buckets: Buckets, more: Bucket) -> Buckets:
    """Add a bucket to others, looking for its place from the newest on."""
    index = len(buckets)
    while index and buckets[index - 1].start > more.start:
        index -= 1
    if not index or buckets[index - 1].start < more.start:
        return (*buckets[:index], more, *buckets[index:])
    same = buckets[index - 1]
    first, last = min(same.first, more.first), max(same.last, more.last)
    both = Bucket(same.start, same.units + more.units, first, last)
    return (*buckets[: index - 1], both, *buckets[index:])


def of_buckets(
    first_use: int, newest: int, minutes: Iterable[Bucket], windows: Iterable[Bucket]
) -> Activity:
    """Return an activity of these buckets, with its sums."""
    fine, coarse = tuple(minutes), tuple(windows)
    sums = sum(bucket.units for bucket in fine), sum(bucket.units for bucket in coarse)
    return Activity(first_use, newest, fine, coarse, *sums)


def up_to(activity: Activity, edge: int) -> tuple[int, Bucket | None]:
    """Return the requests at or before an instant, and the bucket which it divides, if any.

    The units of a divided bucket are not in the sum: some or all of them may be later.
    """
    if edge >= activity.newest:
        return activity.in_windows + activity.in_minutes, None
    if edge >= fine_from(activity.newest):
        total, buckets, length = activity.in_windows, activity.minutes, MINUTE
    else:
        total, buckets, length = 0, activity.windows, WINDOW
    for bucket in buckets:
        if bucket.start > edge:
            break
        if bucket.start + length - 1 > edge:
            return total, bucket
        total += bucket.units
    return total, None
