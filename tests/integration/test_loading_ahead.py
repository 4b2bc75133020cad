"""Loading ahead: a batch finds what it needs while the one before is still being committed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from adapters.clock import DatabaseClock
from adapters.event_store.store import PostgresEventStore
from application import world
from application.committing import Committer
from application.jobs import Item, Job
from application.loading import load_balance, load_license
from application.ports import Batch, HeadMovedError
from domain.commands import parse
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, a_customer, open_ledger

CUSTOMERS = [f"cust-{number}" for number in range(6)]
LIMITS = [{"id": "day", "unit": "requests", "limit": 50, "per": "day"}]


class Writing(PostgresEventStore):
    """Knows whether a batch is on its way."""

    under_way = False

    def send(self, batch: Batch) -> None:
        """Send a batch, which is on its way from here on."""
        super().send(batch)
        self.under_way = True

    def receive(self) -> None:
        """Wait for it."""
        self.under_way = False
        super().receive()

    def run(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query, which has to wait for what is on its way."""
        self.under_way = False
        return super().run(query, parameters)


class Ahead(PostgresEventStore):
    """Notes for each query whether a batch was on its way meanwhile."""

    busy: Callable[[], bool]

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.seen: list[bool] = []

    def _ahead(self, *known: Any, **more: Any) -> Any:
        """Read much at once and note what went on."""
        found = super()._ahead(*known, **more)
        self.seen.append(self.busy())
        return found


@pytest.fixture
def stores(embedded_database: TestDatabase) -> Iterator[tuple[Writing, Ahead]]:
    """Give two stores on a ledger whose customers have a licence each."""
    with open_ledger(embedded_database) as ledger:
        for number, name in enumerate(CUSTOMERS):
            a_customer(ledger, name)
            keys = {"key_hash": f"{number:032x}", "key_hint": "abcd"}
            terms = {"template": "enterprise", "overrides": {"limits": LIMITS}}
            ledger.run(
                "issue_license", {"id": f"lic-{name}", "customer": name, **terms, **keys}
            ).result()
    with (
        closing(Writing(embedded_database.app_url)) as writing,
        closing(Ahead(embedded_database.app_url)) as ahead,
    ):
        ahead.busy = lambda: writing.under_way
        yield writing, ahead


def validations(customers: Sequence[str], prefix: str) -> list[Job]:
    """Return a validation of the licence of each customer."""
    bodies = [
        {"id": f"{prefix}-{name}", "license": f"lic-{name}", "model": MODEL} for name in customers
    ]
    return [Job([Item(parse("validate_license", body))]) for body in bodies]


def codes(jobs: Sequence[Job]) -> list[str]:
    """Return how the commands of jobs ended."""
    return [answer.code for job in jobs for answer in job.answers()]


def assert_in_memory_as_stored(committer: Committer, store: PostgresEventStore) -> None:
    """Check that what is in memory is what the ledger holds."""
    position, world = store.head().position, committer.world
    for name, balance in world.balances.items():
        assert balance == load_balance(store, name, position)
    for name, license in world.licenses.items():
        assert license == load_license(store, name, position)


def test_a_batch_is_loaded_while_the_one_before_is_on_its_way(
    stores: tuple[Writing, Ahead],
) -> None:
    writing, ahead = stores
    committer = Committer(writing, DatabaseClock(), ahead=ahead)
    first, second = validations(CUSTOMERS[:3], "a"), validations(CUSTOMERS[3:], "b")
    again = validations(CUSTOMERS, "c")
    for jobs in (first, second, again):
        committer.feed(jobs)
    committer.flush()
    assert codes([*first, *second, *again]) == ["done"] * 12
    queries = len(ahead.seen) // 2
    assert ahead.seen == [False] * queries + [True] * queries
    assert queries == 2, "licences, and customers with their snapshots"
    assert_in_memory_as_stored(committer, writing)


def test_what_was_loaded_for_a_batch_that_lost_the_head_is_forgotten(
    stores: tuple[Writing, Ahead], embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, ahead = stores
    committer = Committer(writing, DatabaseClock(), ahead=ahead)
    first, second = validations(CUSTOMERS[:3], "a"), validations(CUSTOMERS[3:], "b")
    with open_ledger(embedded_database) as rival:

        def lost(_batch: Batch) -> None:
            """Let somebody else be faster."""
            revoked = {"id": "gone", "license": f"lic-{CUSTOMERS[4]}", "reason": "over"}
            rival.run("revoke_license", revoked).result()

        def moved() -> None:
            monkeypatch.undo()
            raise HeadMovedError

        monkeypatch.setattr(writing, "send", lost)
        monkeypatch.setattr(writing, "receive", moved)
        committer.feed(first)
        committer.feed(second)
        committer.flush()
    assert codes(first) == ["done"] * 3
    assert codes(second) == ["done", "license_revoked", "done"]
    assert_in_memory_as_stored(committer, writing)


def test_what_a_batch_on_its_way_changed_stays_in_memory_however_full_that_is(
    stores: tuple[Writing, Ahead], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "BALANCES_MAX", 2)
    monkeypatch.setattr(world, "LICENSES_MAX", 2)
    writing, ahead = stores
    committer = Committer(writing, DatabaseClock(), ahead=ahead)
    rounds = [validations(CUSTOMERS[:4], f"v{number}") for number in range(4)]
    for jobs in rounds:
        committer.feed(jobs)
        assert committer.world.balances.keys() >= set(CUSTOMERS[:4])
    committer.feed(validations(CUSTOMERS[4:], "w"))
    committer.flush()
    assert [codes(jobs) for jobs in rounds] == [["done"] * 4] * 4
    assert_in_memory_as_stored(committer, writing)
