"""Instants: RFC 3339 text in UTC on the wire, integer microseconds since 1970 inside.

An instant is written in one way only, ``2023-11-16T18:15:46.680590Z``. On reading, any offset and
up to nine digits of a second are understood; what lies below a microsecond is cut off. A time
without an offset is refused, because nobody can say when it was, and so is the leap second 60,
because it has no number of its own.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from tollbook.errors import Invalid

SECOND = 1_000_000
MAX_INSTANT = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""

INSTANT_RULE = "an RFC 3339 time with an offset, from 1970 to 9999"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT_TEXT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)

_OWN_SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")


def format_instant(instant: int) -> str:
    """Write an instant in UTC with all its microseconds."""
    if not 0 <= instant <= MAX_INSTANT:
        raise Invalid.because("time", instant, "between the years 1970 and 9999")
    return f"{_write_second(instant // SECOND)}.{instant % SECOND:06d}Z"


def parse_instant(text: object, field: str = "time") -> int:
    """Read an RFC 3339 time with any offset."""
    if isinstance(text, str) and text[19:20] == "." and text[26:] == "Z":
        # As we write it ourselves: worth a short cut.
        second, micros = _own_second(text[:19]), text[20:26]
        if second is not None and micros.isdecimal() and micros.isascii():
            return second * SECOND + int(micros)
    elif isinstance(text, str) and text[19:] == "Z":  # to the second, as many write it
        second = _own_second(text[:19])
        if second is not None:
            return second * SECOND
    match = _INSTANT_TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Invalid.because(field, text, INSTANT_RULE)
    date, clock, fraction, sign, hours, minutes = match.groups()
    try:
        seconds = _read_second(f"{date}T{clock}+00:00")
    except ValueError as error:
        raise Invalid.because(field, text, f"{INSTANT_RULE} ({error})") from None
    if sign is not None:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds += offset if sign == "-" else -offset
    instant = seconds * SECOND + int((fraction or "0")[:6].ljust(6, "0"))
    if not 0 <= instant <= MAX_INSTANT:
        raise Invalid.because(field, text, INSTANT_RULE)
    return instant


# Events come in the order of time, so neighbours share their second: the calendar is asked once.
@lru_cache(maxsize=4096)
def _write_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=4096)
def _own_second(text: str) -> int | None:
    """Read a second as we write it; None for any other form, and before 1970."""
    if _OWN_SECOND.fullmatch(text) is None:
        return None
    try:
        second = _read_second(f"{text}+00:00")
    except ValueError:
        return None
    return second if second >= 0 else None


@lru_cache(maxsize=4096)
def _read_second(text: str) -> int:
    since = datetime.fromisoformat(text) - _EPOCH
    return since.days * 86_400 + since.seconds
