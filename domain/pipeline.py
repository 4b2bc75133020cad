"""Pipeline: stages that are reserved all or none, and settled or given back at once (B7).

Money has no rule of its own here. Each stage is an ordinary reservation, with its hold, its licence
and its charges; a command on the whole is the commands of its stages in their declared order, and
one fact that binds them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tollbook.errors import Invalid, NotFound
from tollbook.times import format_instant

from domain.command import Command
from domain.commands import parse
from domain.event import Event
from domain.events import ReservationHeld, ReservationReleased, ReservationSettled
from domain.facts import facts_to_wire
from domain.outcomes import Decision, Refusal
from domain.pipeline_commands import (
    PublishPipeline,
    ReleasePipeline,
    ReservePipeline,
    SettlePipeline,
)
from domain.pipeline_events import (
    OF_STAGES,
    PipelinePublished,
    PipelineReleased,
    PipelineReserved,
    PipelineSettled,
)
from domain.reservation import Reservation
from domain.reserving import closed
from domain.settling import TOLERANCE
from domain.stages import CostLine, Stage, StageAsked, StageUsed, stage_id
from domain.units import quantities_to_wire


class Pipeline(NamedTuple):
    """A pipeline as it was published last."""

    name: str
    stages: tuple[Stage, ...]
    version: int
    """0 for a pipeline that nobody has published."""


class StagesHeld(NamedTuple):
    """What binds the reservations of one run through a pipeline."""

    id: str
    customer: str
    pipeline: str
    pipeline_version: int
    stages: tuple[str, ...]
    """Their names, in the order in which the pipeline declares them."""
    version: int
    """The version of its stream."""


Part = tuple[str, Command]
"""A stage's name, and the ordinary command on it."""


def unpublished(name: str) -> Pipeline:
    """Return what is known of a pipeline before it is published: nothing."""
    return Pipeline(name, (), 0)


def decide_publish(pipeline: Pipeline, command: PublishPipeline) -> Decision:
    """Accept the next version of a pipeline."""
    version = pipeline.version + 1
    return (PipelinePublished(pipeline=pipeline.name, stages=command.stages, version=version),)


def evolve(pipeline: Pipeline, event: PipelinePublished) -> Pipeline:
    """Take a new version into account; what was reserved under an older one is not concerned."""
    return Pipeline(pipeline.name, event.stages, event.version)


def stages_after(held: StagesHeld | None, event: Event) -> StagesHeld | None:
    """Apply one event of the stream that binds the stages."""
    if isinstance(event, PipelineReserved):
        names = tuple(name for name, _ in event.held)
        return StagesHeld(event.reserved, event.customer, event.pipeline, event.version, names, 1)
    if held is None or not isinstance(event, OF_STAGES):
        return held
    return held._replace(version=held.version + 1)


def reservations(pipeline: Pipeline, command: ReservePipeline) -> list[Part]:
    """Return the command that reserves each stage; raises NotFound and Invalid."""
    if not pipeline.version:
        detail = f"there is no pipeline {command.pipeline}"
        raise NotFound(detail, field="pipeline", value=command.pipeline)
    asked = {each.stage: each for each in command.stages}
    _check_known(asked, [stage.name for stage in pipeline.stages], pipeline.name)
    return [
        (stage.name, _reserve(stage, asked.get(stage.name), command)) for stage in pipeline.stages
    ]


def _check_known(named: Any, known: Sequence[str], pipeline: str) -> None:
    unknown = next((name for name in named if name not in known), None)
    if unknown is not None:
        raise Invalid.because("stages", unknown, f"a stage of {pipeline}: {', '.join(known)}")


def _reserve(stage: Stage, asked: StageAsked | None, command: ReservePipeline) -> Command:
    said = asked or StageAsked(stage=stage.name)
    estimate = stage.estimate if said.estimate is None else said.estimate
    if estimate is None:
        rule = f"given for the stage {stage.name}: the pipeline declares no estimate for it"
        raise Invalid.because("stages", None, rule)
    if stage.licensed and said.license is None:
        rule = f"given with a licence for the stage {stage.name}, which the pipeline asks for"
        raise Invalid.because("stages", None, rule)
    return _one(
        "reserve",
        id=stage_id(command.id, stage.name),
        customer=command.customer,
        model=stage.model,
        estimate=quantities_to_wire(estimate),
        ttl_seconds=command.ttl_seconds,
        license=said.license,
        license_key=said.license_key,
        facts=None if said.facts is None else facts_to_wire(said.facts),
        request_hash=said.request_hash,
    )


def _one(kind: str, **fields: Any) -> Command:
    """Return the ordinary command on a stage, read from its fields as they travel."""
    return parse(kind, {name: value for name, value in fields.items() if value is not None})


Find = Callable[[str], Reservation | None]
"""Finds the reservation of a stage by its id."""


