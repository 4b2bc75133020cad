"""A process that has just begun loads the customers of the newest events, while nobody asks."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import pytest

from adapters.clock import DatabaseClock
from adapters.event_store.store import PostgresEventStore
from application import warming
from application.executor import Executor
from application.jobs import Item
from application.loading import load_balance
from application.ports import History
from domain.commands import parse
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger, reserve

CUSTOMERS = [f"cust-{number}" for number in range(10)]


class Watched(PostgresEventStore):
    """Writes down whose histories are read, and lets something happen before the second time."""

    def __init__(self, url: str) -> None:
        """Have nothing read yet."""
        super().__init__(url)
        self.read: list[list[str]] = []
        self.waits, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def histories(self, customers: Sequence[str], position: int) -> dict[str, History]:
        """Read them."""
        if self.read:
            self.waits.set()
            assert self.go_on.wait(30)
        self.read.append(list(customers))
        return super().histories(customers, position)


@pytest.fixture
def watched(embedded_database: TestDatabase) -> Iterator[Watched]:
    """Fill a ledger: each customer has a hold, the last one the newest."""
    with open_ledger(embedded_database) as ledger:
        for name in CUSTOMERS:
            a_customer(ledger, name)
        for name in CUSTOMERS:
            reserve(ledger, f"r-{name}", name).result()
    with closing(Watched(embedded_database.app_url)) as store:
        yield store


@contextmanager
def executing(store: PostgresEventStore) -> Iterator[Executor]:
    """Run an executor without memory."""
    executor = Executor(store, DatabaseClock())
    try:
        yield executor
    finally:
        executor.close()


def charge(name: str) -> Item:
    """Return the usage of a customer's inference."""
    about = {"source": "s", "model": "gpt4-equivalent", "usage": {"input_tokens": 1}}
    about |= {"occurred_at": "2026-01-01T00:00:00Z", "customer": name}
    return Item(parse("usage", {**about, "id": f"r-{name}", "reservation": f"r-{name}"}))


def test_the_newest_customers_are_loaded_and_their_charges_need_no_query(watched: Watched) -> None:
    with executing(watched) as executor:
        executor.warm()
        newest = CUSTOMERS[::-1]
        assert watched.read == [newest[0:4], newest[4:8], newest[8:10]]
        world = executor._committer.world
        position = watched.head().position
        assert world.balances == {name: load_balance(watched, name, position) for name in newest}
        answers = executor.execute([charge(name) for name in CUSTOMERS])
        assert [answer.code for answer in answers] == ["done"] * len(CUSTOMERS)
        assert len(watched.read) == 3


def test_no_more_are_loaded_than_fit(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "CUSTOMERS_MAX", 5)
    with executing(watched) as executor:
        executor.warm()
    assert [name for names in watched.read for name in names] == CUSTOMERS[:4:-1]


def test_whoever_asks_waits_for_a_few_and_ends_it(watched: Watched) -> None:
    watched.go_on.clear()
    with executing(watched) as executor:
        loading = threading.Thread(target=executor.warm)
        loading.start()
        assert watched.waits.wait(30)
        job = executor.begin([charge(CUSTOMERS[0])])
        watched.go_on.set()
        assert [answer.code for answer in executor.answers(job)] == ["done"]
        loading.join(30)
        assert not loading.is_alive()
        assert len(executor._committer.world.balances) == 2 * warming.AT_ONCE + 1


def test_an_empty_ledger_has_nobody_to_load(embedded_database: TestDatabase) -> None:
    with (
        closing(PostgresEventStore(embedded_database.app_url)) as store,
        executing(store) as executor,
    ):
        executor.warm()
        assert executor._committer.world.balances == {}


def test_a_stop_ends_it(watched: Watched) -> None:
    watched.go_on.clear()
    with executing(watched) as executor:
        loading = threading.Thread(target=executor.warm)
        loading.start()
        assert watched.waits.wait(30)
        stopping = threading.Thread(target=executor.close)
        stopping.start()
        while not executor._closed:
            pass
        watched.go_on.set()
        for each in (loading, stopping):
            each.join(30)
            assert not each.is_alive()
    assert len(watched.read) == 2
