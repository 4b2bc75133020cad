"""Lists over HTTP: pages of the log, of the views, and of what the keys and the prices are."""

from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from tollbook.errors import Invalid, NotFound
from tollbook.times import format_instant

from adapters.event_store.event_page import event_page
from application.license_desk import Prepared
from domain.events import PricesPublished
from domain.values import is_id
from entrypoints.http.bodies import read_object
from entrypoints.http.customers import wait
from entrypoints.http.readers import Reader
from entrypoints.http.roles import USING
from entrypoints.http.routing import Call, Handler, no_customer, reply
from projections import charges, checkpoint, commands, journal, parked, prices, usage
from projections.paging import Page

Query = dict[str, Any]


def listing(page: Callable[..., Page]) -> Handler:
    """Return the handler of a list that takes its query's parameters as they are."""

    def read(reader: Reader, filters: Query) -> Any:
        found = page(reader.run, **filters)
        return {"items": found.items, "next": found.next}

    async def handle(call: Call) -> Response:
        await wait(call)
        filters = {name: value for name, value in call.query.items() if name != "wait_for"}
        if "order" in filters:
            filters["newest_first"] = filters.pop("order") == "desc"
        if "customer" in call.route.parameters():
            filters["customer"] = call.customer_filter()
        return reply(await call.service.readers.read(read, filters))

    return handle


listed_charges = listing(charges.page)
listed_usage = listing(usage.page)
listed_journal = listing(journal.page)
listed_parked = listing(parked.page)


async def parked_record(call: Call) -> Response:
    """Return a parked usage record."""
    await wait(call)
    return reply(await call.service.readers.read(_parked, call.path["parked"]))


def _parked(reader: Reader, name: str) -> dict[str, Any]:
    found = parked.one(reader.run, name) if is_id(name) else None
    if found is None:
        raise NotFound(f"there is no parked usage {name}", field="parked", value=name)
    return found


async def events(call: Call) -> Response:
    """Return events as they are stored, in order of position."""
    query = {**call.query, "customer": call.customer_filter()}
    return Response(await call.service.readers.read(_events, query), media_type="application/json")


def _events(reader: Reader, query: Query) -> bytes:
    customer = query["customer"]
    items, following = event_page(
        reader.run,
        after=query.get("after", 0),
        limit=query.get("limit", 100),
        customer=customer,
    )
    shown = "null" if following is None else following
    return f'{{"events":[{",".join(items)}],"next":{shown}}}'.encode()


async def listed_commands(call: Call) -> Response:
    """Return the outcome of one command by its id, or a page of the commands decided so far."""
    query = dict(call.query)
    if "id" in query:
        return reply(await call.service.readers.read(_outcome, query, call))
    if "source" in query:
        raise Invalid.because("id", None, "given together with source")
    return reply(await call.service.readers.read(_commands, query))


def _outcome(reader: Reader, query: Query, call: Call) -> dict[str, Any]:
    given = [name for name in ("customer", "source") if name in query]
    for name in query.keys() - {"id", "kind", "customer", "source"}:
        raise Invalid.because(name, query[name], "absent where one command is asked for")
    if "kind" not in query:
        raise Invalid.because("kind", None, "given together with id")
    if len(given) > 1:
        raise Invalid.because("source", query["source"], "absent where a customer is given")
    scope = query[given[0]] if given else ""
    answer = reader.ledger.outcome(query["kind"], scope, query["id"])
    problem = answer.problem()
    if problem is None:
        added = call.service.desk.complete(Prepared(query["kind"], {}), answer, reader.store)
        if call.who.role not in USING:
            added.pop("token", None)  # it opens what only they may use
        return {"status": "done", **answer.result(), **added}
    assert answer.recorded is not None
    told = {**problem.problem(), "position": answer.recorded.position}
    return {**told, "id": answer.id, "status": "refused"}


def _commands(reader: Reader, query: Query) -> dict[str, Any]:
    newest_first = query.pop("order", "asc") == "desc"
    found = commands.page(reader.run, newest_first=newest_first, **query)
    return {"items": found.items, "next": found.next}


async def all_prices(call: Call) -> Response:
    """Return the versions of all price books, in the order in which they were published.

    A customer's key lists those of its own books: what others pay is none of its business.
    """
    return reply(await call.service.readers.read(_all_prices, call.who.customer, call.query))


async def book_prices(call: Call) -> Response:
    """Return the versions of one price book."""
    book, own = call.path["book"], call.who.customer
    return reply(await call.service.readers.read(_book_prices, book, own, call.query))


def _all_prices(reader: Reader, own: str | None, query: Query) -> dict[str, Any]:
    after, limit = query.get("after", 0), query.get("limit", 100)
    if own is None:
        found = prices.published(reader.run, after=after, limit=limit + 1)
    else:
        found = prices.published_for(reader.run, own, after=after, limit=limit + 1)
    return _versions(reader, found, limit)


def _book_prices(reader: Reader, book: str, own: str | None, query: Query) -> dict[str, Any]:
    after, limit = query.get("after", 0), query.get("limit", 100)
    is_seen = is_id(book) and (own is None or book in prices.books_of(reader.run, own))
    found = prices.published(reader.run, book=book, after=after, limit=limit + 1) if is_seen else []
    if not found and not (is_seen and after):
        raise NotFound(f"there is no price book {book}", field="book", value=book)
    return _versions(reader, found, limit)


def _versions(reader: Reader, found: list[int], limit: int) -> dict[str, Any]:
    """Return a page of versions; one position more than fits says that another page follows."""
    events = reader.store.at(found[:limit])
    items = []
    for position in found[:limit]:
        event = events[position].event
        assert isinstance(event, PricesPublished)
        items.append(
            {
                "id": events[position].command,
                "book": event.book,
                "currency": event.currency,
                "version": event.version,
                "effective_from": format_instant(event.effective_from),
                "models": event.models,
                "position": position,
            }
        )
    return {"items": items, "next": found[limit - 1] if len(found) > limit else None}


async def projections(call: Call) -> Response:
    """Return how far the views are behind the ledger."""
    return reply(await call.service.readers.read(_lag))


def _lag(reader: Reader) -> dict[str, Any]:
    return checkpoint.lag(reader.run)


async def quote(call: Call) -> Response:
    """Return what usage would cost now, and whether a reservation for it would be admitted."""
    body = await read_object(call.request)
    customer, own = body.get("customer"), call.who.customer
    if own is not None and isinstance(customer, str) and customer != own:
        raise no_customer(customer)
    return reply(await call.service.readers.read(_quote, body))


def _quote(reader: Reader, body: dict[str, Any]) -> dict[str, Any]:
    return reader.ledger.quote(body)
