"""Cap: a bound on usage in a window, whatever it costs; how it is written, and its window (A18).

A calendar window is an hour, day, week (from Monday) or month in the customer's time zone. A
rolling one is counted in steps of a sixtieth of its length, at least a second; the oldest step
counts whole, so no stretch of that length ever holds more than what is counted.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from domain.units import UNITS, Quantities, quantities_from_wire, quantities_to_wire
from domain.values import ID_PATTERN, NAME_PATTERN, SECOND

CAPS_MAX = 20
MODELS_MAX = 100
CALENDARS = ("hour", "day", "week", "month")
ROLLING_MIN = 60
ROLLING_MAX = 2_678_400
"""A rolling window lasts from a minute to 31 days, in seconds."""
STEPS = 60

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = 3600 * SECOND
_MICROSECOND = timedelta(microseconds=1)
_ID = re.compile(ID_PATTERN.removesuffix("$") + r"\Z")
_NAME = re.compile(NAME_PATTERN.removesuffix("$") + r"\Z")


class Cap(NamedTuple):
    """At most `limit` of a unit per window."""

    id: str
    unit: str
    limit: int
    """In base units."""
    models: tuple[str, ...] | None
    """The models that it concerns; None means all."""
    calendar: str | None
    rolling_seconds: int | None
    """Exactly one of the two is given."""

    def concerns(self, model: str) -> bool:
        """Say whether usage of a model counts."""
        return self.models is None or model in self.models

    def asked(self, estimate: Quantities) -> int:
        """Return what an estimate asks for; a reservation is a request unless it says more."""
        return estimate.get(self.unit, 1 if self.unit == "requests" else 0)

    def window(self, instant: int, time_zone: str) -> tuple[int, int]:
        """Return the start and the end of the calendar window that holds an instant.

        A window that began before 1970 counts as begun with it: no earlier time can be written.
        """
        assert self.calendar is not None
        start, end = calendar_window(self.calendar, instant, time_zone)
        return max(0, start), end

    def step(self) -> int:
        """Return the length of a rolling window's steps, in microseconds."""
        assert self.rolling_seconds is not None
        return -(-self.rolling_seconds // STEPS) * SECOND

    def first_step(self, now: int) -> int:
        """Return the start of the oldest step that a rolling window still touches."""
        assert self.rolling_seconds is not None
        begun = now - self.rolling_seconds * SECOND
        return begun - begun % self.step()


def calendar_window(calendar: str, instant: int, time_zone: str) -> tuple[int, int]:
    """Return the first instant of a calendar window, and that of the next one."""
    if calendar == "hour":
        offset = _local(instant, time_zone).utcoffset() or timedelta()
        start = instant - (instant + offset // _MICROSECOND) % _HOUR
        return start, start + _HOUR
    boundary, before, after = _windows_of_hour(calendar, instant // _HOUR, time_zone)
    return before if instant < boundary else after


def _local(instant: int, time_zone: str) -> datetime:
    return (_EPOCH + timedelta(microseconds=instant)).astimezone(ZoneInfo(time_zone))


@lru_cache(maxsize=4096)
def _windows_of_hour(
    calendar: str, hour: int, time_zone: str
) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """Return (start of the later window, earlier window, later window) for one hour in UTC."""
    earlier = _window_around(calendar, _local(hour * _HOUR, time_zone))
    later = _window_around(calendar, _local((hour + 1) * _HOUR - 1, time_zone))
    return later[0], earlier, later


def _window_around(calendar: str, local: datetime) -> tuple[int, int]:
    first = datetime(local.year, local.month, local.day, tzinfo=local.tzinfo)
    if calendar == "month":
        first = first.replace(day=1)
        following = (first + timedelta(days=31)).replace(day=1)
    elif calendar == "week":
        first -= timedelta(days=first.weekday())
        following = first + timedelta(days=7)
    else:
        following = first + timedelta(days=1)
    return (first - _EPOCH) // _MICROSECOND, (following - _EPOCH) // _MICROSECOND


def caps_from_wire(value: object) -> tuple[Cap, ...]:
    """Read caps as they travel; anything else than a list of caps raises ValueError."""
    if type(value) is tuple and all(type(each) is Cap for each in value):
        return value
    if type(value) is not list or len(value) > CAPS_MAX:
        raise ValueError(f"must be a list of at most {CAPS_MAX} caps")
    caps = tuple(cap_from_wire(each) for each in value)
    if len({cap.id for cap in caps}) < len(caps):
        raise ValueError("must name each id once")
    return caps


def cap_from_wire(value: object) -> Cap:
    """Read one cap as it travels."""
    if type(value) is not dict:
        raise ValueError("a cap must be an object")
    unknown = value.keys() - set(Cap._fields)
    if unknown:
        raise ValueError(f"a cap has no field {min(map(str, unknown))[:40]!r}")
    name, unit = value.get("id"), value.get("unit")
    if type(name) is not str or not _ID.match(name):
        raise ValueError("a cap's id must be 1 to 128 of A-Za-z0-9._:-")
    if type(unit) is not str or unit not in UNITS:
        raise ValueError(f"a cap's unit must be one of {', '.join(sorted(UNITS))}")
    limit = quantities_from_wire({unit: value.get("limit")})[unit]
    return Cap(name, unit, limit, _models(value.get("models")), *_length(value))


def _models(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if type(value) is not list or not 0 < len(value) <= MODELS_MAX:
        raise ValueError(f"a cap's models must be a list of 1 to {MODELS_MAX} names")
    if not all(type(name) is str and _NAME.match(name) for name in value):
        raise ValueError("a cap's models must be names of models")
    return tuple(value)


def _length(value: dict[str, Any]) -> tuple[str | None, int | None]:
    calendar, seconds = value.get("calendar"), value.get("rolling_seconds")
    if (calendar is None) == (seconds is None):
        raise ValueError("a cap must have either calendar or rolling_seconds")
    if calendar is not None and calendar not in CALENDARS:
        raise ValueError(f"a cap's calendar must be one of {', '.join(CALENDARS)}")
    if seconds is not None and not (type(seconds) is int and ROLLING_MIN <= seconds <= ROLLING_MAX):
        raise ValueError(f"rolling_seconds must lie between {ROLLING_MIN} and {ROLLING_MAX}")
    return calendar, seconds


def cap_to_wire(cap: Cap) -> dict[str, Any]:
    """Write a cap as it travels, keys in order, absent ones left out."""
    fields = {
        "calendar": cap.calendar,
        "id": cap.id,
        "limit": quantities_to_wire({cap.unit: cap.limit})[cap.unit],
        "models": None if cap.models is None else list(cap.models),
        "rolling_seconds": cap.rolling_seconds,
        "unit": cap.unit,
    }
    return {name: value for name, value in fields.items() if value is not None}


def caps_to_wire(caps: tuple[Cap, ...]) -> list[dict[str, Any]]:
    """Write caps as they travel, in the order in which they were given."""
    return [cap_to_wire(cap) for cap in caps]


_CAP_SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": ID_PATTERN},
        "unit": {"enum": sorted(UNITS)},
        "limit": {
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$",
            "description": "Whole; a decimal string for gpu_seconds and compute_units.",
        },
        "models": {
            "type": "array",
            "items": {"type": "string", "pattern": NAME_PATTERN},
            "minItems": 1,
            "maxItems": MODELS_MAX,
        },
        "calendar": {"enum": list(CALENDARS)},
        "rolling_seconds": {"type": "integer", "minimum": ROLLING_MIN, "maximum": ROLLING_MAX},
    },
    "required": ["id", "unit", "limit"],
    "oneOf": [{"required": ["calendar"]}, {"required": ["rolling_seconds"]}],
    "additionalProperties": False,
}

Caps = Annotated[
    tuple[Cap, ...],
    PlainValidator(caps_from_wire),
    PlainSerializer(caps_to_wire, return_type=list[dict[str, Any]]),
    WithJsonSchema({"type": "array", "items": _CAP_SCHEMA, "maxItems": CAPS_MAX}),
]
"""A customer's caps as a field of events and commands."""
