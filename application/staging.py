"""Staging: a command on a whole pipeline, as the ordinary commands on its stages."""

from collections.abc import Sequence

from tollbook.errors import NotFound, TollbookError

from application.answers import Answer
from application.draft import Draft
from application.handlers import already_exists
from application.pipeline_handlers import stages_of
from domain.command import Command
from domain.event import Event
from domain.events import CommandRefused
from domain.outcomes import Refusal
from domain.pipeline import (
    Part,
    bound,
    of_stage,
    out_of_range,
    releases,
    reservations,
    settlements,
)
from domain.pipeline_commands import ReleasePipeline, ReservePipeline, SettlePipeline
from domain.stages import stage_id

_TAKEN = ("id_reused", "already_exists")


def parts_of(draft: Draft, command: Command) -> Sequence[Part] | Refusal:
    """Return the ordinary command on each stage that a command concerns, in their order."""
    if isinstance(command, ReservePipeline):
        name = command.customer
        if draft.balance(name).customer is None:
            raise NotFound(f"there is no customer {name}", field="customer", value=name)
        return reservations(draft.pipeline(command.pipeline), command)
    assert isinstance(command, SettlePipeline | ReleasePipeline)
    held = stages_of(draft, command)
    if isinstance(command, SettlePipeline):
        return settlements(held, command, draft.reservation)
    return releases(held, command, draft.reservation)


def binding(draft: Draft, command: Command, decided: Sequence[tuple[str, Event]]) -> Event:
    """Return the fact that binds what was decided for the stages."""
    version = draft.pipeline(command.pipeline).version if type(command) is ReservePipeline else 0
    return bound(command, version, decided)


def refusal_of(draft: Draft, command: Command, stage: str, answer: Answer) -> Refusal:
    """Return why a whole is refused, when one of its stages was not done just now.

    Raises the stage's error where that is not recorded. That a run did not occur when it says is
    recorded: by the time that it is told again it may be true, and its records are parked by then.
    """
    error = answer.error
    if answer.repeated or (error is not None and error.code in _TAKEN):
        return already_exists(command)  # the id of the stage's own command belongs to another
    if error is not None:
        if isinstance(command, SettlePipeline) and error.facts.get("field") == "occurred_at":
            held = draft.reservation(stage_id(command.reserved, stage))
            assert held is not None
            assert command.occurred_at is not None
            return out_of_range(stage, held, command.occurred_at)
        raise _named(stage, error)
    assert answer.recorded is not None
    event = answer.recorded.event
    assert isinstance(event, CommandRefused)
    if event.code == "already_exists":
        return already_exists(command)
    return of_stage(stage, Refusal(event.code, event.detail, event.facts))


def _named(stage: str, error: TollbookError) -> TollbookError:
    """Return a stage's error, naming the stage."""
    return type(error)(
        f"stage {stage}: {error.message}",
        code=error.code,
        retryable=error.retryable,
        **{**error.facts, "stage": stage},
    )
