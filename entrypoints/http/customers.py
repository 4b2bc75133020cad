"""Customers over HTTP: terms, money, grants, caps and blocks, read from the log itself."""

from typing import Any

from starlette.responses import Response
from tollbook.errors import NotFound
from tollbook.times import format_instant

from application.loading import load_balance
from application.replaying import Target, parse_target
from domain import capping
from domain.allocation import NEVER, Grant
from domain.balance import Balance, view
from domain.event import Recorded
from domain.events import GrantIssued, GrantsExpired
from domain.fraud import blocked_since
from domain.outcomes import money
from entrypoints.http.readers import Reader
from entrypoints.http.roles import NAMING
from entrypoints.http.routing import Call, no_customer, reply
from projections import as_of, balances

_MONEY = ("available", "held", "granted", "spent", "receivable", "credit_limit")


class Seen:
    """A customer's state at the head of the log, and the instant at which it is looked at."""

    def __init__(self, reader: Reader, customer: str) -> None:
        """Fold the customer's events; raises NotFound for an unknown one."""
        ledger = reader.ledger
        head = ledger.store.head()
        self.position = head.position
        self.balance: Balance = load_balance(ledger.store, customer, head.position)
        if self.balance.customer is None:
            raise no_customer(customer)
        self.terms = self.balance.customer
        self.now = ledger.now()

    def money(self, amount: int) -> dict[str, str]:
        """Write an amount in the customer's currency."""
        return money(amount, self.terms.currency)


async def show(call: Call) -> Response:
    """Return a customer's terms; the name goes to those who may see it."""
    customer, named = call.own_customer(), call.who.role in NAMING
    return reply(await call.service.readers.read(_customer, customer, named))


def _customer(reader: Reader, customer: str, named: bool) -> dict[str, Any]:
    seen = Seen(reader, customer)
    terms, since = seen.terms, blocked_since(seen.balance)
    name = reader.ledger.opened_name(customer, terms.name_sealed) if named else None
    return {
        "id": terms.id,
        "name": name,
        "currency": terms.currency,
        "credit_limit": seen.money(terms.credit_limit),
        "time_zone": terms.time_zone,
        "price_book": terms.price_book,
        "plan": terms.plan,
        "blocked_at": None if since is None else format_instant(since),
        "position": seen.position,
    }


async def listed(call: Call) -> Response:
    """Return customers with their balances, in order of id."""
    await wait(call)
    named = call.who.role in NAMING
    return reply(await call.service.readers.read(_customers, dict(call.query), named))


def _customers(reader: Reader, query: dict[str, Any], named: bool) -> dict[str, Any]:
    found = balances.page(reader.run, after=query.get("after"), limit=query.get("limit", 100))
    for item in found.items:
        sealed = item.pop("name_sealed")
        item["name"] = reader.ledger.opened_name(item["id"], sealed) if named else None
    return {"items": found.items, "next": found.next}


async def wait(call: Call) -> None:
    """Wait until the views hold the position that the query asks for, if it asks."""
    wanted = call.query.get("wait_for")
    if wanted is not None:
        await call.service.readers.wait_for(wanted)


async def balance(call: Call) -> Response:
    """Return a customer's balance, now or as it was at a position or a time."""
    customer, at = call.own_customer(), call.query.get("at")
    target = None if at is None else parse_target(at, "at")
    return reply(await call.service.readers.read(_balance, customer, target))


def _balance(reader: Reader, customer: str, target: Target | None) -> dict[str, Any]:
    if target is not None:
        return as_of.balance_at(reader.store, customer, target)
    seen = Seen(reader, customer)
    totals = view(seen.balance, seen.now)
    return {
        "customer": customer,
        **{name: seen.money(getattr(totals, name)) for name in _MONEY},
        "position": seen.position,
        "at": format_instant(seen.now),
    }


async def grants(call: Call) -> Response:
    """Return what is left of a customer's grants, in burn order."""
    return reply(await call.service.readers.read(_grants, call.own_customer()))


def _grants(reader: Reader, customer: str) -> dict[str, Any]:
    seen = Seen(reader, customer)
    items = [_left(seen, grant) for grant in seen.balance.grants if grant.expires_at > seen.now]
    return {"items": items, "next": None}


def _left(seen: Seen, grant: Grant) -> dict[str, Any]:
    expires_at = grant.expires_at
    return {
        "id": grant.id,
        "kind": grant.kind,
        "priority": grant.priority,
        "expires_at": None if expires_at == NEVER else format_instant(expires_at),
        "models": None if grant.models is None else list(grant.models),
        "free": seen.money(grant.free),
        "held": seen.money(grant.held),
    }


async def grant(call: Call) -> Response:
    """Return one grant: as it was issued, and what is left of it."""
    customer, name = call.own_customer(), call.path["grant"]
    return reply(await call.service.readers.read(_grant, customer, name))


def _grant(reader: Reader, customer: str, name: str) -> dict[str, Any]:
    seen = Seen(reader, customer)
    issued = _issued(reader, name, seen.position)
    event = None if issued is None else issued.event
    if issued is None or not isinstance(event, GrantIssued) or event.customer != customer:
        raise NotFound(f"there is no grant {name}", field="grant", value=name)
    left = next((each for each in seen.balance.grants if each.id == name), None)
    expires_at = event.expires_at
    is_over = expires_at is not None and expires_at <= seen.now
    return {
        "id": name,
        "kind": event.kind,
        "priority": event.priority,
        "expires_at": None if expires_at is None else format_instant(expires_at),
        "models": None if event.models is None else list(event.models),
        "amount": seen.money(event.amount),
        "overdraft_repaid": seen.money(event.overdraft_repaid),
        "free": seen.money(0 if left is None or is_over else left.free),
        "held": seen.money(0 if left is None else left.held),
        "position": issued.position,
    }


def _issued(reader: Reader, name: str, position: int) -> Recorded | None:
    """Return the event that issued a grant."""
    if "\0" in name:
        return None
    for recorded in reader.store.stream_events(f"grant-{name}", position):
        if not isinstance(recorded.event, GrantsExpired):
            return recorded
    return None


async def caps(call: Call) -> Response:
    """Return a customer's caps with what is used and held of each, and when it resets."""
    return reply(await call.service.readers.read(_caps, call.own_customer()))


def _caps(reader: Reader, customer: str) -> dict[str, Any]:
    seen = Seen(reader, customer)
    return {"items": capping.view(seen.balance, seen.now), "next": None}
