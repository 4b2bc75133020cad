"""Random ledgers for the audit: every kind of command, on a clock that jumps over expiries."""

import random
from collections.abc import Callable
from typing import Any

from tollbook.errors import Invalid
from tollbook.times import format_instant

from adapters.clock import TraceClock
from application.executor import Executor
from application.jobs import Item
from domain.commands import parse
from domain.parking import parked_id
from tests.integration.random_prices import random_models
from tests.integration.registry_workload import registry_command
from tests.support.memory_store import MemoryEventStore

SECOND = 1_000_000
DAY = 86_400 * SECOND
NEW_YEAR = 1_704_067_200 * SECOND
"""2024-01-01T00:00:00Z."""

MODELS = ("tiered", "tiered", "tiered", "flat", "measured", "unknown")
ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Pacific/Chatham")
LATER = ("later-1", "later-2")
"""Customers who may be named before there is anybody by that id."""

JUMPS = (0, 1, 1000, SECOND, 5 * SECOND, 60 * SECOND, 300 * SECOND, 3600 * SECOND)

Rows = list[tuple[Any, ...]]


def rows_of(store: MemoryEventStore) -> Rows:
    """Return the stored events as rows: the envelope, and the payload's text."""
    return [(*stored.envelope[:13], stored.data.decode()) for stored in store.stored]


Made = Item | None | list[Item | None]
"""What an action sends: one command, several, or none."""


