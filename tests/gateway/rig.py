"""A ledger with licences behind a gateway's core, for the tests of this folder.

The loop runs on a thread of its own, as in the process that users start; tests look at the ledger
behind it as well.
"""

import asyncio
import faulthandler
import itertools
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from adapters.event_store.store import PostgresEventStore
from application.license_desk import LicenseDesk
from application.tollbook import Tollbook
from domain.event import Recorded
from domain.events import ReservationReleased, ReservationSettled
from domain.inferences import apart
from domain.license_events import LicenseIssued
from domain.usage_events import UsageParked
from entrypoints.bootstrap import Database, license_desk, tollbook_on
from entrypoints.gateway.assembling import Kafka, gateway_on
from entrypoints.gateway.config import GatewayConfig, config_from
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.tracing import Traces

T = TypeVar("T")

PRICES = {
    "textgen": {"input_tokens": "1", "output_tokens": "2"},
    "textgen_stream": {"input_tokens": "1", "output_tokens": "2"},
    "textgen_cached": {"input_tokens": "1", "cached_input_tokens": "0.5", "output_tokens": "2"},
    "pipeline": {"input_tokens": "1", "output_tokens": "2"},
    "slow": {"requests": "0.001"},
    "failing": {"requests": "0.001"},
    "image": {"images": "0.01"},
    "document": {"pages": "0.02"},
    "identity": {"requests": "0.000001"},
    "timed": {"gpu_seconds": "0.5"},
    "computed": {"output_tokens": "2", "compute_units": "0.01"},
    "rag/retrieve": {"requests": "0.001"},
    "rag/write": {"input_tokens": "1", "output_tokens": "2"},
    "rag/polish": {"requests": "0.002"},
    "rag/timed": {"requests": "0.001", "gpu_seconds": "0.5"},
}
"""By model as the price book names it; tokens per million, everything else each."""

TEXT_USAGE = {
    "input_tokens": {"output": "INPUT_TOKENS"},
    "output_tokens": {"output": "OUTPUT_TOKENS"},
}
TEXT_ESTIMATE = {
    "input_tokens": {"input_bytes": "TEXT"},
    "output_tokens": {"input": "MAX_TOKENS", "default": 16, "most": 4096},
}
TEXT = {"usage": TEXT_USAGE, "estimate": TEXT_ESTIMATE, "request_id_output": "REQUEST_ID"}
ONE = {"usage": {"requests": {"constant": 1}}}

METERS: list[dict[str, Any]] = [
    {"name": "textgen", **TEXT},
    {"name": "textgen_stream", **TEXT},
    {"name": "textgen_cached", **TEXT, "cache_hit": "as_cached_input"},
    {"name": "pipeline", **TEXT},
    {"name": "slow", **ONE},
    {"name": "failing", **ONE},
    {"name": "image", "usage": {"images": {"input_shape": "IMAGE", "axis": 0}}},
    {"name": "document", "usage": {"pages": {"input_shape": "PAGES"}}},
    {"name": "identity", **ONE},
]
"""How the models of adapters/triton/models are metered."""

STOP_SECONDS = 60

_numbers = itertools.count(1)


def configured(
    grpc: str = "127.0.0.1:1",
    http: str = "127.0.0.1:1",
    *,
    meters: list[dict[str, Any]] | None = None,
    traces: str | None = None,
    **more: Any,
) -> GatewayConfig:
    """Return a configuration with one pool."""
    pool: dict[str, Any] = {"name": "shared", "grpc": grpc, "http": http}
    if traces is not None:
        pool["traces"] = traces
    return config_from({"pool": [pool], "model": METERS if meters is None else meters, **more})


