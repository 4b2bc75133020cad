"""Meters as configuration: where each model's quantities come from, and what is held for them.

docs/gateway.md shows the file; this is its schema.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from domain.command import CONFIG
from domain.stages import STAGES_MAX, StageName
from domain.units import COUNTED, MEASURED, QUANTITY_MAX, UNITS
from domain.values import Id, Name

BEFORE = ("input", "parameter", "input_bytes", "input_shape", "constant")
"""Sources that are known before the inference, so that an estimate may name them."""

AFTER = ("output", "response_parameter", "output_shape", "formula", "traces")
SOURCES = (*BEFORE, *AFTER)
TOLD_BY_MESSAGES = AFTER[:3]
"""Sources that each message of an answer tells."""

_Tensor = Annotated[str, Field(min_length=1, max_length=200)]
_Count = Annotated[int, Field(ge=0, le=QUANTITY_MAX)]
_Decimal = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$")]


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Source:
    """Where a quantity comes from: exactly one of these, and what belongs to it."""

    output: _Tensor | None = None
    """The sum of an output of whole numbers, over all messages of a stream."""
    response_parameter: _Tensor | None = None
    """A whole number among the parameters of the answer, over all messages of a stream."""
    output_shape: _Tensor | None = None
    """The length of an output's `axis`, or without one its number of elements; likewise."""
    input: _Tensor | None = None
    """The sum of an input of whole numbers."""
    parameter: _Tensor | None = None
    """A whole number among the parameters of the request."""
    input_bytes: _Tensor | None = None
    """How many bytes of text an input has: no tokenizer makes more tokens of them."""
    input_shape: _Tensor | None = None
    """The length of an input's `axis`, or without one its number of elements."""
    axis: Annotated[int, Field(ge=-16, le=15)] | None = None
    constant: _Count | _Decimal | None = None
    """The same each time; a decimal for measured units."""
    formula: dict[str, _Decimal] | None = None
    """What each of a unit counts, and under `constant` what is added; for `compute_units`."""
    traces: Literal[True] | None = None
    """The request's share of device time, from the server's traces; for `gpu_seconds`."""
    default: _Count | None = None
    """Stands for an input or parameter that the request leaves out."""
    most: _Count | None = None
    """An estimate is never above it, whatever the request says."""
    messages: Literal["sum", "last"] = "sum"
    """Of an answer in several messages: what they come to, or what the last one of them tells."""

    @property
    def kind(self) -> str:
        """The name of the one source that is given."""
        return next(kind for kind in SOURCES if getattr(self, kind) is not None)

    @property
    def is_told_before(self) -> bool:
        """Whether it is known before the inference: whether its kind is one of `BEFORE`."""
        return (
            self.output is None
            and self.output_shape is None
            and self.response_parameter is None
            and self.formula is None
            and self.traces is None
        )

    @model_validator(mode="after")
    def _one_source(self) -> "Source":
        given = [kind for kind in SOURCES if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"must name one of {', '.join(SOURCES)}")
        if self.axis is not None and not given[0].endswith("_shape"):
            raise ValueError("must have an axis only beside input_shape or output_shape")
        if self.messages != "sum" and given[0] not in TOLD_BY_MESSAGES:
            raise ValueError(f"must have messages only beside {', '.join(TOLD_BY_MESSAGES)}")
        known = UNITS - {"compute_units"} | {"constant"}
        if self.formula is not None and not self.formula.keys() <= known:
            raise ValueError(f"must have a formula over {', '.join(sorted(known))}")
        return self


