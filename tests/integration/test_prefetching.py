"""Prefetching: a batch finds in memory what single loads would bring, after a few queries."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from adapters.clock import DatabaseClock
from application import committing, prefetching
from application.catching_up import catch_up
from application.executor import Executor
from application.jobs import Item
from application.loading import load_balance, load_license, load_reservation
from application.prefetching import prefetch
from application.world import World
from domain.commands import parse
from tests.support.counting_store import CountingStore
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, a_customer, open_ledger, reserve

CUSTOMERS = [f"cust-{number}" for number in range(6)]
LICENSES = [f"lic-{number}" for number in range(12)]
"""Two for each customer."""


@pytest.fixture
def store(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CountingStore]:
    """Fill a ledger, of which some customers have snapshots, and open it anew."""
    monkeypatch.setattr(committing, "SNAPSHOT_EVERY", 6)
    limits = [{"id": "day", "unit": "requests", "limit": 50, "per": "day"}]
    with open_ledger(embedded_database) as ledger:
        for name in CUSTOMERS:
            a_customer(ledger, name)
        for number, name in enumerate(LICENSES):
            terms = {"template": "enterprise", "overrides": {"limits": limits}}
            keys = {"key_hash": f"{number:032x}", "key_hint": "abcd"}
            customer = CUSTOMERS[number % len(CUSTOMERS)]
            body = {"id": name, "customer": customer, **terms, **keys}
            ledger.run("issue_license", body).result()
            if number < 9:
                reserve(ledger, f"r-{number}", customer, license=name).result()
    with closing(CountingStore(embedded_database.app_url)) as opened:
        assert sum(opened.snapshot(name) is not None for name in CUSTOMERS) == 3
        yield opened


def validations(names: Sequence[str], prefix: str = "v") -> list[Item]:
    """Return the validations of licences."""
    bodies = [{"id": f"{prefix}-{name}", "license": name, "model": MODEL} for name in names]
    return [Item(parse("validate_license", body)) for body in bodies]


def settlements(count: int) -> list[Item]:
    """Return the settlements of reservations."""
    usage = {"input_tokens": 1}
    bodies = [{"id": f"s-{n}", "reservation": f"r-{n}", "usage": usage} for n in range(count)]
    return [Item(parse("settle", body)) for body in bodies]


def charges(numbers: Sequence[int]) -> list[Item]:
    """Return the usage records of reservations."""
    about = {"source": "s", "model": MODEL, "usage": {"input_tokens": 1}}
    about["occurred_at"] = "2026-01-01T00:00:00Z"
    return [
        Item(parse("usage", {**about, "id": f"r-{n}", "reservation": f"r-{n}", "customer": whose}))
        for n in numbers
        for whose in [CUSTOMERS[n % len(CUSTOMERS)]]
    ]


def fetched(store: CountingStore, world: World, items: list[Item]) -> int:
    """Prefetch for some commands, and return in how many queries."""
    before = store.queries
    prefetch(world, store, items)
    return store.queries - before


def test_what_is_prefetched_is_what_single_loads_would_bring(store: CountingStore) -> None:
    world = World(store)
    assert fetched(store, world, [*validations(LICENSES), *settlements(9)]) == 3
    position = store.head().position
    assert world.licenses == {name: load_license(store, name, position) for name in LICENSES}
    assert world.balances == {name: load_balance(store, name, position) for name in CUSTOMERS}
    names = [f"r-{number}" for number in range(9)]
    assert world.reservations == {name: load_reservation(store, name, position) for name in names}


def test_charges_need_no_query_for_reservations_that_their_customers_holds_tell(
    store: CountingStore, embedded_database: TestDatabase
) -> None:
    with open_ledger(embedded_database) as ledger:
        body = {"id": "part", "reservation": "r-4", "usage": {"input_tokens": 1}, "final": False}
        ledger.run("settle", body).result()
    world = World(store)
    untouched = [n for n in range(9) if n != 4]
    assert fetched(store, world, charges(untouched)) == 1, "that of the balances"
    position = store.head().position
    expected = {f"r-{n}": load_reservation(store, f"r-{n}", position) for n in range(9)}
    assert world.reservations == {name: expected[name] for name in expected if name != "r-4"}
    other = World(store)
    assert fetched(store, other, charges([4, 9])) == 2, "one is not whole, and one there is not"
    assert other.reservations == {"r-4": expected["r-4"], "r-9": None}


def test_it_stands_where_the_world_stands_whatever_came_later(
    store: CountingStore, embedded_database: TestDatabase
) -> None:
    world = World(store)
    position = world.position
    with open_ledger(embedded_database) as ledger:
        for name in LICENSES:
            body = {"id": f"end-{name}", "license": name, "reason": "over"}
            ledger.run("revoke_license", body).result()
    fetched(store, world, validations(LICENSES))
    assert {license.status for license in world.licenses.values()} == {"active"}
    assert world.balances == {name: load_balance(store, name, position) for name in CUSTOMERS}


def test_what_is_in_memory_is_not_asked_for_again(store: CountingStore) -> None:
    world = World(store)
    fetched(store, world, validations(LICENSES[:4]))
    assert fetched(store, world, validations(LICENSES[:4])) == 0
    assert fetched(store, world, validations(LICENSES[:5])) == 0, "one is loaded when it is needed"
    assert fetched(store, world, validations(LICENSES[:6])) == 2


def test_the_garbage_collector_looks_at_what_was_loaded_little_by_little(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def looking(phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            looks.append(about["generation"])

    def looked(most: int, commands: int) -> list[int]:
        monkeypatch.setattr(prefetching, "LOOK_AFTER", most)
        world = World(store)
        looks.clear()
        for number in range(0, commands, 2):
            prefetch(world, store, validations(LICENSES[number : number + 2]))
        return looks.copy()

    gc.callbacks.append(looking)
    gc.disable()
    thresholds = gc.get_threshold()
    try:
        assert looked(4, 4) == [0, 0], "two licences and two customers each time"
        assert looked(8, 6) == [0]
        assert looked(13, 6) == []
        gc.set_threshold(prefetching.RARELY)
        assert looked(4, 4) == [], "where nobody waits it comes by itself"
    finally:
        gc.set_threshold(*thresholds)
        gc.enable()
        gc.callbacks.remove(looking)


def test_names_of_nothing_are_left_to_the_rules(store: CountingStore) -> None:
    world = World(store)
    items = validations(["nobody", "nothing"])
    assert fetched(store, world, items) == 1
    assert (world.licenses, world.balances) == ({}, {})
    executor = Executor(store, DatabaseClock())
    try:
        codes = [answer.code for answer in executor.execute(items)]
    finally:
        executor.close()
    assert codes == ["not_found", "not_found"]


def test_a_cold_process_decides_a_batch_in_as_many_queries_as_a_small_one(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "SNAPSHOT_EVERY", 1000)  # none is written meanwhile

    def queries(names: Sequence[str]) -> int:
        executor = Executor(store, DatabaseClock())
        before = store.queries
        try:
            answers = executor.execute(validations(names, f"v{len(names)}"))
        finally:
            executor.close()
        assert [answer.code for answer in answers] == ["done"] * len(names)
        return store.queries - before

    assert queries(LICENSES) == queries(LICENSES[:2])


def test_that_there_is_no_reservation_is_remembered_until_there_is_one(
    embedded_database: TestDatabase,
) -> None:
    with (
        open_ledger(embedded_database) as ledger,
        closing(CountingStore(embedded_database.app_url)) as store,
    ):
        a_customer(ledger)
        world = World(store)
        assert world.reservation("later") is None
        prefetch(world, store, settlements(3))
        before = store.queries
        names = ["later", *(f"r-{number}" for number in range(3))]
        assert [world.reservation(name) for name in names] == [None] * 4
        assert store.queries == before
        for name in ("later", "r-1"):
            reserve(ledger, name).result()
        catch_up(world, store)
        position = store.head().position
        assert world.reservation("later") == load_reservation(store, "later", position) is not None
        assert world.reservation("r-1") == load_reservation(store, "r-1", position) is not None
        assert world.reservation("r-2") is None