class Workload:
    """Sends random commands to a ledger in memory; the same seed sends the same ones."""

    def __init__(self, seed: int) -> None:
        """Start an empty ledger somewhere in the first month of 2024."""
        self.random = random.Random(seed)
        self.store = MemoryEventStore("trace")
        self.executor = Executor(self.store, TraceClock(0))
        self.now = NEW_YEAR + self.random.randrange(31) * DAY
        self.effective_from = self.now - DAY
        self.customers: list[str] = []
        self.reservations: list[tuple[str, str, str]] = []
        self.several: list[tuple[str, str, str]] = []
        """Those that are for several inferences."""
        self.parked: list[str] = []
        self.number = 0

    def run(self, steps: int) -> Rows:
        """Send commands in small batches and return all events."""
        kinds, weights = zip(*self._actions(), strict=True)
        waiting = [self._publish(), self._customer(), self._customer()]
        for step in range(steps):
            self._let_time_pass()
            made = self.random.choices(kinds, weights)[0]()
            waiting += made if isinstance(made, list) else [made]
            if self.random.random() < 0.5 or step == steps - 1:
                self.executor.execute([item for item in waiting if item], timeout=None)
                waiting = []
        self.executor.close()
        return rows_of(self.store)

    def _actions(self) -> list[tuple[Callable[[], Made], float]]:
        """Return what may be sent, with how often it is."""
        kinds = (
            *(self._reserve, self._settle, self._extend, self._release, self._usage),
            *(self._grant, self._change, self._publish, self._release_usage, self._newcomer),
            *(self._of_registry, self._parts),
        )
        weights = (34, 24, 8, 4, 14, 12, 3, 2, 8, 0.3, 8, 8)
        return list(zip(kinds, weights, strict=True))

    def _let_time_pass(self) -> None:
        choice = self.random.random()
        if choice < 0.5:
            self.now += self.random.choice(JUMPS)
        elif choice < 0.51:
            self.now += self.random.randint(1, 20) * DAY

    def _item(self, command: str, /, **body: Any) -> Item | None:
        """Make a command; a random body may be one that no command accepts."""
        try:
            return Item(parse(command, body), at=self.now)
        except Invalid:
            return None

    def _id(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}{self.number}"

    def _publish(self) -> Item | None:
        chosen = self.random
        if self.store.stored:
            ahead = chosen.choice((1, 30 * SECOND, 600 * SECOND))
            self.effective_from = max(self.effective_from, self.now) + ahead
        effective_from = format_instant(self.effective_from)
        name = "default" if not self.store.stored or chosen.random() < 0.8 else "other"
        book = {
            "id": name,
            "currency": "USD" if name == "default" or chosen.random() < 0.8 else "EUR",
            "effective_from": effective_from,
            "models": random_models(chosen),
        }
        return self._item("publish_prices", id=f"{name}:{effective_from}", book=book)

    def _of_registry(self) -> Item | None:
        """Send a command of the model registry or of the export list."""
        kind, body = registry_command(self.random, self.now, MODELS)
        return self._item(kind, id=self._id("registry"), **body)

    def _newcomer(self) -> Item | None:
        """Create a customer whom usage may have named already."""
        names = [name for name in LATER if name not in self.customers]
        return self._customer(names[0]) if names else None

    def _customer(self, name: str | None = None) -> Item | None:
        self.customers.append(name or self._id("customer"))
        return self._item(
            "create_customer",
            id=self.customers[-1],
            name_sealed="sealed",
            currency="USD",
            credit_limit=self.random.choice(("0", "0.01", "1")),
            time_zone=self.random.choice(ZONES),
        )

    def _change(self) -> Item | None:
        body: dict[str, Any] = {}
        if self.random.random() < 0.7:
            body["credit_limit"] = self.random.choice(("0", "0.001", "0.5", "2"))
        if self.random.random() < 0.2:
            body["time_zone"] = self.random.choice(ZONES)
        if self.random.random() < 0.2:
            body["price_book"] = self.random.choice(("default", "default", "other", "none"))
        if self.random.random() < 0.2:
            body["plan"] = self.random.choice(("standard", "standard", "reserved_only"))
        name = self.random.choice(self.customers)
        return self._item("change_customer", id=self._id("change"), customer=name, **body)

    def _grant(self) -> Item | None:
        body: dict[str, Any] = {}
        if self.random.random() < 0.5:
            lives = self.random.choice((1, SECOND, 60 * SECOND, 3600 * SECOND, 10 * DAY))
            body["expires_at"] = format_instant(self.now + lives)
        if self.random.random() < 0.3:
            body["models"] = self.random.sample(("tiered", "flat", "measured"), 2)
        return self._item(
            "issue_grant",
            id=self._id("grant"),
            customer=self.random.choice(self.customers),
            amount=self.random.choice(("0.001", "0.01", "0.05", "1.000000000001")),
            kind=self.random.choice(("paid", "promotional")),
            priority=self.random.choice((1, 100, 100)),
            **body,
        )

    def _quantities(self, model: str) -> dict[str, Any]:
        chosen = self.random
        if model == "measured":
            seconds = chosen.choice(("0", "1.5", "0.000001", "12"))
            return {"gpu_seconds": seconds, "pages": chosen.randint(0, 3)}
        usage = {
            "input_tokens": chosen.choice((0, 1, 99, 100, 101, 400, 1000)),
            "output_tokens": chosen.choice((0, 1, 50, 200, 500)),
        }
        if chosen.random() < 0.2:
            usage["cached_input_tokens"] = chosen.randint(0, 300)
        if chosen.random() < 0.1:
            usage["requests"] = 1
        if chosen.random() < 0.2:
            del usage[chosen.choice(("input_tokens", "output_tokens"))]
        return usage

    def _reserve(self) -> Item | None:
        model = self.random.choice(MODELS)
        body = self._time_to_live()
        if self.random.random() < 0.2:
            body["inferences"] = self.random.randint(2, 4)
        customer = self.random.choice(self.customers)
        self.reservations.append((self._id("reservation"), model, customer))
        if "inferences" in body:
            self.several.append(self.reservations[-1])
        return self._item(
            "reserve",
            id=self.reservations[-1][0],
            customer=customer,
            model=model,
            estimate=self._quantities(model),
            **body,
            **self._licence_of_use(customer),
        )

    def _licence_of_use(self, _customer: str) -> dict[str, Any]:
        """Return what a reservation says of a licence: nothing here."""
        return {}

    def _licence_of_record(self, _customer: str) -> dict[str, Any]:
        """Return what a usage record says of a licence: nothing here."""
        return {}

    def _time_to_live(self) -> dict[str, Any]:
        if self.random.random() < 0.5:
            return {}
        return {"ttl_seconds": self.random.choice((1, 5, 60, 3600, 86_400))}

    def _one_of_the_last(self) -> tuple[str, str, str]:
        """Return one of the last reservations, with its model and its customer."""
        none = ("reservation0", "tiered", self.customers[0])
        return self.random.choice(self.reservations[-8:] or [none])

    def _settle(self) -> Item | None:
        name, model, _ = self._one_of_the_last()
        body: dict[str, Any] = {"final": self.random.random() < 0.6}
        if self.random.random() < 0.3:
            away = self.random.choice((-5 * SECOND, -1000, 0, 5 * SECOND))
            body["occurred_at"] = format_instant(self.now + away)
        usage = self._quantities(model)
        return self._item("settle", id=self._id("settle"), reservation=name, usage=usage, **body)

    def _extend(self) -> Item | None:
        name, model, _ = self._one_of_the_last()
        body = self._time_to_live()
        if self.random.random() < 0.7:
            body["estimate"] = self._quantities(model)
        return self._item("extend", id=self._id("extend"), reservation=name, **body)

    def _release(self) -> Item | None:
        name, _, _ = self._one_of_the_last()
        return self._item("release", id=self._id("release"), reservation=name)

    def _usage(self) -> Item | None:
        """Send a record that is charged, or parked for any of the reasons there are."""
        chosen = self.random
        model, body = chosen.choice(MODELS), dict[str, Any]()
        customer = chosen.choice([*self.customers, chosen.choice(LATER)])
        away: tuple[int, ...] = (0, 5 * SECOND, -1, -5 * DAY, 5 * SECOND + 1)
        if chosen.random() < 0.7:
            name, model, owner = self._one_of_the_last()
            body["reservation"] = chosen.choice((name, name, name, f"reservation{self.number + 3}"))
            customer = chosen.choice((owner, owner, owner, customer))
            model = chosen.choice((model, model, model, "flat"))
            away = (0, -1000, 5 * SECOND, 5 * SECOND + 1, -400 * SECOND)
        usage = self._quantities(model) if chosen.random() < 0.95 else {"wishes": 1}
        name = self._id("usage")
        self.parked.append(parked_id("batch", name))
        reason = {} if chosen.random() < 0.95 else {"reason": "odd"}
        return self._item(
            "park_usage" if reason else "usage",
            id=name,
            source="batch",
            customer=customer,
            model=model,
            usage=usage,
            occurred_at=format_instant(self.now + chosen.choice(away)),
            **body,
            **reason,
            **self._licence_of_record(customer),
        )

    def _parts(self) -> list[Item | None]:
        """Send records of inferences that one reservation pays, all at once."""
        if not self.several:
            return []
        name, model, customer = self.random.choice(self.several[-3:])
        hashes = {"request_hash": "0a" * 32, "response_hash": "f9" * 32}
        return [
            self._item(
                "usage",
                id=self._id("usage"),
                source=self.random.choice(("batch", "batch", "batch", "other")),
                customer=customer,
                model=model,
                reservation=name,
                usage=self._quantities(model),
                occurred_at=format_instant(self.now - self.random.choice((0, 0, 1000))),
                final=self.random.random() < 0.1,
                **(hashes if self.random.random() < 0.5 else {}),
            )
            for _ in range(self.random.randint(2, 6))
        ]

    def _release_usage(self) -> Item | None:
        """Release one of the last records; not every one is parked."""
        parked = self.random.choice(self.parked[-12:] or [parked_id("batch", "none")])
        return self._item("release_usage", id=self._id("unpark"), parked=parked)
