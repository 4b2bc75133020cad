"""A ledger, and the settlement of a topic on it, for tests of the stream."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from adapters.event_store.store import PostgresEventStore
from application.tollbook import Tollbook
from domain.usage_events import UsageParked
from entrypoints.streaming import offsets_of
from streams.ledger import Ledger, OwnLedger
from streams.settlement import Dead, Settlement
from tests.streams.records import forget
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger, reserve

PRICE = 25_000_000_000
"""0.025 dollars: what the usage of one record costs."""
CLUSTER, TOPIC = "cluster-1", "inference-usage"


class Stream:
    """A ledger, a settlement on it, and what was buried."""

    def __init__(self, ledger: Tollbook, store: PostgresEventStore, database: TestDatabase) -> None:
        """Begin at the first record of partitions 0 and 1."""
        self.ledger, self.database = ledger, database
        self.offsets = offsets_of(store, CLUSTER, TOPIC)
        self.buried: list[Dead] = []
        self.settlement = self.another()

    def another(self) -> Settlement:
        """Return a worker of its own on the same ledger, where the ledger stands."""
        return self.worker_on(self.asked())

    def worker_on(self, ledger: Ledger) -> Settlement:
        """Return a worker that asks a ledger, where that stands."""
        made = Settlement(ledger, CLUSTER, TOPIC, self.offsets, self.bury)
        known = self.offsets()
        for partition in (0, 1):
            made.begin(partition, known.get(partition, 0))
        return made

    def asked(self) -> Ledger:
        """Return how a worker asks the ledger."""
        return OwnLedger(self.ledger.executor)

    def bury(self, dead: object) -> None:
        """Keep what is dead."""
        assert isinstance(dead, list)
        self.buried += dead

    def hold(self, *names: str) -> None:
        """Hold the money of inferences."""
        for name in names:
            reserve(self.ledger, name).result()

    @property
    def charged(self) -> int:
        """How many times the price of one inference was spent, which has to be a whole number."""
        times, rest = divmod(self.ledger.balance("cust-1").spent, PRICE)
        assert rest == 0
        return times

    def parked(self) -> dict[str, str]:
        """Return the reason of every parked record, by its id."""
        store = self.ledger.store
        head = store.head().position
        found = (store.at([position])[position].event for position in range(1, head + 1))
        return {each.record: each.detail for each in found if isinstance(each, UsageParked)}


@pytest.fixture
def stream(embedded_database: TestDatabase) -> Iterator[Stream]:
    with (
        open_ledger(embedded_database) as ledger,
        closing(PostgresEventStore(embedded_database.app_url)) as store,
    ):
        a_customer(ledger)
        forget()
        yield Stream(ledger, store, embedded_database)
