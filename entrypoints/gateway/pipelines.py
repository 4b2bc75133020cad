"""Pipelines as the gateway knows them: how the meters of its file fit what is published.

A meter for a stage that nobody published would never be used, and a stage without one never
charged: both are told when the gateway starts, and when a pipeline is published anew.
"""

from collections.abc import Iterable
from typing import NamedTuple

from tollbook.errors import Invalid, Unavailable

from application.loading import load_pipeline
from application.ports import EventStore
from domain.meters_format import Meter, Part
from domain.pipeline import Pipeline
from entrypoints.gateway.config import GatewayConfig
from entrypoints.http.readers import Readers


class FittedStage(NamedTuple):
    """A stage as it is published, and how it is metered here."""

    name: str
    model: str
    """As price books and licences call it."""
    is_licensed: bool
    is_estimated: bool
    """Whether its meter says what is to be held; otherwise the pipeline does."""
    part: Part


class Fitted(NamedTuple):
    """A version of a pipeline with the meters of its stages, in their order."""

    pipeline: str
    version: int
    stages: tuple[FittedStage, ...]


class Pipelines:
    """The pipelines that a gateway's models are; a newer version is looked up when it shows."""

    def __init__(self, config: GatewayConfig, readers: Readers) -> None:
        """Know nothing before `learn`."""
        self._meters = [meter for meter in config.model if meter.pipeline is not None]
        self._readers = readers
        self._fitted: dict[str, Fitted] = {}

    async def learn(self) -> None:
        """Look up every pipeline; raises Invalid where a meter does not fit it."""
        if self._meters:
            found = await self._readers.read(lambda reader: check(self._meters, reader.store))
            self._fitted = {meter.name: each for meter, each in found}

    async def learn_anew(self, meter: Meter) -> bool:
        """Look a pipeline up again, and say whether it is another; raises Unavailable."""
        before = self._fitted[meter.name]
        try:
            ((_, found),) = await self._readers.read(lambda reader: check([meter], reader.store))
        except Invalid as error:
            told = "was published anew, and this gateway's file does not fit it"
            raise Unavailable(
                f"the pipeline {meter.pipeline} {told}: {error}", pipeline=meter.pipeline
            ) from None
        self._fitted[meter.name] = found
        return found.version != before.version

    def of(self, meter: Meter) -> Fitted:
        """Return the pipeline of a model, as it was published when this gateway looked."""
        return self._fitted[meter.name]

    def licensed_models(self, meter: Meter) -> list[str]:
        """Return what a licence has to allow for a model: itself, or those of its stages."""
        if meter.pipeline is None:
            return [meter.priced_as]
        return [stage.model for stage in self.of(meter).stages if stage.is_licensed]


def check(meters: Iterable[Meter], store: EventStore) -> list[tuple[Meter, Fitted]]:
    """Compare meters with the pipelines that they name; raises Invalid where one does not fit."""
    position = store.head().position
    named = [(meter, str(meter.pipeline)) for meter in meters if meter.pipeline is not None]
    return [(meter, fitted(meter, load_pipeline(store, name, position))) for meter, name in named]


def fitted(meter: Meter, published: Pipeline) -> Fitted:
    """Return the stages of a pipeline with their meters; raises Invalid where they do not fit."""
    name, where = published.name, f"model {meter.name}"
    if not published.version:
        rule = "published: tollbook pipelines publish does that"
        raise Invalid.because(f"{where}: pipeline", name, rule)
    names = [stage.name for stage in published.stages]
    if sorted(meter.stage) != sorted(names):
        rule = f"a meter for each stage of the pipeline {name}: {', '.join(names)}"
        raise Invalid.because(f"{where}: stage", ", ".join(meter.stage), rule)
    stages = []
    for stage in published.stages:
        part = meter.stage[stage.name]
        if part.price_model not in (None, stage.model):
            rule = f"{stage.model}, as the pipeline {name} says"
            raise Invalid.because(
                f"{where}: stage.{stage.name}.price_model", part.price_model, rule
            )
        if not part.is_estimated and stage.estimate is None:
            rule = f"given here or in the pipeline {name}: only the answer tells the usage"
            raise Invalid.because(f"{where}: stage.{stage.name}.estimate", None, rule)
        found = meter.of_stage(stage.name)
        stages.append(
            FittedStage(stage.name, stage.model, stage.licensed, part.is_estimated, found)
        )
    if not any(stage.is_licensed for stage in stages):
        rule = "one of which at least is licensed: nobody could be kept out"
        raise Invalid.because(f"{where}: pipeline", name, f"a pipeline of stages {rule}")
    return Fitted(name, published.version, tuple(stages))