class Rig:
    """A ledger, and a loop on which gateways run."""

    def __init__(self, database: Database, tollbook: Tollbook, desk: LicenseDesk) -> None:
        """Use an open ledger; the loop begins with `running`."""
        self.database = database
        self.tollbook = tollbook
        self._desk = desk
        self._store = tollbook.store
        self.loop = uvloop.new_event_loop()

    def call(self, work: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        """Run a coroutine on the loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def now(self, function: Callable[[], T]) -> T:
        """Call a function on the loop's thread."""

        async def calling() -> T:
            return function()

        return self.call(calling())

    def licensee(self, amount: str = "100", **terms: Any) -> "Licensee":
        """Make a customer with a grant and a licence of its own."""
        name = f"cust-{next(_numbers)}"
        run = self.tollbook.run
        run("create_customer", {"id": name, "name": name, "currency": "USD"}).result()
        grant = {"id": f"grant-{name}", "customer": name, "kind": "paid", "amount": amount}
        run("issue_grant", grant).result()
        return self.licensed(name, **terms)

    def licensed(self, customer: str, **terms: Any) -> "Licensee":
        """Give a customer a licence, by default of the professional tier."""
        license = f"lic-{next(_numbers)}"
        body = {"id": license, "customer": customer, "template": "professional", **terms}
        prepared = self._desk.prepare("issue_license", body, self._store)
        answer = self.tollbook.run("issue_license", prepared.body)
        answer.result()
        key = self._desk.complete(prepared, answer, self._store)["license_key"]
        return Licensee(self, customer, license, str(key))

    @contextmanager
    def gateway(
        self,
        home: Path,
        config: GatewayConfig | None = None,
        traces: Traces | None = None,
        *,
        kafka: Kafka | None = None,
        redis: str | None = None,
    ) -> Iterator[Gateway]:
        """Run a gateway's core, without any front."""
        stack = AsyncExitStack()
        core = gateway_on(
            self.database, self.tollbook, config or configured(), home, traces, kafka, redis=redis
        )
        try:
            yield self.call(stack.enter_async_context(core))
        finally:
            self.call(stack.aclose())


class Licensee:
    """A customer with a licence and its key."""

    def __init__(self, rig: Rig, customer: str, license: str, key: str) -> None:
        """Belong to a rig."""
        self.rig = rig
        self.customer = customer
        self.license = license
        self.key = key

    @property
    def headers(self) -> dict[str, str]:
        """What the public clients are given, and nothing else changes for them."""
        return {"tollbook-license-key": self.key}

    def events(self) -> list[Recorded]:
        """Return what happened to the customer after the licence, in order."""
        store = self.rig.tollbook.store
        found = list(store.customer_events(self.customer, 0, store.head().position))
        last = max(n for n, each in enumerate(found) if isinstance(each.event, LicenseIssued))
        return [each for recorded in found[last + 1 :] for each in apart(recorded)]

    def names(self) -> list[str]:
        """Return the names of what happened to the customer after the licence, in order."""
        return [each.event.NAME for each in self.events()]

    def charged_after_all(self) -> dict[str, int]:
        """Have what is parked be charged by hand, and return its usage."""
        (parked,) = [each.event for each in self.events() if isinstance(each.event, UsageParked)]
        body = {"id": f"release-{parked.parked}", "parked": parked.parked}
        self.rig.tollbook.run("release_usage", body).result()
        return dict(self.charges()[-1].usage)

    def charges(self) -> list[ReservationSettled]:
        """Return what was charged, oldest first."""
        found = [each.event for each in self.events()]
        return [event for event in found if isinstance(event, ReservationSettled)]

    def releases(self) -> list[ReservationReleased]:
        """Return what was given back as a whole, oldest first."""
        found = [each.event for each in self.events()]
        return [event for event in found if isinstance(event, ReservationReleased)]

    def until(self, count: int, seconds: float = 60) -> list[ReservationSettled]:
        """Wait until there are so many charges, and return them."""
        end = time.monotonic() + seconds
        while len(found := self.charges()) < count and time.monotonic() < end:
            time.sleep(0.02)
        assert len(found) == count, found
        return found


@contextmanager
def rig_on(database: Database) -> Iterator[Rig]:
    """Open a ledger with prices for every model, and a loop on a thread."""
    with (
        tollbook_on(database) as tollbook,
        closing(PostgresEventStore(database.app_url)) as store,
    ):
        models = [{"name": name, "prices": prices} for name, prices in PRICES.items()]
        book = {"id": "default", "currency": "USD", "effective_from": "2020-01-01T00:00:00Z"}
        tollbook.publish({**book, "models": models}).result()
        rig = Rig(database, tollbook, license_desk(database, store))
        thread = threading.Thread(target=rig.loop.run_forever, daemon=True)
        thread.start()
        try:
            yield rig
        finally:
            rig.loop.call_soon_threadsafe(rig.loop.stop)
            thread.join(STOP_SECONDS)
            if thread.is_alive():  # else the whole run would wait here, and nobody could say why
                faulthandler.dump_traceback(all_threads=True)
                raise AssertionError("something holds up the gateways' loop: see the threads above")
            rig.loop.close()