def settlements(held: StagesHeld, command: SettlePipeline, find: Find) -> list[Part]:
    """Return the command on each stage: settled if it was used, given back if it is still open.

    Raises Invalid for a stage that is not there.
    """
    used = {each.stage: each for each in command.stages}
    _check_known(used, held.stages, held.pipeline)
    parts: list[Part] = []
    for stage in held.stages:
        name, said = stage_id(held.id, stage), used.get(stage)
        if said is not None:
            parts.append((stage, _settle(name, said, command)))
        elif _is_open(find(name)):
            release = _one("release", id=stage_id(command.id, stage), reservation=name)
            parts.append((stage, release))
    return parts


def _settle(reservation: str, said: StageUsed, command: SettlePipeline) -> Command:
    at = command.occurred_at
    return _one(
        "settle",
        id=stage_id(command.id, said.stage),
        reservation=reservation,
        usage=quantities_to_wire(said.usage),
        occurred_at=None if at is None else format_instant(at),
        request_hash=said.request_hash,
        response_hash=said.response_hash,
    )


def releases(held: StagesHeld, command: ReleasePipeline, find: Find) -> list[Part] | Refusal:
    """Return the command that gives back each stage without an outcome; refused if all have one."""
    parts: list[Part] = []
    refusal: Refusal | None = None
    for stage in held.stages:
        found = find(stage_id(held.id, stage))
        if _is_open(found):
            name, part = stage_id(held.id, stage), stage_id(command.id, stage)
            release = _one("release", id=part, reservation=name, reason=command.reason)
            parts.append((stage, release))
        elif found is not None:
            why = closed(found)
            refusal = refusal or (None if why is None else of_stage(stage, why))
    return refusal if refusal is not None and not parts else parts


def _is_open(reservation: Reservation | None) -> bool:
    return reservation is not None and reservation.status == "open"


def of_stage(stage: str, refusal: Refusal) -> Refusal:
    """Return the refusal of a whole, which is that of one of its stages."""
    facts = {**refusal.facts, "stage": stage}
    return Refusal(refusal.code, f"stage {stage}: {refusal.detail}", facts)


def out_of_range(stage: str, reservation: Reservation, occurred_at: int) -> Refusal:
    """Return the refusal of a run that says that it occurred when this stage cannot have been used.

    It does not name the moment of the decision: whoever is told of it twice reads the same.
    """
    earliest = format_instant(max(0, reservation.opened_at - TOLERANCE))
    facts = {"earliest": earliest, "occurred_at": format_instant(occurred_at)}
    rule = f"from {earliest} to 5 s after its receipt"
    detail = f"occurred_at is {facts['occurred_at']}: must be {rule}"
    return of_stage(stage, Refusal("occurred_at_out_of_range", detail, facts))


def bound(command: Command, version: int, decided: Sequence[tuple[str, Event]]) -> Event:
    """Return the fact that binds what was decided for each stage."""
    match command:
        case ReservePipeline():
            return _reserved(command, version, decided)
        case SettlePipeline():
            return PipelineSettled(
                customer=decided[0][1].customer,
                lines=tuple(_line(stage, event) for stage, event in decided),
                occurred_at=command.occurred_at,
                pipeline=command.pipeline,
                reserved=command.reserved,
                stages=command.stages,
            )
    assert isinstance(command, ReleasePipeline)
    return PipelineReleased(
        customer=decided[0][1].customer,
        pipeline=command.pipeline,
        reason=command.reason,
        released=tuple((stage, _line(stage, event).released) for stage, event in decided),
        reserved=command.reserved,
    )


def _reserved(
    command: ReservePipeline, version: int, decided: Sequence[tuple[str, Event]]
) -> PipelineReserved:
    holds = [(stage, event) for stage, event in decided if isinstance(event, ReservationHeld)]
    return PipelineReserved(
        customer=command.customer,
        expires_at=min(event.expires_at for _, event in holds),
        held=tuple((stage, event.held) for stage, event in holds),
        pipeline=command.pipeline,
        reserved=command.id,
        stages=command.stages,
        ttl_seconds=command.ttl_seconds,
        version=version,
    )


def _line(stage: str, event: Event) -> CostLine:
    if isinstance(event, ReservationSettled):
        return CostLine(
            charged=event.charged,
            from_balance=event.from_balance,
            receivable=event.receivable,
            released=event.released,
            stage=stage,
        )
    assert isinstance(event, ReservationReleased)
    return CostLine(charged=0, from_balance=0, receivable=0, released=event.released, stage=stage)


def stage_to_wire(stage: Stage) -> dict[str, Any]:
    """Write a stage as it travels: keys in order, an absent estimate left out."""
    estimate = {} if stage.estimate is None else {"estimate": quantities_to_wire(stage.estimate)}
    return {**estimate, "licensed": stage.licensed, "model": stage.model, "name": stage.name}


def pipeline_to_wire(pipeline: Pipeline) -> dict[str, Any]:
    """Write a pipeline as docs/formats/state.md does."""
    stages = [stage_to_wire(stage) for stage in pipeline.stages]
    return {"stages": stages, "version": pipeline.version}


def stages_to_wire(held: StagesHeld) -> dict[str, Any]:
    """Write what binds the stages of a run as docs/formats/state.md does."""
    return {
        "customer": held.customer,
        "pipeline": held.pipeline,
        "pipeline_version": held.pipeline_version,
        "stages": list(held.stages),
        "version": held.version,
    }