_Sources = Annotated[dict[str, Source], Field(max_length=len(UNITS))]


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class StageMeter:
    """How one stage of a pipeline is metered, by the request and the answer of the whole."""

    price_model: Name | None = None
    """As the published pipeline calls its model, where this file is to insist on that."""
    step: Name | None = None
    """The step of the ensemble, by its model's name there: whose device time the traces tell."""
    usage: Annotated[_Sources, Field(min_length=1)]
    """What is charged, by unit."""
    estimate: _Sources = Field(default_factory=dict)
    """What is held, by unit; without any, what the request tells, or the pipeline declares."""

    @property
    def is_estimated(self) -> bool:
        """Whether what is held for it is known from the request, and nobody else has to say."""
        return bool(self.estimate) or not _only_answers_tell(self.usage, self.estimate)

    @model_validator(mode="after")
    def _sources_fit(self) -> "StageMeter":
        _check_sources(self.usage, self.estimate)
        if self.step is None and any(source.traces for source in self.usage.values()):
            raise ValueError("step must be given: usage.gpu_seconds is its share of the traces")
        if self.estimate and (unit := _only_answers_tell(self.usage, self.estimate)):
            raise ValueError(f"estimate.{unit} must be given: only the answer tells its usage")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Meter:
    """How one model is metered: as one, or each stage of the pipeline that it is."""

    name: Name
    """As clients and the server call the model."""
    price_model: Name | None = None
    """As price books and licences call it; the same where absent."""
    usage: _Sources = Field(default_factory=dict)
    """What is charged, by unit."""
    estimate: _Sources = Field(default_factory=dict)
    """What is held, by unit; what stands here for no unit is held as its usage says."""
    pipeline: Id | None = None
    """The pipeline whose stages this ensemble runs, each of which is held and charged."""
    stage: dict[StageName, StageMeter] = Field(default_factory=dict, max_length=STAGES_MAX)
    """How each stage of it is metered."""
    ask: Annotated[dict[_Tensor, _Tensor], Field(max_length=len(UNITS))] = Field(
        default_factory=dict
    )
    """Inputs without whose `true` the model leaves an output out, by that output's name.

    Outputs that nobody counts stand here too, where one of these inputs brings them.
    """
    request_id_output: _Tensor | None = None
    """An output in which the model repeats its request's id: another one means a cached answer."""
    cache_hit: Literal["full", "as_cached_input", "free"] = "full"
    """What a cached answer costs: the same, its input as cached input, or nothing."""
    after_cancel: Literal["stop", "drain"] = "stop"
    """Whether a stream that its client left is stopped, or runs to its end and is charged so."""
    seconds: Annotated[int, Field(ge=1, le=86_400)] = 600
    """How long an inference may take."""

    def __hash__(self) -> int:
        """Hash the name, which names one meter of a gateway: equal meters have it in common."""
        return hash(self.name)

    @property
    def priced_as(self) -> str:
        """The model's name in price books and licences."""
        return self.price_model or self.name

    @property
    def used(self) -> tuple[Source, ...]:
        """Every source of what is charged, those of all stages."""
        all_usage = (self.usage, *(part.usage for part in self.stage.values()))
        return tuple(source for usage in all_usage for source in usage.values())

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every source, of what is charged and of what is held."""
        all_held = (self.estimate, *(part.estimate for part in self.stage.values()))
        return (*self.used, *(source for held in all_held for source in held.values()))

    @model_validator(mode="after")
    def _sources_fit(self) -> "Meter":
        _check_sources(self.usage, self.estimate)
        if unit := _only_answers_tell(self.usage, self.estimate):
            raise ValueError(f"estimate.{unit} must be given: only the answer tells its usage")
        if self.pipeline is None:
            if self.stage or not self.usage:
                raise ValueError("must have its usage, or a pipeline and meters of its stages")
        elif not self.stage or self.usage or self.estimate or self.price_model:
            rule = "each with its own usage, and the pipeline names their models"
            raise ValueError(f"must have, with a pipeline, only meters of its stages: {rule}")
        counted = {source.output or source.output_shape for source in self.used}
        asked = {name for output, name in self.ask.items() if output in counted}
        if vain := sorted(output for output, name in self.ask.items() if name not in asked):
            raise ValueError(f"ask.{vain[0]} must have an input that brings what its usage counts")
        steps = [part.step for part in self.stage.values() if part.step is not None]
        if len(set(steps)) < len(steps):
            raise ValueError("must name each step of one stage: traces do not tell two apart")
        return self

    def of_stage(self, name: str) -> "Part":
        """Return how one stage is metered."""
        part = self.stage[name]
        return Part(part.usage, part.estimate, self.request_id_output, self.cache_hit, part.step)


class Part(NamedTuple):
    """How a stage is metered, with what its meter has in common with those beside it."""

    usage: Mapping[str, Source]
    estimate: Mapping[str, Source]
    request_id_output: str | None
    cache_hit: str
    step: str | None

    @property
    def waits_for_traces(self) -> bool:
        """Whether its device time is known only from the server's traces."""
        return any(source.traces for source in self.usage.values())


Metered = Meter | Part
"""What has quantities of its own: a model, or a stage."""


def _check_sources(usage: Mapping[str, Source], estimate: Mapping[str, Source]) -> None:
    for unit, source in usage.items():
        _check_unit(unit, source)
        if source.default is not None or source.most is not None:
            raise ValueError(f"usage.{unit} must be without default and most")
    for unit, source in estimate.items():
        _check_unit(unit, source)
        if source.kind not in BEFORE:
            raise ValueError(f"estimate.{unit} must be one of {', '.join(BEFORE)}")


def _only_answers_tell(usage: Mapping[str, Source], estimate: Mapping[str, Source]) -> str | None:
    """Return the first unit of which nothing can be known before the answer."""
    known = (*BEFORE, "formula")
    unknown = (unit for unit, source in usage.items() if source.kind not in known)
    return next((unit for unit in unknown if unit not in estimate), None)


def _check_unit(unit: str, source: Source) -> None:
    if unit not in UNITS:
        raise ValueError(f"{unit[:64]} must be one of {', '.join(sorted(UNITS))}")
    only = {"formula": "compute_units", "traces": "gpu_seconds"}.get(source.kind)
    if only is not None and unit != only:
        raise ValueError(f"{unit} must not come from {source.kind}, which gives {only}")
    if unit in COUNTED and isinstance(source.constant, str):
        raise ValueError(f"{unit} must have a whole number as its constant")
    if unit in MEASURED and source.kind not in ("constant", "formula", "traces"):
        raise ValueError(f"{unit} must come from a constant, a formula or traces")
    if unit in MEASURED and isinstance(source.constant, int):
        raise ValueError(f"{unit} must have its constant as a decimal in quotes")
