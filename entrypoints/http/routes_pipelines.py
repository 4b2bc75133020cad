"""The routes of pipelines: publish one, hold all of its stages or none, and close them at once."""

from domain.denials import DENIALS
from entrypoints.http import pipelines
from entrypoints.http.commanding import command
from entrypoints.http.license_commanding import licensed
from entrypoints.http.parameters import LIMIT, an_id
from entrypoints.http.roles import ADMINS, EVERYBODY, OPERATING
from entrypoints.http.routes_inference import PRICES, USAGE
from entrypoints.http.routing import Route

_RUN = "/v1/pipelines/{pipeline}/reservations/{reserved}"
_AFTER = an_id("after", "The `next` of the page before; without it, the first page.")
_CLOSED = ("not_found", "already_settled", "already_released", "already_exists")

PIPELINES = (
    Route(
        method="POST",
        path="/v1/pipelines",
        summary="Publish the next version of a pipeline: its stages in their order",
        handler=pipelines.publish,
        roles=ADMINS,
        body="PublishPipelineBody",
        example={
            "id": "pub-1",
            "pipeline": "rag",
            "stages": [
                {"name": "rank", "model": "gpt4-equivalent", "estimate": {"input_tokens": 800}},
                {"name": "write", "model": "gpt4-equivalent"},
            ],
        },
        answer="PipelineDone",
        tag="pipelines",
        kind="publish_pipeline",
        creates="$response.body#/pipeline",
    ),
    Route(
        method="GET",
        path="/v1/pipelines",
        summary="Every pipeline as it was published last, in order of the names",
        handler=pipelines.listed,
        roles=EVERYBODY,
        answer="Pipelines",
        tag="pipelines",
        query=(_AFTER, LIMIT),
    ),
    Route(
        method="GET",
        path="/v1/pipelines/{pipeline}",
        summary="A pipeline with all its versions",
        handler=pipelines.shown,
        roles=EVERYBODY,
        answer="Pipeline",
        tag="pipelines",
        codes=("not_found",),
    ),
    Route(
        method="POST",
        path="/v1/pipelines/{pipeline}/reservations",
        summary="Hold the money for every stage of a pipeline, or for none",
        handler=licensed("reserve_pipeline", "pipeline"),
        roles=OPERATING,
        body="ReservePipelineBody",
        example={
            "id": "run-1",
            "customer": "acme",
            "stages": [{"stage": "write", "estimate": USAGE}],
        },
        answer="PipelineReserved",
        tag="pipelines",
        kind="reserve_pipeline",
        creates="$response.body#/id",
        codes=(
            *("insufficient_balance", "account_blocked", "usage_capped", "already_exists"),
            *("not_found", *PRICES, *(code for code in DENIALS if code != "license_seats_taken")),
        ),
    ),
    Route(
        method="GET",
        path=_RUN,
        summary="A run through a pipeline as it stands now: its stages and their exact sums",
        handler=pipelines.run,
        roles=EVERYBODY,
        answer="PipelineReservation",
        tag="pipelines",
        codes=("not_found",),
    ),
    Route(
        method="POST",
        path=f"{_RUN}/settle",
        summary="Charge the stages that were used and give back the others, all at once",
        handler=command("settle_pipeline", "pipeline", "reserved"),
        roles=OPERATING,
        body="SettlePipelineBody",
        example={"id": "stl-1", "stages": [{"stage": "write", "usage": USAGE}]},
        answer="PipelineSettled",
        tag="pipelines",
        kind="settle_pipeline",
        codes=(*_CLOSED, "occurred_at_out_of_range", *PRICES),
    ),
    Route(
        method="POST",
        path=f"{_RUN}/release",
        summary="Give back every stage that has had no outcome yet",
        handler=command("release_pipeline", "pipeline", "reserved"),
        roles=OPERATING,
        body="ReleasePipelineBody",
        example={"id": "rel-1", "reason": "the caller went away"},
        answer="PipelineReleased",
        tag="pipelines",
        kind="release_pipeline",
        codes=_CLOSED,
    ),
)
