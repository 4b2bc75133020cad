"""Licences over HTTP: one is read from the log itself, lists from the views."""

from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from tollbook.errors import NotFound

from application.license_desk import no_license
from domain.values import INSTANT_MAX, SECOND
from entrypoints.http.customers import wait
from entrypoints.http.readers import Reader
from entrypoints.http.routing import Call, Handler, reply
from entrypoints.license_documents import (
    LicenseSeen,
    lease_document,
    license_document,
    license_seen,
    policy_document,
    policy_page,
)
from projections import decisions, devices, licenses, seats
from projections.paging import Page

Document = dict[str, Any]

WITHIN_DEFAULT = 30 * 86_400


async def show(call: Call) -> Response:
    """Return a licence as it stands now."""
    name, own = call.path["license"], call.who.customer
    return reply(await call.service.readers.read(_license, name, own))


def _license(reader: Reader, name: str, own: str | None) -> Document:
    seen = _seen(reader, name, own)
    return license_document(seen, decisions.uses(reader.run, [name])[name])


def _seen(reader: Reader, name: str, own: str | None) -> LicenseSeen:
    """Return a licence; to a customer's key, everybody else's do not exist."""
    seen = license_seen(reader.store, name, reader.ledger.now())
    if seen is None or own not in (None, seen.license.customer):
        raise no_license(name)
    return seen


async def lease(call: Call) -> Response:
    """Return a lease of a licence, live or over."""
    names = call.path["license"], call.path["lease"]
    return reply(await call.service.readers.read(_lease, *names, call.who.customer))


def _lease(reader: Reader, license: str, name: str, own: str | None) -> Document:
    found = lease_document(reader.store, _seen(reader, license, own), name)
    if found is None:
        detail = f"licence {license} has no lease {name}"
        raise NotFound(detail, field="lease", value=name)
    return found


async def listed(call: Call) -> Response:
    """Return licences in order of their issue, as they stand now."""
    await wait(call)
    filters = {**call.query, "customer": call.customer_filter()}
    return reply(await call.service.readers.read(_listed, filters))


def _listed(reader: Reader, query: Document) -> Document:
    found = licenses.page(
        reader.run,
        customer=query["customer"],
        status=query.get("status"),
        now=reader.ledger.now(),
        newest_first=query.get("order") == "desc",
        after=query.get("after"),
        limit=query.get("limit", 100),
    )
    return _with_ids(found)


async def expiring(call: Call) -> Response:
    """Return active licences whose end is near, or has come while their grace lasts."""
    await wait(call)
    return reply(await call.service.readers.read(_expiring, dict(call.query)))


def _expiring(reader: Reader, query: Document) -> Document:
    within = query.get("within", WITHIN_DEFAULT)
    found = licenses.expiring(
        reader.run,
        before=min(reader.ledger.now() + within * SECOND, INSTANT_MAX),
        after=query.get("after"),
        limit=query.get("limit", 100),
    )
    return _with_ids(found)


def _with_ids(found: Page) -> Document:
    items = [{"id": item.pop("license"), **item} for item in found.items]
    return {"items": items, "next": found.next}


def _of_license(page: Callable[..., Page]) -> Handler:
    """Return the handler of a list that is about the licence of the path."""

    def read(reader: Reader, name: str, own: str | None, query: Document) -> Document:
        seen = _seen(reader, name, own)
        filters = {name: value for name, value in query.items() if name != "wait_for"}
        if page is seats.page and filters.pop("status", None) is not None:
            filters["live_at"] = seen.now
        found = page(reader.run, name, **filters)
        return {"items": found.items, "next": found.next}

    async def handle(call: Call) -> Response:
        await wait(call)
        name, own = call.path["license"], call.who.customer
        return reply(await call.service.readers.read(read, name, own, call.query))

    return handle


listed_devices = _of_license(devices.page)
listed_seats = _of_license(seats.page)
listed_decisions = _of_license(decisions.page)


async def listed_policies(call: Call) -> Response:
    """Return the newest version of every policy template, in order of name."""
    return reply(await call.service.readers.read(_policies, call.query))


def _policies(reader: Reader, query: Document) -> Document:
    after, limit = query.get("after"), query.get("limit", 100)
    items, following = policy_page(reader.store, reader.run, after, limit)
    return {"items": items, "next": following}


async def policy(call: Call) -> Response:
    """Return a policy template with all its versions."""
    return reply(await call.service.readers.read(_policy, call.path["policy"]))


def _policy(reader: Reader, name: str) -> Document:
    found = policy_document(reader.store, name)
    if found is None:
        raise NotFound(f"there is no policy template {name}", field="template", value=name)
    return found


async def signing_keys(call: Call) -> Response:
    """Return the public keys that leases and signed answers are checked with."""
    return reply(await call.service.readers.read(_signing_keys, call))


def _signing_keys(_reader: Reader, call: Call) -> Document:
    return {"items": call.service.desk.public_keys(), "next": None}
