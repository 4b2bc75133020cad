"""Wire: the ends of inferences as they travel on Kafka, in CloudEvents batches of one customer.

A record's value is a JSON array of CloudEvents (application/cloudevents-batch+json), its key the
customer's id, so that one customer's events stay in their order. docs/formats/stream.md describes
the types for whoever writes or reads them; those of runs through pipelines are read in
streams/runs.py.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from tollbook.errors import Invalid, TollbookError

from application.ports import Key
from application.usage_intake import SPEC_VERSION, TYPE, usage_command
from domain.command import Command
from domain.commands import ChargeUsage, Release, parse
from domain.stages import WHOLE_WEIGHT
from streams import runs
from streams.runs import Told, parked

USAGE = TYPE
PARKED, RELEASED = "tollbook.parked.v1", "tollbook.released.v1"
EVENTS_MAX = 50
"""So many events a record holds at most."""
WEIGHT_MAX = 1_000
"""As many commands the events of a record stand for at most: a run's for all of its stages'."""
RECORD_BYTES_MAX = 1_000_000
REASON_MAX = runs.REASON_MAX

Outcome = dict[str, Any]
"""`{"event": CloudEvent}`, with `"park": reason` where it is not to be charged; or
`{"release": reason, "customer": whose}`, with `"pipeline"` for a run through one."""

_PARKED_AS = {USAGE: PARKED, runs.RUN: runs.RUN_PARKED}


class Bad(NamedTuple):
    """What of a record cannot be read: all of it, or one of its events."""

    at: int | None
    reason: str
    value: bytes


class Read(NamedTuple):
    """What a record says, and what of it says nothing."""

    told: list[Told]
    bad: list[Bad]

    @property
    def commands(self) -> list[Command]:
        """What the ledger is asked to do."""
        return [each.command for each in self.told]

    @property
    def weight(self) -> int:
        """As how many ordinary commands they count."""
        return sum(each.command.WEIGHT for each in self.told)


def event_of(id: str, outcome: Outcome, source: str) -> dict[str, Any]:
    """Return the CloudEvent that tells the end of an inference, whose id is its reservation's."""
    if "release" in outcome:
        data = {"customer": outcome["customer"], "reason": outcome["release"][:REASON_MAX]}
        kind = RELEASED
        if "pipeline" in outcome:
            kind, data["pipeline"] = runs.RUN_RELEASED, outcome["pipeline"]
        envelope = {"specversion": SPEC_VERSION, "source": source, "id": id, "subject": id}
        return {**envelope, "type": kind, "data": data}
    event: dict[str, Any] = outcome["event"]
    if "park" not in outcome:
        return event
    data = {**event["data"], "reason": outcome["park"][:REASON_MAX]}
    return {**event, "type": _PARKED_AS[event["type"]], "data": data}


def weight_of(event: dict[str, Any]) -> int:
    """Return as how many commands an event counts."""
    return WHOLE_WEIGHT if event.get("type") in runs.TYPES else 1


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
    weight = sum(weight_of(event) for event in events if isinstance(event, dict))
    if weight > WEIGHT_MAX:
        most = WEIGHT_MAX // WHOLE_WEIGHT
        return Read([], [Bad(None, f"more than {most} runs through pipelines", value)])
    found = Read([], [])
    for index, event in enumerate(events):
        try:
            found.told.extend(told_by(event))
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


def told_by(event: Any) -> list[Told]:
    """Return what an event tells the ledger; raises Invalid naming what is wrong."""
    if isinstance(event, dict) and event.get("type") in runs.TYPES:
        return runs.told_by(event)
    command = _command_of(event)
    return [Told(command, (command,) if isinstance(command, ChargeUsage) else ())]


def keys_of(event: dict[str, Any], customer: str) -> frozenset[Key]:
    """Return the keys of an event's commands: the ledger has it when it has taken any of them."""
    first = told_by(event)[0]
    instead = [] if first.unless is None else [first.unless[0]]
    return frozenset(each.key(customer) for each in (first.command, *first.records[:1], *instead))


def _command_of(event: Any) -> Command:
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
