"""Which rule decides a command about pipelines, and whose stages a command concerns."""

from collections.abc import Callable
from typing import Any

from tollbook.errors import NotFound

from application.draft import Draft
from domain import pipeline
from domain.balance import Balance
from domain.command import Command
from domain.outcomes import Decision
from domain.pipeline import StagesHeld
from domain.pipeline_commands import (
    PublishPipeline,
    ReleasePipeline,
    ReservePipeline,
    SettlePipeline,
)

ON_STAGES = (SettlePipeline, ReleasePipeline)
"""Commands on the stages of a run that there is."""

AS_A_WHOLE: frozenset[type[Command]] = frozenset({ReservePipeline, *ON_STAGES})
"""Commands that are decided stage by stage (application/staging.py)."""


def stages_of(draft: Draft, command: SettlePipeline | ReleasePipeline) -> StagesHeld:
    """Return what binds the stages that a command names; raises NotFound."""
    found = draft.stages(command.reserved)
    if found is None or found.pipeline != command.pipeline:
        detail = f"there is no reservation {command.reserved} of the pipeline {command.pipeline}"
        raise NotFound(detail, field="reserved", value=command.reserved)
    return found


def _publish(draft: Draft, _balance: Balance, command: PublishPipeline, _now: int) -> Decision:
    return pipeline.decide_publish(draft.pipeline(command.pipeline), command)


PIPELINE_RULES: dict[type[Command], Callable[[Draft, Balance, Any, int], Decision]] = {
    PublishPipeline: _publish,
}
