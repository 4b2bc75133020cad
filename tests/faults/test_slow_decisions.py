"""A batch that takes so long to decide that its time is refused: its jobs are decided one by one.

Deciding under a licence with thousands of seats takes a millisecond and more, so a crowd of
renewals takes longer than a time may be old.
"""

from adapters.clock import DatabaseClock
from adapters.event_store.store import PostgresEventStore
from application.committing import Committer
from application.jobs import Item, Job
from application.ports import Batch, ClockRefusedError
from domain.commands import Reserve
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, a_customer, open_ledger


class SlowToDecide(PostgresEventStore):
    """Refuses a time as the ledger does when it took long to decide what comes with it."""

    refused = 0

    def append(self, batch: Batch) -> None:
        """Refuse what holds more than one command."""
        if len(batch.ids) > 1:
            self.refused += 1
            raise ClockRefusedError
        super().append(batch)


def test_a_batch_that_takes_too_long_is_decided_job_by_job(embedded_database: TestDatabase) -> None:
    estimate = {"input_tokens": 1, "output_tokens": 1}
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
    store = SlowToDecide(embedded_database.app_url)
    committer = Committer(store, DatabaseClock())
    jobs = [
        Job([Item(Reserve(id=f"r-{n}", customer="cust-1", model=MODEL, estimate=estimate))])
        for n in range(3)
    ]
    committer.process(jobs)
    codes = [answer.code for job in jobs for answer in job.answers()]
    store.close()
    assert (codes, store.refused) == (["done"] * 3, 4)
