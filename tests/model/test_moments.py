"""Where a bucket is divided, its events are read: once, no further than needed, and never wrong."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from adapters.clock import TraceClock
from application import moments as moments_module
from application.executor import Executor
from application.jobs import Item
from application.loading import load_balance
from application.moments import ALWAYS_KEPT, BUCKETS_MAX, Moments
from application.ports import HeadMovedError
from domain.activity import MINUTE, Bucket
from domain.commands import parse
from domain.event import Recorded
from domain.fraud import DAY, Question
from domain.guard_events import AccountBlocked
from tests.model.wire import SECOND, instant, written
from tests.support.memory_store import MemoryEventStore

NOON = instant("2026-03-10T12:00:00Z")
PRICES = {
    "id": "default",
    "currency": "USD",
    "effective_from": "2020-01-01T00:00:00.000000Z",
    "models": [{"name": "m", "prices": {"requests": "0.000001"}}],
}


class CountingStore(MemoryEventStore):
    """Counts the events that were read by customer."""

    read = 0

    def customer_events(
        self, customer: str, after: int, position: int, last: int | None = None
    ) -> Iterator[Recorded]:
        """Yield what the store yields."""
        for recorded in super().customer_events(customer, after, position, last):
            self.read += 1
            yield recorded


@pytest.fixture
def store() -> CountingStore:
    """Fill a ledger with a use every ten seconds for two minutes."""
    filled = CountingStore()
    executor = Executor(filled, TraceClock(NOON))
    opening: list[tuple[str, dict[str, Any]]] = [
        ("publish_prices", {"id": f"default:{PRICES['effective_from']}", "book": PRICES}),
        ("create_customer", {"id": "acme", "name_sealed": "", "currency": "USD"}),
    ]
    items = [Item(parse(kind, body), at=NOON) for kind, body in opening]
    items += [use(number) for number in range(12)]
    assert all(answer.done for answer in executor.execute(items))
    executor.close()
    filled.read = 0
    return filled


def use(number: int) -> Item:
    """Return a use of `number` requests so many times ten seconds after noon."""
    return use_at(NOON + number * 10 * SECOND, number)


def use_at(at: int, requests: int) -> Item:
    """Return a use of requests at an instant."""
    body = {"source": "s", "customer": "acme", "model": "m", "usage": {"requests": requests}}
    usage = {**body, "id": f"u{at}-{requests}", "occurred_at": written(at)}
    return Item(parse("usage", usage), at=at)


def first_minute(edge: int) -> Question:
    """Ask about the minute after noon: uses 0 to 5, of which 1 to 5 made requests."""
    return Question(edge, Bucket(NOON, 15, 3, 7), MINUTE)


def answer(moments: Moments, store: MemoryEventStore, question: Question) -> int:
    """Answer a question from the store alone."""
    return moments.answer("acme", question, store.head().position, [])


@pytest.mark.parametrize(
    ("seconds", "requests"), [(0, 0), (9, 0), (10, 1), (29, 3), (30, 6), (50, 15), (59, 15)]
)
def test_the_requests_up_to_an_instant_are_counted_one_by_one(
    store: CountingStore, seconds: int, requests: int
) -> None:
    question = first_minute(NOON + seconds * SECOND)
    assert answer(Moments(store), store, question) == requests


def test_a_bucket_is_read_once_and_no_further_than_its_last_event(store: CountingStore) -> None:
    moments = Moments(store)
    for second in (10, 20, 30, 20):
        answer(moments, store, first_minute(NOON + second * SECOND))
    assert store.read == 5
    balance = load_balance(store, "acme", store.head().position)
    assert balance.activity.minutes[0] == Bucket(NOON, 15, 3, 7)


def test_events_of_the_batch_count_and_are_not_kept(store: CountingStore) -> None:
    moments, position = Moments(store), store.head().position
    bucket = Question(NOON + 25 * SECOND, Bucket(NOON, 21, 3, 14), MINUTE)
    last = store.stored[-1].recorded()
    late = last._replace(customer_sequence=14, occurred_at=NOON + 20 * SECOND)
    small = last.event
    batch = [late._replace(event=use_of(small, 6))]
    assert moments.answer("acme", bucket, position, batch) == 9
    assert answer(moments, store, first_minute(NOON + 25 * SECOND)) == 3


def use_of(event: Any, requests: int) -> Any:
    """Return a charge with another number of requests."""
    return replace(event, usage={"requests": requests})


def test_a_bucket_that_began_with_a_lost_batch_is_read_from_where_it_begins(
    store: CountingStore,
) -> None:
    moments, position, start = Moments(store), store.head().position, NOON + 2 * MINUTE
    last = store.stored[-1].recorded()
    of_batch = [
        last._replace(customer_sequence=14, occurred_at=NOON),
        last._replace(customer_sequence=15, occurred_at=start, event=use_of(last.event, 4)),
    ]
    lost = Question(start + 5 * SECOND, Bucket(start, 4, 15, 15), MINUTE)
    assert moments.answer("acme", lost, position, of_batch) == 4
    other = Executor(store, TraceClock(NOON))
    for seconds in (1, 2):
        assert other.execute([use_at(start + seconds * SECOND, seconds)])[0].done
    other.close()
    balance = load_balance(store, "acme", store.head().position)
    assert balance.activity.minutes[-1] == Bucket(start, 3, 14, 15)
    asked = Question(start + SECOND, balance.activity.minutes[-1], MINUTE)
    assert answer(moments, store, asked) == 1


@pytest.mark.parametrize("units", [14, 16])
def test_what_does_not_add_up_is_decided_again(store: CountingStore, units: int) -> None:
    question = Question(NOON + SECOND, Bucket(NOON, units, 3, 7), MINUTE)
    with pytest.raises(HeadMovedError):
        answer(Moments(store), store, question)


def test_only_so_many_buckets_are_kept(store: CountingStore) -> None:
    moments = Moments(store)
    answer(moments, store, first_minute(NOON))
    for number in range(BUCKETS_MAX):
        empty = Question(0, Bucket(number * MINUTE, 0, 3, 2), MINUTE)
        moments.answer("somebody", empty, store.head().position, [])
    before = store.read
    answer(moments, store, first_minute(NOON))
    assert store.read == before + 5


def test_only_so_much_usage_is_kept_however_few_the_buckets(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments_module, "MOMENTS_MAX", 5)
    moments = Moments(store)
    lengths = [MINUTE + number for number in range(ALWAYS_KEPT + 1)]  # as many buckets, all alike
    ask = [Question(NOON, Bucket(NOON, 15, 3, 7), length) for length in lengths]
    for question in ask[:-1]:
        answer(moments, store, question)
    before = store.read
    answer(moments, store, ask[0])
    assert store.read == before, "a few are kept however much they hold"
    answer(moments, store, ask[-1])
    answer(moments, store, ask[1])
    assert store.read == before + 2 * 5, "the one that was asked about longest ago was let go"


def test_the_beginning_of_the_day_is_read_only_where_all_else_leaves_a_doubt(
    store: CountingStore,
) -> None:
    """Its bucket is the largest one: five minutes, of which nothing is in memory any more."""
    executor = Executor(store, TraceClock(NOON))
    at = NOON + DAY + MINUTE
    border = at - 5 * MINUTE
    executor.execute([use_at(NOON + 30 * MINUTE, 30_000), use_at(border, 90)])
    store.read = 0
    executor.execute([use_at(at, 1010)])
    assert store.read == 1, "what was used at the border is not recent: far enough from the line"
    executor.execute([use_at(at, 60)])
    executor.close()
    block = store.stored[-1].recorded().event
    assert isinstance(block, AccountBlocked)
    assert (block.recent, block.total, block.windows) == (1070, 30_141, 287)
    assert store.read == 1 + 11
