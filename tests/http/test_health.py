"""Health: readiness is true when requests can be served, and asks the database once a second."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from adapters.event_store.store import PostgresEventStore
from application.ports import ConnectionLostError
from application.tollbook import Tollbook
from entrypoints.bootstrap import tollbook_on
from entrypoints.http.health import FRESH_SECONDS, Health
from entrypoints.http.metrics import Metrics
from entrypoints.http.service import Probe
from entrypoints.projecting import Following
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer
from tests.support.views import eventually_current


class Watched:
    """A database that counts what it is asked, and can be made to fail, or to say nothing."""

    def __init__(self, store: PostgresEventStore) -> None:
        self._store = store
        self.asked = 0
        self.down = False
        self.speaks = threading.Event()
        self.speaks.set()

    def run(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Pass a query on."""
        self.asked += "clock_us()" in query
        self.speaks.wait(20)
        if self.down:
            raise ConnectionLostError("it is down")
        return self._store.run(query, parameters)


@pytest.fixture
def ledger(embedded_database: TestDatabase) -> Iterator[Tollbook]:
    """Give the test a ledger with one customer."""
    with tollbook_on(embedded_database.parts) as opened:
        a_customer(opened)
        yield opened


@pytest.fixture
def watched(embedded_database: TestDatabase) -> Iterator[Watched]:
    """Give the test a connection that it can break."""
    with closing(PostgresEventStore(embedded_database.app_url)) as store:
        yield Watched(store)


class Watch:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def examined(
    ledger: Tollbook,
    watched: Watched,
    scenario: Callable[[Health, Watch], Awaitable[None]],
    projector_lives: Callable[[], bool] | None = None,
) -> None:
    """Run a scenario on an event loop."""

    async def run() -> None:
        watch = Watch()
        health = Health(watched.run, Metrics(ledger.executor), projector_lives, watch)
        try:
            await scenario(health, watch)
        finally:
            watched.speaks.set()
            health.close()

    asyncio.run(run())


def read(probe: Probe) -> dict[str, Any]:
    """Read a probe's document."""
    found: dict[str, Any] = json.loads(probe.body)
    return found


def test_it_is_ready_while_the_database_answers(ledger: Tollbook, watched: Watched) -> None:
    async def scenario(health: Health, watch: Watch) -> None:
        ready = await health.readyz()
        assert (ready.status, read(ready)["position"]) == (200, 3)
        watched.down = True
        assert (await health.readyz()).status == 200  # still what was seen a moment ago
        watch.now += FRESH_SECONDS
        broken = await health.readyz()
        assert (broken.status, broken.media_type) == (503, "application/problem+json")
        assert "database" in read(broken)["detail"]
        assert read(broken)["code"] == "unavailable"
        assert (await health.healthz()).status == 200
        assert b"tollbook_ready 0.0" in (await health.metrics()).body
        assert b"tollbook_ledger_position" not in (await health.metrics()).body
        watched.down = False
        watch.now += FRESH_SECONDS
        assert (await health.readyz()).status == 200
        assert b"tollbook_ledger_position 3.0" in (await health.metrics()).body

    examined(ledger, watched, scenario)


def test_a_silent_database_is_not_waited_for_and_not_asked_again(
    ledger: Tollbook, watched: Watched
) -> None:
    async def scenario(health: Health, watch: Watch) -> None:
        watched.speaks.clear()
        probes = await asyncio.gather(*(health.readyz() for _ in range(50)))
        assert {probe.status for probe in probes} == {503}
        for _ in range(2):
            watch.now += FRESH_SECONDS
            assert (await health.readyz()).status == 503
        assert watched.asked == 1

    examined(ledger, watched, scenario)


def test_whoever_asks_in_one_second_costs_one_query(ledger: Tollbook, watched: Watched) -> None:
    async def scenario(health: Health, watch: Watch) -> None:
        await asyncio.gather(*(health.readyz() for _ in range(100)))
        for _ in range(100):
            await health.readyz()
            await health.metrics()
        assert watched.asked == 1
        watch.now += FRESH_SECONDS
        await health.readyz()
        assert watched.asked == 2

    examined(ledger, watched, scenario)


def test_a_dead_projector_is_told(ledger: Tollbook, watched: Watched) -> None:
    lives = True

    async def scenario(health: Health, watch: Watch) -> None:
        nonlocal lives
        assert (await health.readyz()).status == 200
        lives = False
        watch.now += FRESH_SECONDS
        broken = await health.readyz()
        assert broken.status == 503
        assert "projector" in read(broken)["detail"]

    examined(ledger, watched, scenario, lambda: lives)


def test_a_clock_behind_the_ledger_is_told(
    embedded_database: TestDatabase, ledger: Tollbook, watched: Watched
) -> None:
    async def scenario(health: Health, _: Watch) -> None:
        ahead = "UPDATE ledger_head SET recorded_at = clock_us() + 10000000"
        embedded_database.query(f"SET session_replication_role = replica; {ahead}")
        broken = await health.readyz()
        assert broken.status == 503
        assert "clock" in read(broken)["detail"]

    examined(ledger, watched, scenario)


def test_views_of_an_older_program_do_not_make_a_server_unready_and_are_built_anew(
    embedded_database: TestDatabase, ledger: Tollbook, watched: Watched
) -> None:
    embedded_database.query("DROP TABLE views.fraud_cases, views.fraud_steps")
    embedded_database.query("UPDATE views.checkpoint SET fingerprint = 'older'")

    async def unbuilt(health: Health, _: Watch) -> None:
        assert (await health.readyz()).status == 200
        told = (await health.metrics()).body
        assert b"tollbook_ready 1.0" in told
        assert b"tollbook_parked_usage 0.0" in told
        assert b"tollbook_fraud_cases" not in told

    async def built(health: Health, _: Watch) -> None:
        assert (await health.readyz()).status == 200
        assert b"tollbook_fraud_cases 0.0" in (await health.metrics()).body

    examined(ledger, watched, unbuilt)
    following = Following(embedded_database.parts)
    try:
        eventually_current(embedded_database)
        examined(ledger, watched, built, following.is_alive)
    finally:
        following.stop()
