"""Pipelines over HTTP: publishing and reading them, and reading a run through one."""

from typing import Any

from starlette.responses import Response

from application.jobs import Item
from entrypoints.http.bodies import read_object
from entrypoints.http.commanding import PREFIXES, command_id, parsed
from entrypoints.http.readers import Reader
from entrypoints.http.routing import Call, answered, reply
from entrypoints.pipeline_documents import pipeline_document, pipeline_page, run_document


async def publish(call: Call) -> Response:
    """Publish a version of a pipeline; its name is where it is read."""
    body = await read_object(call.request)
    body = {**body, "id": command_id(call.request, body, PREFIXES["publish_pipeline"])}
    item = Item(parsed("publish_pipeline", body), call.actor, call.correlation)
    (answer,) = await call.service.submitter.submit((item,))
    return answered(call, answer, str(body.get("pipeline")))


async def listed(call: Call) -> Response:
    """Return a page of pipelines as they were published last."""
    return reply(await call.service.readers.read(_listed, call.query))


def _listed(reader: Reader, query: dict[str, Any]) -> dict[str, Any]:
    after, limit = query.get("after", ""), query.get("limit", 100)
    items, following = pipeline_page(reader.store, after, limit)
    return {"items": items, "next": following}


async def shown(call: Call) -> Response:
    """Return a pipeline with all its versions."""
    return reply(await call.service.readers.read(_shown, call.path["pipeline"]))


def _shown(reader: Reader, name: str) -> dict[str, Any]:
    return pipeline_document(reader.store, name)


async def run(call: Call) -> Response:
    """Return a run through a pipeline as it stands now, with its stages."""
    names = call.path["pipeline"], call.path["reserved"]
    return reply(await call.service.readers.read(_run, *names, call.who.customer))


def _run(reader: Reader, pipeline: str, name: str, own: str | None) -> dict[str, Any]:
    return run_document(reader.store, name, pipeline, own, reader.ledger.now())
