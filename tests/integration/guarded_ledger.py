"""A ledger on the trace's clock, with cheap requests: bursts, blocks and caps in a few words."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from tollbook.recompute import Envelope
from tollbook.times import format_instant

from adapters.event_store.mapper import encode
from application.answers import Answer
from application.jobs import Item
from application.tollbook import Tollbook
from domain.balance import Balance
from domain.commands import parse
from tests.model.wire import instant
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger, price_book

NOON = instant("2026-03-10T12:00:00Z")
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
MODEL = "gpt4-equivalent"

PRICES = {"requests": "0.000001", "gpu_seconds": "0.000001"}

Command = tuple[str, dict[str, Any]]


class Guarded:
    """A ledger with the customer `acme`, whose requests cost next to nothing."""

    def __init__(self, ledger: Tollbook) -> None:
        """Publish prices and create the customer, unless that was done before."""
        self.ledger = ledger
        self._numbers = count(ledger.store.head().position + 1)
        if not ledger.prices("default").versions:
            ledger.publish(price_book(prices=PRICES)).result()
            a_customer(ledger, "acme", "1000")

    def send(self, at: int, *commands: Command) -> list[Answer]:
        """Send commands in one job at an instant."""
        items = [Item(parse(kind, body), at=at) for kind, body in commands]
        return self.ledger.executor.execute(items)

    def group(self, at: int, *commands: Command) -> list[Answer]:
        """Send commands that succeed together or not at all."""
        items = [Item(parse(kind, body), at=at) for kind, body in commands]
        return self.ledger.executor.execute(items, atomic=True)

    def one(self, at: int, kind: str, /, **body: Any) -> Answer:
        """Send one command at an instant, under an id of its own unless it brings one."""
        named = "case" in body or ("license" in body and kind != "reserve")
        whose = {} if named else {"customer": "acme"}
        (answer,) = self.send(at, (kind, {"id": self.fresh(kind), **whose, **body}))
        return answer

    def fresh(self, prefix: str) -> str:
        """Return an id that nobody has had."""
        return f"{prefix}-{next(self._numbers)}"

    def use(self, at: int, requests: int, occurred_at: int | None = None) -> Answer:
        """Charge requests directly."""
        return self.send(at, self.usage(requests, at if occurred_at is None else occurred_at))[0]

    def usage(self, requests: int, occurred_at: int) -> Command:
        """Return the command that charges requests directly."""
        return "usage", {
            "id": self.fresh("use"),
            "source": "test",
            "customer": "acme",
            "model": MODEL,
            "usage": {"requests": requests},
            "occurred_at": format_instant(occurred_at),
        }

    def reserve(self, at: int, requests: int = 1, **more: Any) -> Answer:
        """Reserve requests."""
        body = {"model": MODEL, "estimate": {"requests": requests}, **more}
        return self.one(at, "reserve", **body)

    def settle(self, at: int, reservation: str, requests: int, **more: Any) -> Answer:
        """Settle a reservation with requests."""
        body = {"id": self.fresh("settle"), "reservation": reservation, **more}
        (answer,) = self.send(at, ("settle", {**body, "usage": {"requests": requests}}))
        return answer

    def balance(self) -> Balance:
        """Return the customer's state."""
        return self.ledger.balance_state("acme")

    def rows(self) -> list[Envelope]:
        """Return every event of the ledger as it is stored, in order of position."""
        store = self.ledger.store
        events = store.since(0, store.head().position)
        return [Envelope(*each[:13], encode(each.event).decode()) for each in events]

    def events(self, name: str) -> list[Any]:
        """Return the customer's events of a name."""
        store, head = self.ledger.store, self.ledger.store.head().position
        return [each for each in store.customer_events("acme", 0, head) if each.name == name]


@contextmanager
def guarded(database: TestDatabase) -> Iterator[Guarded]:
    """Open the ledger for the length of a block."""
    with open_ledger(database, "trace") as ledger:
        yield Guarded(ledger)
