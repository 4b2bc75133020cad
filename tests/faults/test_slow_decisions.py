"""A batch that takes so long to decide that its time is refused is decided in smaller ones.

Deciding under a licence with thousands of seats takes a millisecond and more, so a crowd of
renewals takes longer than a time may be old; on a slow machine so does the largest batch.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from adapters.clock import DatabaseClock
from adapters.event_store.store import PostgresEventStore
from application.committing import CLOCK_OFF_MAX, Committer
from application.jobs import Item, Job
from application.ports import Batch, ClockRefusedError, Rider, StoreFailedError
from domain.commands import Reserve
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, a_customer, open_ledger


class SlowToDecide(PostgresEventStore):
    """Refuses a time as the ledger does when it took long to decide what comes with it."""

    refused = 0
    at_once = 1
    lost_after: int | None = None

    def append(self, batch: Batch) -> None:
        """Refuse what holds more commands than can be decided in time."""
        if len(batch.ids) > self.at_once:
            self.refused += 1
            raise ClockRefusedError
        if self.lost_after == 0:
            raise StoreFailedError("the disk is full")
        super().append(batch)
        if self.lost_after is not None:
            self.lost_after -= 1


@pytest.fixture
def store(embedded_database: TestDatabase) -> Iterator[SlowToDecide]:
    """A ledger that has a customer."""
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
    with closing(SlowToDecide(embedded_database.app_url)) as store:
        yield store


def reserves(count: int) -> list[Item]:
    """Return so many reserves."""
    estimate = {"input_tokens": 1, "output_tokens": 1}
    return [
        Item(Reserve(id=f"r-{n}", customer="cust-1", model=MODEL, estimate=estimate))
        for n in range(count)
    ]


def held(store: PostgresEventStore) -> Sequence[str]:
    """Return what is held in the ledger, in its order."""
    rows = store.run("SELECT command FROM events WHERE name = 'reservation_held' ORDER BY position")
    return [command for (command,) in rows]


def codes(*jobs: Job) -> list[str]:
    """Return what became of every item of some jobs."""
    return [answer.code for job in jobs for answer in job.answers()]


def test_a_batch_that_takes_too_long_is_decided_job_by_job(store: SlowToDecide) -> None:
    jobs = [Job([item]) for item in reserves(3)]
    Committer(store, DatabaseClock()).process(jobs)
    assert (codes(*jobs), store.refused) == (["done"] * 3, 4)


def test_a_job_that_takes_too_long_alone_is_decided_in_parts_and_in_order(
    store: SlowToDecide,
) -> None:
    store.at_once = 2
    told: list[Job] = []
    job = Job(reserves(7), on_done=told.append)
    Committer(store, DatabaseClock()).process([job])
    assert codes(job) == ["done"] * 7
    assert told == [job]
    assert held(store) == [f"r-{n}" for n in range(7)]


def test_one_of_several_jobs_that_takes_too_long_is_decided_in_parts(store: SlowToDecide) -> None:
    items = reserves(5)
    jobs = [Job(items[:4]), Job(items[4:])]
    Committer(store, DatabaseClock()).process(jobs)
    assert codes(*jobs) == ["done"] * 5


def test_what_must_stay_together_and_takes_too_long_is_refused_as_a_whole(
    store: SlowToDecide,
) -> None:
    atomic = Job(reserves(2), atomic=True)
    riding = Job(reserves(2), riders=[Rider("cluster", "topic", 0, 0, 1)])
    Committer(store, DatabaseClock()).process([atomic])
    Committer(store, DatabaseClock()).process([riding])
    assert codes(atomic, riding) == ["unavailable"] * 4
    assert held(store) == []


def test_nothing_is_decided_after_a_part_that_was_not_written(store: SlowToDecide) -> None:
    store.lost_after = 1
    job = Job(reserves(4))
    Committer(store, DatabaseClock()).process([job])
    assert codes(job) == ["done", "unavailable", "unavailable", "unavailable"]
    assert held(store) == ["r-0"]


@pytest.mark.parametrize(("milliseconds", "requests"), [(1.5, 1), (6, 2)])
def test_the_largest_request_is_done_in_time_on_a_machine_that_is_slow_indeed(
    embedded_database: TestDatabase, store: SlowToDecide, milliseconds: float, requests: int
) -> None:
    """A request has 10 s; what was not decided by then is when it is sent once more."""
    passed = 0.0

    class Slow(PostgresEventStore):
        def append(self, batch: Batch) -> None:
            nonlocal passed
            took = len(batch.ids) * milliseconds / 1000
            passed += took
            if took * 1e6 > CLOCK_OFF_MAX:
                raise ClockRefusedError
            super().append(batch)

    with closing(Slow(embedded_database.app_url)) as slow:
        committer = Committer(slow, DatabaseClock(), lambda: passed)
        jobs = []
        for _ in range(requests):
            jobs.append(Job(reserves(1_000), deadline=passed + 10))
            committer.process(jobs[-1:])
    assert set(codes(jobs[-1])) == {"done"}
    assert held(store) == [f"r-{n}" for n in range(1_000)]
