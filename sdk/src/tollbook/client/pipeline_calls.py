"""The calls about pipelines: publish one, hold all of its stages or none, close them at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from tollbook.client.calls import Call, Pages, command, get, named
from tollbook.client.ids import in_path
from tollbook.client.inference_calls import UsageIn, usage_on_wire
from tollbook.client.pipeline_results import (
    Pipeline,
    PipelineDone,
    PipelineReleased,
    PipelineReservation,
    PipelineReserved,
    PipelineSettled,
)
from tollbook.client.reading import TimeIn, read, time_text

StageIn = Mapping[str, Any]
"""What is said of a stage besides its name; an estimate may hold Decimals."""


def publish_pipeline(
    pipeline: str, stages: Sequence[StageIn], *, id: str | None = None
) -> Call[PipelineDone]:
    """Publish the next version of a pipeline.

    Each stage has a `name` and a `model`, and may have an `estimate` and `licensed`.
    """
    fields = {"pipeline": pipeline, "stages": [_stage(stage) for stage in stages]}
    return command(PipelineDone, named("publish_pipeline", id, "pub"), "/v1/pipelines", fields)


def pipeline(name: str) -> Call[Pipeline]:
    """Return a pipeline as it was published last."""
    return get(Pipeline, f"/v1/pipelines/{in_path('pipeline', name)}")


def pipelines() -> Pages[Pipeline]:
    """Iterate over the pipelines, in order of their names."""
    return Pages("/v1/pipelines", {}, lambda document: read(Pipeline, document))


def reserve_pipeline(
    pipeline: str,
    customer: str,
    stages: Mapping[str, StageIn] | None = None,
    *,
    ttl_seconds: int | None = None,
    id: str | None = None,
) -> Call[PipelineReserved]:
    """Hold the money for every stage of a pipeline, or for none.

    By stage, `stages` may say the `estimate`, the `license` (or the `license_key`), `facts` and the
    `request_hash`; where it says no estimate, the pipeline's own is held for.
    """
    said = stages or {}
    fields = {
        "customer": customer,
        "stages": [{"stage": name, **_stage(each)} for name, each in said.items()],
        "ttl_seconds": ttl_seconds,
    }
    path = f"/v1/pipelines/{in_path('pipeline', pipeline)}/reservations"
    return command(PipelineReserved, named("reserve_pipeline", id, "run"), path, fields)


def pipeline_reservation(pipeline: str, reserved: str) -> Call[PipelineReservation]:
    """Return a run through a pipeline as it stands."""
    return get(PipelineReservation, _path(pipeline, reserved))


def settle_pipeline(
    pipeline: str,
    reserved: str,
    usage: Mapping[str, UsageIn],
    *,
    occurred_at: TimeIn | None = None,
    id: str | None = None,
) -> Call[PipelineSettled]:
    """Charge each stage for its usage, and give back those stages that have none, all at once."""
    fields = {
        "stages": [{"stage": name, "usage": usage_on_wire(each)} for name, each in usage.items()],
        "occurred_at": None if occurred_at is None else time_text(occurred_at, "occurred_at"),
    }
    name = named("settle_pipeline", id, "stl")
    return command(PipelineSettled, name, f"{_path(pipeline, reserved)}/settle", fields)


def release_pipeline(
    pipeline: str, reserved: str, *, reason: str | None = None, id: str | None = None
) -> Call[PipelineReleased]:
    """Give back every stage that has had no outcome yet."""
    name = named("release_pipeline", id, "rel")
    path = f"{_path(pipeline, reserved)}/release"
    return command(PipelineReleased, name, path, {"reason": reason})


def _stage(stage: StageIn) -> dict[str, Any]:
    said = {name: value for name, value in stage.items() if value is not None}
    if isinstance(said.get("estimate"), Mapping):
        said["estimate"] = usage_on_wire(said["estimate"])
    return said


def _path(pipeline: str, reserved: str) -> str:
    run = f"reservations/{in_path('reserved', reserved)}"
    return f"/v1/pipelines/{in_path('pipeline', pipeline)}/{run}"
