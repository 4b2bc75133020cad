"""Wire: the ends of inferences as they travel on Kafka, in CloudEvents batches of one customer.

A record's value is a JSON array of CloudEvents (application/cloudevents-batch+json), its key the
customer's id, so that one customer's events stay in their order. docs/formats/stream.md describes
the three types for whoever writes or reads them.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from tollbook.errors import Invalid, TollbookError

from application.usage_intake import SPEC_VERSION, TYPE, usage_command
from domain.command import Command
from domain.commands import ChargeUsage, ParkUsage, Release, parse, wire_body

USAGE = TYPE
PARKED, RELEASED = "tollbook.parked.v1", "tollbook.released.v1"
EVENTS_MAX = 50
"""So many events a record holds at most."""
RECORD_BYTES_MAX = 1_000_000
REASON_MAX = 500

Outcome = dict[str, Any]
"""`{"event": CloudEvent}`, with `"park": reason` where it is not to be charged; or
`{"release": reason, "customer": whose}`."""


class Bad(NamedTuple):
    """What of a record cannot be read: all of it, or one of its events."""

    at: int | None
    reason: str
    value: bytes


class Read(NamedTuple):
    """What a record says, and what of it says nothing."""

    commands: list[Command]
    bad: list[Bad]


def event_of(id: str, outcome: Outcome, source: str) -> dict[str, Any]:
    """Return the CloudEvent that tells the end of an inference, whose id is its reservation's."""
    if "release" in outcome:
        data = {"customer": outcome["customer"], "reason": outcome["release"][:REASON_MAX]}
        envelope = {"specversion": SPEC_VERSION, "source": source, "id": id, "subject": id}
        return {**envelope, "type": RELEASED, "data": data}
    event: dict[str, Any] = outcome["event"]
    if "park" not in outcome:
        return event
    data = {**event["data"], "reason": outcome["park"][:REASON_MAX]}
    return {**event, "type": PARKED, "data": data}


def packed(events: Sequence[dict[str, Any]]) -> bytes:
    """Return the value of the record that carries these events."""
    return json.dumps(events, separators=(",", ":")).encode()


def read(value: bytes | None) -> Read:
    """Read a record; whatever cannot be read is told with its reason, and the rest stands."""
    if value is None or len(value) > RECORD_BYTES_MAX:
        size = 0 if value is None else len(value)
        return Read([], [Bad(None, f"{size} bytes, not 1 to {RECORD_BYTES_MAX}", value or b"")])
    try:
        events = _DECODER.decode(value.decode())
    except (ValueError, RecursionError) as error:
        return Read([], [Bad(None, f"no JSON: {error}"[:REASON_MAX], value)])
    if not isinstance(events, list) or not 0 < len(events) <= EVENTS_MAX:
        return Read([], [Bad(None, f"not an array of 1 to {EVENTS_MAX} CloudEvents", value)])
    found = Read([], [])
    for index, event in enumerate(events):
        try:
            found.commands.append(command_of(event))
        except (TollbookError, ValueError, RecursionError) as error:
            found.bad.append(_bad(index, event, error, value))
    return found


def _bad(index: int, event: Any, error: Exception, value: bytes) -> Bad:
    """Tell what is wrong with an event; one that cannot be written alone comes with its record."""
    try:
        alone = packed([event])
    except (ValueError, RecursionError):
        alone = value
    return Bad(index, str(error)[:REASON_MAX], alone)


def command_of(event: Any) -> Command:
    """Return the command that tells the ledger an event; raises Invalid naming what is wrong."""
    if not isinstance(event, dict):
        raise Invalid.because("event", event, "a CloudEvent: a JSON object")
    kind, data = event.get("type"), event.get("data")
    if kind == RELEASED:
        return _release(event, data)
    if kind != PARKED:
        return usage_command(event)
    if not isinstance(data, dict):
        raise Invalid.because("data", data, "a JSON object")
    rest = {name: value for name, value in data.items() if name != "reason"}
    charge = usage_command({**event, "type": USAGE, "data": rest})
    return parked(charge, data.get("reason"))


def parked(charge: ChargeUsage, reason: Any, id: str | None = None) -> ParkUsage:
    """Return the command that keeps a record uncharged, instead of the one that charges it."""
    if not isinstance(reason, str) or not reason:
        raise Invalid.because("data.reason", reason, "a text that is not empty")
    body = {**wire_body(charge), "id": id or charge.id, "reason": reason[:REASON_MAX]}
    command = parse(ParkUsage.KIND, body)
    assert isinstance(command, ParkUsage)
    return command


def _release(event: dict[str, Any], data: Any) -> Release:
    if not isinstance(data, dict):
        raise Invalid.because("data", data, "a JSON object")
    body = {
        "id": event.get("id"),
        "reservation": event.get("subject"),
        "reason": data.get("reason"),
    }
    command = parse(Release.KIND, body)
    assert isinstance(command, Release)
    return command


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refused(text: str) -> Any:
    raise ValueError(f"{text[:40]} is no whole number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_refused, parse_constant=_refused
)
