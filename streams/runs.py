"""Runs: how a whole run through a pipeline ends, as one event on Kafka, and what that tells.

One event has all stages, so that they are charged in one command or not at all. A ledger that does
not take that command keeps the record of every stage, parked, in the same transaction.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tollbook.errors import Invalid, TollbookError

from application.jobs import Done, Item, Ways
from application.usage_intake import TYPE, usage_command
from domain.command import Command
from domain.commands import ChargeUsage, ParkUsage, parse, wire_body
from domain.stages import STAGES_MAX, stage_id

RUN = "tollbook.pipeline.v1"
RUN_PARKED, RUN_RELEASED = "tollbook.pipeline.parked.v1", "tollbook.pipeline.released.v1"
TYPES = (RUN, RUN_PARKED, RUN_RELEASED)
REASON_MAX = 500

_SHARED = ("customer", "occurred_at", "request_hash", "response_hash")
"""What the records of all stages have in common."""
_DATA = frozenset({*_SHARED, "pipeline", "stages"})
_STAGE = frozenset({"model", "stage", "usage"})
_ID_BYTES = 400


class Told(NamedTuple):
    """What an event tells the ledger, or one stage of a run that is parked."""

    command: Command
    records: tuple[ChargeUsage, ...] = ()
    """What is kept uncharged where the ledger does not do that."""
    unless: Done | None = None
    """What makes the command needless where the ledger has done it."""

    def item(self, actor: str) -> Item:
        """Return what the ledger decides: the command, or what is kept in its place."""
        return Item(self.command, actor, otherwise=self._otherwise(), unless=self.unless)

    def _otherwise(self) -> Callable[[TollbookError], Sequence[Ways]] | None:
        """Return how the records are kept that the ledger would not charge: parked."""
        if not self.records:
            return None
        return lambda error: [_ways(each, f"{error.code}: {error}") for each in self.records]


def _ways(record: ChargeUsage, reason: str) -> Ways:
    """Return how a record is kept; where another has its id already, under one of its content.

    What has that id too is the same record, parked for another reason: it is not kept again.
    """
    body = {name: value for name, value in wire_body(record).items() if name != "reason"}
    content = json.dumps([{**body, "id": record.id}], separators=(",", ":"))
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    head = record.id.encode()[:_ID_BYTES].decode(errors="ignore")
    name = f"{head}~{digest}"
    aside = (parked(record, reason, name), parse(ChargeUsage.KIND, {**body, "id": name}))
    return aside if isinstance(record, ParkUsage) else (parked(record, reason), *aside)


def parked(charge: ChargeUsage, reason: Any, id: str | None = None) -> ParkUsage:
    """Return the command that keeps a record uncharged, instead of the one that charges it."""
    if not isinstance(reason, str) or not reason:
        raise Invalid.because("data.reason", reason, "a text that is not empty")
    body = {**wire_body(charge), "id": id or charge.id, "reason": reason[:REASON_MAX]}
    command = parse(ParkUsage.KIND, body)
    assert isinstance(command, ParkUsage)
    return command


def told_by(event: Mapping[str, Any]) -> list[Told]:
    """Return what an event about a run tells the ledger; raises Invalid naming what is wrong."""
    data, kind = event.get("data"), event["type"]
    if not isinstance(data, dict):
        raise Invalid.because("data", data, "a JSON object")
    whole = {"id": event.get("id"), "reserved": event.get("subject")}
    whole["pipeline"] = data.get("pipeline")
    if kind == RUN_RELEASED:
        return [Told(parse("release_pipeline", {**whole, "reason": data.get("reason")}))]
    known = _DATA | {"reason"} if kind == RUN_PARKED else _DATA
    unknown = sorted(str(name) for name in data.keys() - known)
    if unknown:
        raise Invalid.because(f"data.{unknown[0]}", data[unknown[0]], "absent: it is not known")
    records = _records(event, data)
    # The form of the whole counts also where it is not to be charged.
    hashes = {name: data[name] for name in _SHARED[2:] if data.get(name) is not None}
    stages = [{"stage": each["stage"], "usage": each["usage"], **hashes} for each in data["stages"]]
    at = {"occurred_at": data.get("occurred_at"), "stages": stages}
    settle = parse("settle_pipeline", {**whole, **at})
    if kind == RUN:
        return [Told(settle, records)]
    kept = [parked(each, data.get("reason")) for each in records]
    return [Told(each, (each,), (settle, each.customer)) for each in kept]


def _records(event: Mapping[str, Any], data: dict[str, Any]) -> tuple[ChargeUsage, ...]:
    """Return the usage record of each stage, about its own reservation."""
    stages = data.get("stages")
    if not isinstance(stages, list) or not 0 < len(stages) <= STAGES_MAX:
        raise Invalid.because("data.stages", stages, f"1 to {STAGES_MAX} stages")
    if any(not isinstance(each, dict) or each.keys() != _STAGE for each in stages):
        raise Invalid.because("data.stages", None, f"objects of {', '.join(sorted(_STAGE))}")
    shared = {name: data.get(name) for name in _SHARED}
    return tuple(
        usage_command(
            {
                **event,
                "type": TYPE,
                "id": stage_id(str(event.get("id")), str(each["stage"])),
                "subject": stage_id(str(event.get("subject")), str(each["stage"])),
                "data": {**shared, "model": each["model"], "usage": each["usage"]},
            }
        )
        for each in stages
    )
