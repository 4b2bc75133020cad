"""Usage intake: one CloudEvent (JSON, structured mode) in, what became of its record out (A15).

docs/ledger.md has the rules. An event of another form is refused by naming the attribute, and its
key stays free; whatever the rules of money say to a good one is kept for ever.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from tollbook.errors import Invalid
from tollbook.times import parse_instant

from application.answers import Answer, result_of
from domain.command import Command
from domain.commands import ChargeUsage, parse
from domain.events import ReservationSettled, UsageCharged
from domain.usage_events import UsageParked, UsageReleased

TYPE = "tollbook.usage.v1"
"""The type of event that is understood."""

SPEC_VERSION = "1.0"

_REQUIRED = ("specversion", "type", "source", "id", "subject", "data")
_REQUIRED_NAMES = frozenset(_REQUIRED)
_TEXTS = frozenset({"datacontenttype", "dataschema", "time"})
_DATA = frozenset(
    {"customer", "model", "usage", "occurred_at", "license", "request_hash", "response_hash"}
    | {"final"}
)
_ATTRIBUTE_NAME = re.compile(r"[a-z0-9]{1,64}")
_USUAL = frozenset({*_REQUIRED, "time"})
"""What an event mostly has, and no more."""

_CONTENT_TYPE = re.compile(r'application/json(?:\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)


def usage_command(event: Any) -> ChargeUsage:
    """Read a CloudEvent as the command that charges its record.

    The subject is a reservation's id, or the customer's own id for direct usage. Raises Invalid
    naming attribute, value and rule.
    """
    if not isinstance(event, dict):
        raise Invalid.because("event", event, "a CloudEvent: a JSON object")
    _check_attributes(event)
    data = event["data"]
    if not isinstance(data, dict):
        raise Invalid.because("data", data, "a JSON object")
    if not data.keys() <= _DATA:
        unknown = min(str(name) for name in data.keys() - _DATA)
        raise Invalid.because(f"data.{unknown}", data[unknown], "absent: it is not known")
    subject = event["subject"]
    body = {name: value for name, value in data.items() if value is not None}
    body["id"], body["source"] = event["id"], event["source"]
    if subject != data.get("customer"):
        body["reservation"] = subject
    elif data.get("final") is False:  # it could be neither charged nor parked
        raise Invalid.because("data.final", False, "absent without a reservation")
    return _parsed(body)


def _parsed(body: Mapping[str, Any]) -> ChargeUsage:
    """Parse the record, and name its fields as the event has them."""
    made = _made(body)
    if made is not None:
        return made
    try:
        command = parse(ChargeUsage.KIND, body)
    except Invalid as error:
        field = str(error.facts.get("field", "body"))
        first = field.partition(".")[0]
        where = (
            f"data.{field}" if first in _DATA else "subject" if first == "reservation" else field
        )
        raise Invalid(error.message, **{**error.facts, "field": where}) from None
    assert isinstance(command, ChargeUsage)
    return command


def charge_of(body: Mapping[str, Any]) -> Command:
    """Read the body of a usage command that this program wrote; raises Invalid as `parse` does."""
    return _made(body) or parse(ChargeUsage.KIND, body)


def _made(body: Mapping[str, Any]) -> ChargeUsage | None:
    """Make the command without writing its body as JSON first; None where that may not be done.

    In code a whole number stands for an instant, on the wire nothing but text does. What is
    refused here is parsed, to be told why.
    """
    if type(body.get("occurred_at")) is not str:
        return None
    try:
        return ChargeUsage(**body)
    except (ValidationError, TypeError):
        return None


def _check_attributes(event: Mapping[str, Any]) -> None:
    """Check the envelope: what there must be, what there may be, and the form of extensions."""
    if event.keys() == _USUAL and _is_plain(event):
        parse_instant(event["time"], "time")
        return
    for name in _REQUIRED:
        if name not in event:
            raise Invalid.because(name, None, "present")
    for name, known in (("specversion", SPEC_VERSION), ("type", TYPE)):
        if event[name] != known:
            raise Invalid.because(name, event[name], known)
    for name in ("source", "id", "subject"):
        if not isinstance(event[name], str) or not event[name]:
            raise Invalid.because(name, event[name], "a text that is not empty")
    for name, value in event.items():
        if name not in _REQUIRED_NAMES:
            _check_optional(name, value)
    if event.get("time") is not None:
        parse_instant(event["time"], "time")
    content_type = event.get("datacontenttype")
    if content_type is not None and not _CONTENT_TYPE.fullmatch(content_type):
        raise Invalid.because("datacontenttype", content_type, "application/json")


def _is_plain(event: Mapping[str, Any]) -> bool:
    """Say whether nothing is wrong with an envelope that has the usual attributes, but the time."""
    for name in ("source", "id", "subject"):
        if type(event[name]) is not str or not event[name]:
            return False
    known = event["specversion"] == SPEC_VERSION and event["type"] == TYPE
    return known and type(event["time"]) is str and event["time"] != ""


def _check_optional(name: object, value: object) -> None:
    """Check the form of an attribute that may be absent; null is the same as absent."""
    if not isinstance(name, str) or not _ATTRIBUTE_NAME.fullmatch(name):
        raise Invalid.because(str(name), value, "an attribute: lower-case letters and digits")
    if value is None:
        return
    if name in _TEXTS and not (isinstance(value, str) and value):
        raise Invalid.because(name, value, "a text that is not empty")
    if not isinstance(value, str | bool | int):
        raise Invalid.because(name, value, "a text, a whole number, true or false")


def usage_result(answer: Answer, source: str | None = None) -> dict[str, Any]:
    """Return what became of a record: accepted, duplicate, parked or refused.

    `source` is for records that were refused, of which the ledger knows nothing.
    """
    recorded = answer.recorded
    event = None if recorded is None else recorded.event
    if recorded is None or not isinstance(
        event, ReservationSettled | UsageCharged | UsageParked | UsageReleased
    ):
        problem = answer.problem()
        named = {} if source is None else {"source": source}
        shown = None if problem is None else problem.problem()
        return {"id": answer.id, **named, "status": "refused", "problem": shown}
    status = "duplicate" if answer.repeated else "accepted"
    if isinstance(event, UsageParked):
        status = "parked"
    return {
        "id": answer.id,
        "source": event.source,
        "status": status,
        "position": recorded.position,
        **result_of(event, answer.currency),
    }
