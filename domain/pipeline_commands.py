"""Commands on pipelines: to publish one, and to hold, settle or give back all of its stages."""

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from domain.command import CONFIG, Command
from domain.holds import TTL_MAX_SECONDS
from domain.stages import WHOLE_WEIGHT, Asked, Declared, UsedStages, WholeId
from domain.values import Id, InstantIn, KeyText, Text


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class PublishPipeline(Command):
    """Publish the next version of a pipeline: its stages in their order."""

    KIND: ClassVar[str] = "publish_pipeline"
    id: KeyText
    pipeline: Id
    stages: Declared


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ReservePipeline(Command):
    """Hold the money for every stage of a pipeline, or for none."""

    KIND: ClassVar[str] = "reserve_pipeline"
    WEIGHT: ClassVar[int] = WHOLE_WEIGHT
    id: WholeId
    customer: Id
    pipeline: Id
    stages: Asked = ()
    ttl_seconds: int | None = Field(default=None, ge=1, le=TTL_MAX_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class SettlePipeline(Command):
    """Charge the stages that were used and give back the others, all at once."""

    KIND: ClassVar[str] = "settle_pipeline"
    WEIGHT: ClassVar[int] = WHOLE_WEIGHT
    id: WholeId
    pipeline: Id
    reserved: WholeId
    stages: UsedStages
    occurred_at: InstantIn | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ReleasePipeline(Command):
    """Give back every stage that has had no outcome yet."""

    KIND: ClassVar[str] = "release_pipeline"
    WEIGHT: ClassVar[int] = WHOLE_WEIGHT
    id: WholeId
    pipeline: Id
    reserved: WholeId
    reason: Text | None = None


PIPELINE_COMMANDS: tuple[type[Command], ...] = (
    PublishPipeline,
    ReservePipeline,
    SettlePipeline,
    ReleasePipeline,
)
