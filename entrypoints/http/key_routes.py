"""Keys over HTTP: an admin makes and revokes them; the secret is in one answer, and never again."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass
from starlette.responses import Response
from tollbook.times import format_instant

from adapters.api_keys import NOTE_MAX, ApiKeys
from domain.command import CONFIG, read
from domain.values import Id, InstantIn
from entrypoints.http.bodies import read_object
from entrypoints.http.readers import Reader
from entrypoints.http.routing import Call, reply


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class KeyRequest:
    """The key that is wanted: what it may do, for whom, and until when."""

    role: Literal["admin", "service", "auditor", "finance", "reviewer", "customer"]
    customer: Id | None = None
    note: Annotated[str, Field(max_length=NOTE_MAX)] = ""
    expires_at: InstantIn | None = None


KEY_REQUEST = TypeAdapter(KeyRequest)


async def create(call: Call) -> Response:
    """Make a key; its text stands in this answer alone."""
    wanted: KeyRequest = read(KEY_REQUEST, await read_object(call.request))
    made = await call.service.readers.read(_create, call.service.keys, wanted)
    await call.service.keyring.renew()
    return reply(made, 201, {"Location": f"{call.request.scope['path']}/{made['id']}"})


def _create(_reader: Reader, keys: ApiKeys, wanted: KeyRequest) -> dict[str, Any]:
    expires_at = None if wanted.expires_at is None else format_instant(wanted.expires_at)
    return keys.create(
        role=wanted.role, customer=wanted.customer, note=wanted.note, expires_at=expires_at
    )


async def listed(call: Call) -> Response:
    """Return keys without their secrets, in order of id."""
    return reply(await call.service.readers.read(_page, call.service.keys, call.query))


def _page(_reader: Reader, keys: ApiKeys, query: dict[str, Any]) -> dict[str, Any]:
    items, following = keys.page(after=query.get("after"), limit=query.get("limit", 100))
    return {"items": items, "next": following}


async def show(call: Call) -> Response:
    """Return a key without its secret."""
    return reply(await call.service.readers.read(_one, call.service.keys, call.path["key"]))


def _one(_reader: Reader, keys: ApiKeys, name: str) -> dict[str, Any]:
    return keys.get(name)


async def revoke(call: Call) -> Response:
    """Put a key out of force for ever."""
    revoked = await call.service.readers.read(_revoke, call.service.keys, call.path["key"])
    await call.service.keyring.renew()
    return reply(revoked)


def _revoke(_reader: Reader, keys: ApiKeys, name: str) -> dict[str, Any]:
    return keys.revoke(name)
