"""While one transaction of the stream commits, the next is read and decided; never out of order."""

from collections.abc import Sequence
from typing import Any

import pytest
from tollbook.errors import Unavailable, Unknown

from application.answers import Answer
from application.deciding import Plan
from application.executor import Executor
from application.jobs import Item, Job
from streams import settlement as settling
from streams.ledger import OwnLedger
from streams.settlement import OutOfStepError, Record, Settlement
from tests.streams.records import raw, record, usage_event
from tests.streams.settling import CLUSTER, TOPIC, Stream

NAMES = [f"i-{number}" for number in range(8)]


@pytest.fixture(autouse=True)
def _two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two events settled in each transaction."""
    monkeypatch.setattr(settling, "ITEMS_MAX", 2)


def told(first: int, last: int) -> list[Record]:
    """Return records of one event each."""
    return [record(at, usage_event(NAMES[at])) for at in range(first, last)]


class Watched:
    """An executor that writes down in which order it is asked."""

    def __init__(self, executor: Executor) -> None:
        """Stand before an executor."""
        self._executor = executor
        self.log: list[str] = []

    def begin(self, items: Sequence[Item], **more: Any) -> Job:
        """Begin a job."""
        self.log.append("sent")
        return self._executor.begin(items, **more)

    def answers(self, job: Job) -> list[Answer]:
        """Wait for a job."""
        self.log.append("waited")
        return self._executor.answers(job)


def worker_on(executor: "Watched", stream: Stream) -> Settlement:
    """Return a worker at the beginning of partition 0."""
    asked: Any = (OwnLedger(executor), CLUSTER, TOPIC, stream.offsets, stream.bury)
    worker = Settlement(*asked)
    worker.begin(0, 0)
    return worker


def test_transactions_are_sent_ahead_once_the_ledger_has_an_offset(stream: Stream) -> None:
    """It takes a first offset as it comes: what follows would not be fenced by it."""
    stream.hold(*NAMES, *(f"i-{number}" for number in range(8, 12)))
    watched = Watched(stream.ledger.executor)
    worker = worker_on(watched, stream)
    worker.begin(1, 0)
    worker.apply(told(0, 4))
    assert watched.log == ["sent", "waited", "sent", "waited"]
    watched.log.clear()
    worker.apply([*told(4, 7), raw(0, b"no JSON", partition=1)])
    assert watched.log == ["sent", "waited", "sent", "waited"], "partition 1 is new"
    watched.log.clear()
    more = [record(at, usage_event(f"i-{at}")) for at in range(8, 12)]
    worker.apply([*told(7, 8), *more, raw(1, b"no JSON", partition=1)])
    assert watched.log == ["sent"] * 3 + ["waited"] * 3
    assert (stream.charged, worker.positions) == (12, {0: 12, 1: 2})
    assert dict(stream.offsets()) == worker.positions


@pytest.mark.parametrize("before", [0, 2], ids=["of its first records", "later"])
def test_what_was_sent_behind_a_transaction_that_failed_is_not_settled(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """Neither before the ledger knows the partition nor after; and then all of it is."""
    stream.hold(*NAMES)
    stream.settlement.apply(told(0, before))
    decide = Plan._answer

    def failing(plan: Plan, item: Item) -> Answer:
        if item.command.id == NAMES[before]:
            return Answer(item.command.id, None, error=Unavailable("the connection broke"))
        return decide(plan, item)

    with monkeypatch.context() as patched:
        patched.setattr(Plan, "_answer", failing)
        with pytest.raises(Unavailable, match="the connection broke"):
            stream.settlement.apply(told(before, 8))
    assert (stream.charged, stream.offsets().get(0, 0)) == (before, before)
    stream.settlement.resume()
    stream.settlement.apply(told(before, 8))
    assert (stream.charged, dict(stream.offsets()), stream.parked()) == (8, {0: 8}, {})


@pytest.mark.parametrize(("other", "then"), [(5, 5), (4, 8)], ids=["inside", "between"])
def test_a_worker_that_was_replaced_settles_nothing_twice_with_more_under_way(
    stream: Stream, other: int, then: int
) -> None:
    """What it sent ahead stands only where the other worker has settled just what precedes."""
    stream.hold(*NAMES)
    stream.settlement.apply(told(0, 2))
    stream.another().apply(told(2, other))
    with pytest.raises(OutOfStepError, match="fenced"):
        stream.settlement.apply(told(2, 8))
    assert (stream.charged, dict(stream.offsets())) == (then, {0: then})
    stream.settlement.resume()
    stream.settlement.apply(told(2, 8))
    assert (stream.charged, dict(stream.offsets())) == (8, {0: 8})
    assert stream.parked() == {}


def test_what_was_sent_before_a_gap_is_settled_and_known(stream: Stream) -> None:
    stream.hold(*NAMES)
    stream.settlement.apply(told(0, 2))
    with pytest.raises(OutOfStepError, match="7 came where 6 was due"):
        stream.settlement.apply([*told(2, 6), *told(7, 8)])
    assert (stream.charged, dict(stream.offsets())) == (4, {0: 4})
    assert stream.settlement.positions == {0: 4, 1: 0}
    stream.settlement.apply(told(4, 8))
    assert (stream.charged, dict(stream.offsets())) == (8, {0: 8})


def test_a_dead_letter_that_is_not_kept_holds_up_its_own_transaction_alone(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.hold(*NAMES)
    stream.settlement.apply(told(0, 2))
    records = [*told(2, 4), record(4, usage_event("i-4"), {"no": "event"}), *told(5, 8)]

    def nowhere(_: object) -> None:
        raise Unavailable("no broker")

    with monkeypatch.context() as patched:
        patched.setattr(stream.settlement, "_bury", nowhere)
        with pytest.raises(Unavailable, match="no broker"):
            stream.settlement.apply(records)
    assert (stream.charged, dict(stream.offsets()), stream.buried) == (4, {0: 4}, [])
    stream.settlement.apply(records)
    assert (stream.charged, dict(stream.offsets()), len(stream.buried)) == (8, {0: 8}, 1)


class Failing(Watched):
    """An executor that from some job on tells of no job's end, but is asked for each."""

    def __init__(self, executor: Executor, good: int) -> None:
        """Fail all but so many."""
        super().__init__(executor)
        self._good = good

    def answers(self, job: Job) -> list[Answer]:
        """Wait for a job, and say that nobody knows what became of it."""
        found = super().answers(job)
        waited = self.log.count("waited")
        if waited > self._good:
            raise Unknown(f"failure {waited - self._good}")
        return found


def test_the_first_failure_is_told_and_nothing_stays_under_way(stream: Stream) -> None:
    stream.hold(*NAMES)
    failing = Failing(stream.ledger.executor, 1)
    worker = worker_on(failing, stream)
    worker.apply(told(0, 2))
    failing.log.clear()
    failing.log.append("waited")
    with pytest.raises(Unknown, match="failure 1"):
        worker.apply(told(2, 8))
    assert failing.log[1:] == ["sent"] * 3 + ["waited"] * 3
    assert (worker.positions, stream.charged) == ({0: 2}, 8), "what is not told may have happened"
    worker.resume()
    assert worker.positions == {0: 8}
