"""Stages: the parts of a pipeline, as they are declared, asked for, used and accounted for.

A stage's own reservation is an ordinary one; its id is that of the whole, a dot and the stage.
"""

from collections.abc import Iterable
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from pydantic.dataclasses import dataclass

from domain.command import CONFIG
from domain.event import STRICT
from domain.facts import FactsBody
from domain.license_events import KeyHash
from domain.units import Usage
from domain.values import Digest, Id, Money, Name

STAGES_MAX = 32
WHOLE_WEIGHT = 2 * STAGES_MAX
"""As how many commands one on a whole pipeline counts: its stages' own, which may each have to be
looked up twice, where an id turns out to be taken."""
STAGE_PATTERN = r"^[A-Za-z0-9_-]{1,32}$"
WHOLE_PATTERN = r"^[A-Za-z0-9._:-]{1,95}$"

OF_PIPELINE = "pipeline "
"""Stands before a pipeline's name where a model of the price book could stand; none has a space."""

StageName = Annotated[str, StringConstraints(pattern=STAGE_PATTERN)]
"""Without a dot, so that what stands before the last dot of a reservation's id is the whole's."""

WholeId = Annotated[str, StringConstraints(pattern=WHOLE_PATTERN)]
"""The id of a command on a whole pipeline: a dot and a stage's name still fit behind it."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Stage:
    """A stage as a pipeline declares it; a stage's price is that of its model."""

    estimate: Usage | None = None
    """What to hold for where a reservation does not say."""
    licensed: bool = False
    """Whether a reservation has to name a licence for it."""
    model: Name
    name: StageName


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class StageAsked:
    """What a reservation says of one stage."""

    estimate: Usage | None = None
    facts: FactsBody | None = None
    license: Id | None = None
    license_key: KeyHash | None = None
    request_hash: Digest | None = None
    stage: StageName


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class StageUsed:
    """What was really used in one stage."""

    request_hash: Digest | None = None
    response_hash: Digest | None = None
    stage: StageName
    usage: Usage


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """What one stage cost, and what of its hold was given back; a part of events alone."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    charged: Money
    from_balance: Money
    receivable: Money
    released: Money
    stage: StageName


def stage_id(whole: str, stage: str) -> str:
    """Return the id of a stage's own reservation, or of the command on it."""
    return f"{whole}.{stage}"


def whole_of(reservation: str) -> str:
    """Return the id of the whole that a reservation may be a stage of."""
    return reservation.rpartition(".")[0]


def _each_once(stages: tuple[Any, ...]) -> tuple[Any, ...]:
    if repeated := _repeated(getattr(each, "stage", None) or each.name for each in stages):
        raise ValueError(f"must name each stage once, and {repeated} stands there twice")
    return stages


def _repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


Declared = Annotated[
    tuple[Stage, ...], Field(min_length=1, max_length=STAGES_MAX), AfterValidator(_each_once)
]
Asked = Annotated[tuple[StageAsked, ...], Field(max_length=STAGES_MAX), AfterValidator(_each_once)]
UsedStages = Annotated[
    tuple[StageUsed, ...], Field(min_length=1, max_length=STAGES_MAX), AfterValidator(_each_once)
]
