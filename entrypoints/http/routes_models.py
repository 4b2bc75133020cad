"""The routes of the model registry and of the export list."""

from entrypoints.http import models
from entrypoints.http.commanding import command
from entrypoints.http.parameters import AFTER_POSITION, LIMIT
from entrypoints.http.roles import ADMINS, EVERYBODY, STAFF
from entrypoints.http.routing import Route

MODELS = (
    Route(
        method="POST",
        path="/v1/models",
        summary="Register a model",
        handler=models.register,
        roles=ADMINS,
        body="RegisterModelBody",
        example={"id": "reg-1", "model": "gpt4-equivalent"},
        answer="ModelDone",
        tag="models",
        kind="register_model",
        creates="$response.body#/model",
        codes=("already_exists",),
    ),
    Route(
        method="GET",
        path="/v1/models",
        summary="The models of the registry in short, in the order of their registration",
        handler=models.listed,
        roles=EVERYBODY,
        answer="Models",
        tag="models",
        query=(AFTER_POSITION, LIMIT),
    ),
    # A name may hold slashes, so the longest paths stand first.
    Route(
        method="POST",
        path="/v1/models/{model}/versions/{version}/yank",
        summary="Withdraw a version for ever: no licence admits it any more",
        handler=command("yank_model_version", "model", "version"),
        roles=ADMINS,
        body="YankModelVersionBody",
        example={"id": "yank-1", "reason": "answers in the wrong language"},
        answer="ModelVersionDone",
        tag="models",
        kind="yank_model_version",
        codes=("not_found", "already_yanked"),
    ),
    Route(
        method="POST",
        path="/v1/models/{model}/versions",
        summary="Release a version of a model, with what is known of where it comes from",
        handler=models.release,
        roles=ADMINS,
        body="ReleaseModelVersionBody",
        example={
            "id": "rel-1",
            "version": "4.1.0",
            "released_at": "2026-01-01T00:00:00Z",
            "digest": "0a" * 32,
            "provenance": [{"name": "certification", "value": "ISO/IEC 42001"}],
        },
        answer="ModelVersionDone",
        tag="models",
        kind="release_model_version",
        codes=("not_found", "already_exists"),
    ),
    Route(
        method="GET",
        path="/v1/models/{model}",
        summary="A model with all its versions and their provenance",
        handler=models.shown,
        roles=EVERYBODY,
        answer="Model",
        tag="models",
        codes=("not_found",),
    ),
    Route(
        method="POST",
        path="/v1/export-list",
        summary="Replace the list of countries to which nothing may be exported",
        handler=command("publish_export_list"),
        roles=ADMINS,
        body="PublishExportListBody",
        example={"id": "exp-1", "countries": ["KP", "SY"], "note": "as of January"},
        answer="ExportListDone",
        tag="models",
        kind="publish_export_list",
    ),
    Route(
        method="GET",
        path="/v1/export-list",
        summary="The export list in force",
        handler=models.export_list,
        roles=STAFF,
        answer="ExportList",
        tag="models",
    ),
)
