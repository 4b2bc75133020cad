"""Models over HTTP: entering them and their versions into the registry, and reading it."""

from starlette.responses import Response
from tollbook.errors import NotFound

from application.jobs import Item
from domain.command import Command
from entrypoints.http.bodies import read_object
from entrypoints.http.commanding import PREFIXES, command_id, parsed, with_path
from entrypoints.http.readers import Reader
from entrypoints.http.routing import Call, answered, reply
from entrypoints.model_documents import export_list_document, model_document, model_page

Document = dict[str, object]


async def register(call: Call) -> Response:
    """Register a model; its name is where it is read."""
    body = await read_object(call.request)
    body = {**body, "id": command_id(call.request, body, PREFIXES["register_model"])}
    item = Item(parsed("register_model", body), call.actor, call.correlation)
    (answer,) = await call.service.submitter.submit((item,))
    return answered(call, answer, str(body.get("model")))


async def release(call: Call) -> Response:
    """Release a version; its ML-BOM may be long, so a thread reads it."""
    body = with_path(call, await read_object(call.request), ("model",))
    body["id"] = command_id(call.request, body, PREFIXES["release_model_version"])
    read = await call.service.readers.read(_release, body)
    (answer,) = await call.service.submitter.submit((Item(read, call.actor, call.correlation),))
    return answered(call, answer)


def _release(_reader: Reader, body: Document) -> Command:
    return parsed("release_model_version", body)


async def listed(call: Call) -> Response:
    """Return a page of the registry's models."""
    return reply(await call.service.readers.read(_listed, call.query))


def _listed(reader: Reader, query: dict[str, int]) -> Document:
    items, following = model_page(reader.store, query.get("after", 0), query.get("limit", 100))
    return {"items": items, "next": following}


async def shown(call: Call) -> Response:
    """Return a model with all its versions."""
    return reply(await call.service.readers.read(_shown, call.path["model"]))


def _shown(reader: Reader, name: str) -> Document:
    found = model_document(reader.store, name) if name.isascii() and name.isprintable() else None
    if found is None:
        detail = f"there is no model {name} in the registry"
        raise NotFound(detail, field="model", value=name)
    return found


async def export_list(call: Call) -> Response:
    """Return the export list in force."""
    return reply(await call.service.readers.read(_export_list))


def _export_list(reader: Reader) -> Document:
    return export_list_document(reader.store)
