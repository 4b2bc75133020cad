"""A batch on its way that loses the head: what was decided meanwhile must not stay in memory."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.clock import DatabaseClock
from adapters.event_store.store import PostgresEventStore
from application import committing
from application.committing import LOSSES_BEFORE_LOCK, Committer
from application.deciding import Plan
from application.jobs import Item, Job
from application.loading import load_book, load_reservation
from application.planning import make_plan
from application.ports import Batch, Rider
from domain.commands import parse
from domain.pricebook import publication_id
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, USAGE, a_customer, open_ledger, price_book, reserve


class Interrupted(PostgresEventStore):
    """Does something while it holds the head, right before it appends."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.meanwhile: Callable[[], None] = lambda: None

    def append(self, batch: Batch) -> None:
        """Let the other writer send its batch, which now has to wait for the head and lose it."""
        self.meanwhile()
        super().append(batch)


@pytest.fixture
def stores(embedded_database: TestDatabase) -> Iterator[tuple[PostgresEventStore, Interrupted]]:
    """Give two stores on a ledger with a customer, a price book and an open reservation."""
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        assert reserve(ledger, "r-1").done
    one = PostgresEventStore(embedded_database.app_url)
    other = Interrupted(embedded_database.app_url)
    yield one, other
    one.close()
    other.close()


def job(kind: str, **body: Any) -> Job:
    """Make a job of one command."""
    return Job([Item(parse(kind, body))])


def part(name: str) -> Job:
    """Make a partial settlement of the open reservation."""
    usage = {"input_tokens": 100}
    return job("settle", id=name, reservation="r-1", usage=usage, final=False)


def publication(effective_from: str) -> Job:
    """Make a publication of a book that nobody has in memory."""
    book = price_book("late", effective_from=effective_from)
    name = publication_id("late", parse_book(book))
    return job("publish_prices", id=name, book=book)


def parse_book(book: dict[str, Any]) -> int:
    """Return when a book takes effect, in microseconds."""
    command: Any = parse("publish_prices", {"id": "x", "book": book})
    instant: int = command.book.effective_from
    return instant


@pytest.mark.parametrize("make", [part, publication])
def test_a_batch_that_lost_the_head_leaves_nothing_in_memory(
    stores: tuple[PostgresEventStore, Interrupted],
    make: Callable[[str], Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decided: list[list[Job]] = []

    def noted(*what: Any) -> Plan:
        decided.append(list(what[4]))
        return make_plan(*what)

    monkeypatch.setattr(committing, "make_plan", noted)
    names = ("p-1", "p-2") if make is part else ("2100-01-01T00:00:00Z", "2101-01-01T00:00:00Z")
    one, other = stores
    writer, rival = Committer(one, DatabaseClock()), Committer(other, DatabaseClock())
    rival._losses = LOSSES_BEFORE_LOCK  # decides while it holds the head
    customer = one.at([one.head().position])[one.head().position].customer
    held = [
        job("reserve", id=f"x-{n}", customer=customer, model=MODEL, estimate=USAGE)
        for n in range(3)
    ]
    other.meanwhile = lambda: writer.feed(held)
    first, second = make(names[0]), make(names[1])
    rival.process([first])
    writer.feed([second])
    writer.flush()
    answers = [each.answers()[0] for each in (first, *held, second)]
    assert [answer.code for answer in answers] == ["done"] * 5
    assert decided.count(held) == 2, "a batch that has lost is decided on what it lost to at once"
    head = one.head().position
    assert sorted(answer.recorded.position for answer in answers if answer.recorded) == list(
        range(head - 4, head + 1)
    )
    assert writer.world.reservation("r-1") == load_reservation(one, "r-1", head)
    assert writer.world.book("late") == load_book(one, "late", head)


def carrying(name: str, customer: str, *move: int) -> Job:
    """Make a job of one reservation that moves an offset."""
    body = {"id": name, "customer": customer, "model": MODEL, "estimate": USAGE}
    made = Job([Item(parse("reserve", body))], riders=[Rider("kafka", "usage", 0, *move)])
    made.expect_wait()
    return made


def test_batches_with_offsets_are_sent_ahead_and_fenced_by_what_came_before(
    stores: tuple[PostgresEventStore, Interrupted],
) -> None:
    """One that is refused takes back what it had changed, and the one behind it is decided anew."""
    one, _ = stores
    writer = Committer(one, DatabaseClock())
    customer = one.at([one.head().position])[one.head().position].customer or ""
    moves = [("x-1", 0, 5), ("x-2", 5, 9), ("x-3", 5, 7), ("x-4", 7, 9)]
    jobs = [carrying(name, customer, *move) for name, *move in moves]
    for each in jobs[:2]:
        writer.feed([each])
    assert [each.wait(0) for each in jobs[:2]] == [True, False], "the second is under way"
    for each in jobs[2:]:
        writer.feed([each])
    writer.flush()
    codes = [each.answers()[0].code for each in jobs]
    assert codes == ["done", "done", "fenced", "fenced"]
    assert one.run("SELECT next_offset FROM stream_offsets") == [(9,)]
    assert writer.world.position == one.head().position
    for name, known in writer.world.reservations.items():
        assert known == load_reservation(one, name, one.head().position)
