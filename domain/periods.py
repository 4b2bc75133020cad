"""Billing periods: the calendar month of an instant, in the customer's own time zone."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000_000


def billing_period(instant: int, time_zone: str) -> str:
    """Return the calendar month that holds an instant, as `YYYY-MM` in the given zone.

    `instant` is in microseconds since 1970; `time_zone` is an IANA name.
    """
    boundary, before, after = _months_of_day(instant // _DAY, time_zone)
    return before if instant < boundary else after


@lru_cache(maxsize=4096)
def _months_of_day(day: int, time_zone: str) -> tuple[int, str, str]:
    """Return (first instant of the later month, earlier month, later month) for one UTC day.

    On all but a few days both months are the same, so one cached answer serves a whole day.
    """
    zone = ZoneInfo(time_zone)
    first = (_EPOCH + timedelta(days=day)).astimezone(zone)
    last = (_EPOCH + timedelta(days=day + 1) - timedelta(microseconds=1)).astimezone(zone)
    before, after = f"{first:%Y-%m}", f"{last:%Y-%m}"
    if before == after:
        return 0, before, after
    midnight = datetime(last.year, last.month, 1, tzinfo=zone)
    return (midnight - _EPOCH) // timedelta(microseconds=1), before, after


def is_time_zone(name: str) -> bool:
    """Say whether a name is an IANA time zone that this installation knows."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
