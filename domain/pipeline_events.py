"""The facts of pipelines: what was published, and what binds the reservations of its stages.

What a stage holds and costs stands in its own reservation's facts, which come right before these.
"""

from domain.event import Event, event
from domain.stages import Asked, CostLine, Declared, UsedStages, WholeId
from domain.values import GrantAmounts, Id, Instant, Text


@event("pipeline_published", kind="publish_pipeline")
class PipelinePublished(Event):
    """A version of a pipeline; the newest one is what can be reserved."""

    pipeline: Id
    stages: Declared
    version: int

    def stream(self) -> str:
        """Return the pipeline's stream."""
        return f"pipeline-{self.pipeline}"

    def command_scope(self) -> str:
        """Return the empty scope: pipelines are the ledger's, not a customer's."""
        return ""


class _OfStages(Event):
    """A fact in the stream that binds the reservations of one run through a pipeline."""

    __slots__ = ()
    reserved: str

    def stream(self) -> str:
        """Return the stream of the whole reservation."""
        return f"stages-{self.reserved}"


@event("pipeline_reserved", kind="reserve_pipeline")
class PipelineReserved(_OfStages):
    """Every stage of a pipeline was reserved."""

    customer: Id
    expires_at: Instant
    held: GrantAmounts
    """(stage, amount) pairs in the order in which the pipeline declares them."""
    pipeline: Id
    reserved: WholeId
    stages: Asked
    ttl_seconds: int | None = None
    version: int
    """The version of the pipeline."""


@event("pipeline_settled", kind="settle_pipeline")
class PipelineSettled(_OfStages):
    """The stages that were used were charged, and the others given back."""

    customer: Id
    lines: tuple[CostLine, ...]
    """What was charged or given back here, in the order of the stages."""
    occurred_at: Instant | None = None
    pipeline: Id
    reserved: WholeId
    stages: UsedStages


@event("pipeline_released", kind="release_pipeline")
class PipelineReleased(_OfStages):
    """Every stage without an outcome was given back."""

    customer: Id
    pipeline: Id
    reason: Text | None = None
    released: GrantAmounts
    """(stage, amount) pairs in the order of the stages."""
    reserved: WholeId


OF_STAGES = (PipelineReserved, PipelineSettled, PipelineReleased)
"""The facts of the stream `stages-ID`."""

OF_PIPELINES = (PipelinePublished, *OF_STAGES)
