"""What commands about pipelines answer, derived from the stored event."""

from typing import Any

from tollbook.times import format_instant

from domain.event import Event
from domain.outcomes import money
from domain.pipeline_events import (
    PipelinePublished,
    PipelineReleased,
    PipelineReserved,
    PipelineSettled,
)
from domain.stages import stage_id

_SUMMED = ("charged", "from_balance", "receivable", "released")
"""What the lines of a settlement add up to."""


def pipeline_result_of(event: Event, currency: str) -> dict[str, Any]:
    """Return what a done command about a pipeline answers; nothing for any other event."""
    match event:
        case PipelinePublished():
            return {"pipeline": event.pipeline, "version": event.version}
        case PipelineReserved():
            return _reserved(event, currency)
        case PipelineSettled():
            return _settled(event, currency)
        case PipelineReleased():
            return _released(event, currency)
    return {}


def _reserved(event: PipelineReserved, currency: str) -> dict[str, Any]:
    stages = [
        {**_whose(event.reserved, stage), "held": money(amount, currency)}
        for stage, amount in event.held
    ]
    return {
        "pipeline": event.pipeline,
        "version": event.version,
        "held": money(sum(amount for _, amount in event.held), currency),
        "expires_at": format_instant(event.expires_at),
        "stages": stages,
    }


def _settled(event: PipelineSettled, currency: str) -> dict[str, Any]:
    stages = [
        {
            **_whose(event.reserved, line.stage),
            **{name: money(getattr(line, name), currency) for name in _SUMMED},
        }
        for line in event.lines
    ]
    sums = {name: sum(getattr(line, name) for line in event.lines) for name in _SUMMED}
    return {
        "pipeline": event.pipeline,
        "reserved": event.reserved,
        **{name: money(amount, currency) for name, amount in sums.items()},
        "stages": stages,
    }


def _released(event: PipelineReleased, currency: str) -> dict[str, Any]:
    stages = [
        {**_whose(event.reserved, stage), "released": money(amount, currency)}
        for stage, amount in event.released
    ]
    return {
        "pipeline": event.pipeline,
        "reserved": event.reserved,
        "released": money(sum(amount for _, amount in event.released), currency),
        "stages": stages,
    }


def _whose(whole: str, stage: str) -> dict[str, str]:
    return {"stage": stage, "reservation": stage_id(whole, stage)}
