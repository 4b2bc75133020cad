"""What the client's methods about pipelines return."""

from dataclasses import dataclass
from datetime import datetime

from tollbook.client.money import Money
from tollbook.client.reading import Result, Usage
from tollbook.client.results import Done


@dataclass(frozen=True, kw_only=True)
class PipelineDone(Done):
    """A version of a pipeline was published."""

    pipeline: str
    version: int


@dataclass(frozen=True, kw_only=True)
class StageHeld(Result):
    """What is held for one stage."""

    stage: str
    reservation: str
    """The id of the stage's own reservation."""
    held: Money


@dataclass(frozen=True, kw_only=True)
class PipelineReserved(Done):
    """The money for every stage is held."""

    pipeline: str
    version: int
    held: Money
    """The sum of what the stages hold."""
    expires_at: datetime
    stages: tuple[StageHeld, ...]


@dataclass(frozen=True, kw_only=True)
class StageCost(Result):
    """What one stage cost, and what of its hold came back."""

    stage: str
    reservation: str
    charged: Money
    from_balance: Money
    receivable: Money
    released: Money


@dataclass(frozen=True, kw_only=True)
class PipelineSettled(Done):
    """The stages that were used are charged, and the others given back; each sum is exact."""

    pipeline: str
    reserved: str
    charged: Money
    from_balance: Money
    receivable: Money
    released: Money
    stages: tuple[StageCost, ...]


@dataclass(frozen=True, kw_only=True)
class StageReleased(Result):
    """What one stage gave back."""

    stage: str
    reservation: str
    released: Money


@dataclass(frozen=True, kw_only=True)
class PipelineReleased(Done):
    """Every stage that had no outcome was given back."""

    pipeline: str
    reserved: str
    released: Money
    stages: tuple[StageReleased, ...]


@dataclass(frozen=True, kw_only=True)
class Stage(Result):
    """A stage as a pipeline declares it."""

    name: str
    model: str
    licensed: bool
    """Whether a reservation has to name a licence for it."""
    estimate: Usage | None
    """What is held for where a reservation does not say."""


@dataclass(frozen=True, kw_only=True)
class Pipeline(Result):
    """A pipeline as it was published last; `raw` has all its versions."""

    pipeline: str
    version: int
    stages: tuple[Stage, ...]
    position: int
    published_at: datetime


@dataclass(frozen=True, kw_only=True)
class StageReservation(Result):
    """A stage of a run as it stands."""

    stage: str
    reservation: str
    model: str
    status: str
    license: str | None
    expires_at: datetime
    held: Money
    charged: Money


@dataclass(frozen=True, kw_only=True)
class PipelineReservation(Result):
    """A run through a pipeline as it stands, with the exact sums over its stages."""

    id: str
    customer: str
    pipeline: str
    version: int
    status: str
    opened_at: datetime
    held: Money
    charged: Money
    stages: tuple[StageReservation, ...]
