"""The envelope of an event: who, what, where in the ledger, and when."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from tollbook.errors import Invalid
from tollbook.times import parse_instant


class Envelope(NamedTuple):
    """One stored event; times in microseconds since 1970, the payload as stored."""

    position: int
    name: str
    version: int
    stream: str
    stream_version: int
    customer: str | None
    customer_sequence: int | None
    command: str
    causation: str | None
    correlation: str | None
    actor: str
    occurred_at: int
    recorded_at: int
    data: str | dict[str, Any]


Event = Envelope | tuple[Any, ...] | Mapping[str, Any]
"""An event as it may be given: an envelope, a row in its order, or the object that HTTP answers."""


def envelope_of(event: Event) -> Envelope:
    """Read an event in any of its forms."""
    if isinstance(event, Envelope):
        return event
    if isinstance(event, tuple):
        return Envelope(*event)
    try:
        values: dict[str, Any] = {field: event.get(field) for field in Envelope._fields}
    except AttributeError:
        raise Invalid.because("event", event, "an envelope, a row or an object") from None
    for field in ("occurred_at", "recorded_at"):
        if isinstance(values[field], str):
            values[field] = parse_instant(values[field], field)
    return Envelope(**values)


def _refuse_number(text: str) -> NoReturn:
    raise Invalid.because("number", text, "a whole number or a decimal string")


_DECODER = json.JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number)


def payload(data: str | dict[str, Any]) -> dict[str, Any]:
    """Read the payload of an event, without ever making a float."""
    value = _DECODER.decode(data) if isinstance(data, str) else data
    if type(value) is not dict:
        raise Invalid.because("data", value, "a JSON object")
    return value
