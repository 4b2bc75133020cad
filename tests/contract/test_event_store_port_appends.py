"""What every event store promises about appending: all of a batch, or nothing, and why not."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from adapters.event_store.store import PostgresEventStore
from application.ports import (
    Batch,
    ClockRefusedError,
    EventStore,
    FencedError,
    Head,
    HeadMovedError,
    Rider,
    StoreFailedError,
    TakenError,
)
from domain.events import ReservationReleased
from tests.support.databases import TestDatabase
from tests.support.events import batch_for, key_of, recorded

HOUR = 3_600_000_000
HOSTILE = "a'; DROP TABLE events; -- \\ \" { } , NULL \x1f \u202e é 漢 🧾 \ufeff"


Open = Callable[[], EventStore]


@pytest.fixture
def open_store(database: TestDatabase) -> Iterator[Open]:
    """Open any number of stores on one fresh ledger, as several processes would."""
    with ExitStack() as opened:

        def another() -> EventStore:
            return opened.enter_context(closing(PostgresEventStore(database.app_url)))

        yield another


@pytest.fixture
def store(open_store: Open) -> EventStore:
    """Open a store on a fresh ledger; every test runs on both servers."""
    return open_store()


@pytest.fixture
def other(open_store: Open) -> EventStore:
    """Open a second store on the same ledger."""
    return open_store()


def assert_only(store: EventStore, batch: Batch) -> None:
    """Check that exactly this batch is in the ledger: its events, its ids, the head at its end."""
    assert store.since(0, 1000) == list(batch.events)
    assert store.head().position == len(batch.events)
    keys = [key for key, _ in batch.ids]
    assert store.taken([*keys, ("test", "cust-1", "another")]) == dict(batch.ids)


def test_a_new_ledger_stands_at_nothing(store: EventStore) -> None:
    assert store.head() == Head(0, 0, "database")


def test_a_batch_is_appended_whole_and_moves_the_head(store: EventStore) -> None:
    batch = batch_for(store, 500)
    store.append(batch)
    assert_only(store, batch)
    assert store.head().recorded_at == batch.events[-1].recorded_at


def test_what_was_appended_is_read_back_as_it_was(store: EventStore) -> None:
    event = ReservationReleased(customer="cust-1", reservation="r", reason=HOSTILE, released=7)
    entry = recorded(1, store.database_time(), event, command=HOSTILE)
    entry = entry._replace(actor=HOSTILE, causation=HOSTILE, correlation=HOSTILE, occurred_at=0)
    store.append(Batch(0, [entry], [((HOSTILE, HOSTILE, HOSTILE), 1)]))
    assert store.since(0, 10) == [entry]
    assert store.taken([(HOSTILE, HOSTILE, HOSTILE)]) == {(HOSTILE, HOSTILE, HOSTILE): 1}


def test_an_event_without_a_customer_is_kept(store: EventStore) -> None:
    entry = recorded(1, store.database_time(), customer=None)
    store.append(Batch(0, [entry], []))
    assert store.at([1]) == {1: entry}


@pytest.mark.parametrize("expected", [0, 2])
def test_a_moved_head_refuses_the_batch(store: EventStore, expected: int) -> None:
    first = batch_for(store)
    store.append(first)
    late = [recorded(expected + 1, store.database_time(), command="late", customer="other")]
    with pytest.raises(HeadMovedError):
        store.append(Batch(expected, late, [(key_of(late[0]), expected + 1)]))
    assert_only(store, first)


@pytest.mark.parametrize("offset", [-400_000, 400_000])
def test_a_time_far_from_the_databases_is_refused(store: EventStore, offset: int) -> None:
    """More than 250 ms off, in either direction."""
    with pytest.raises(ClockRefusedError):
        store.append(batch_for(store, at=store.database_time() + offset))
    assert store.head() == Head(0, 0, "database")


@pytest.mark.parametrize("offset", [-100_000, 100_000])
def test_a_time_near_the_databases_is_accepted(store: EventStore, offset: int) -> None:
    store.append(batch_for(store, at=store.database_time() + offset))
    assert store.head().position == 1


def test_the_last_time_of_a_batch_counts_as_well(store: EventStore) -> None:
    now = store.database_time()
    with pytest.raises(ClockRefusedError):
        store.append(Batch(0, [recorded(1, now), recorded(2, now + HOUR)], []))
    assert store.head().position == 0


def test_time_never_goes_back(store: EventStore) -> None:
    store.append(batch_for(store))
    behind = store.head().recorded_at - 1
    with pytest.raises(ClockRefusedError):
        store.append(batch_for(store, at=behind))
    store.append(batch_for(store, at=behind + 1))
    assert store.head().position == 2


def test_a_trace_sets_any_time_but_never_goes_back(
    store: EventStore, database: TestDatabase
) -> None:
    database.query("UPDATE ledger_head SET clock = 'trace'")
    store.append(batch_for(store, at=HOUR))
    with pytest.raises(ClockRefusedError):
        store.append(batch_for(store, at=HOUR - 1))
    assert store.head() == Head(1, HOUR, "trace")


def test_an_id_is_taken_once(store: EventStore) -> None:
    first = batch_for(store)
    store.append(first)
    again = batch_for(store)
    with pytest.raises(TakenError):
        store.append(again._replace(ids=[(first.ids[0][0], 2)]))
    assert_only(store, first)


def test_an_id_is_free_for_another_kind_and_another_scope(store: EventStore) -> None:
    batch = batch_for(store)
    keys = [("a", "x", "id"), ("b", "x", "id"), ("a", "y", "id"), ("a", "x", "id2")]
    store.append(batch._replace(ids=[(key, 1) for key in keys]))
    assert store.taken(keys) == dict.fromkeys(keys, 1)


def test_a_stream_version_is_taken_once(store: EventStore) -> None:
    first = batch_for(store)
    store.append(first)
    twin = recorded(2, store.database_time(), stream_version=1, sequence=2)
    with pytest.raises(TakenError):
        store.append(Batch(1, [twin], []))
    assert_only(store, first)


def test_a_customers_sequence_number_is_taken_once(store: EventStore) -> None:
    first = batch_for(store)
    store.append(first)
    twin = recorded(2, store.database_time(), stream_version=2, sequence=1)
    with pytest.raises(TakenError):
        store.append(Batch(1, [twin], []))
    assert_only(store, first)


def offsets(database: TestDatabase) -> list[tuple[object, ...]]:
    """Return every stored offset."""
    return database.query("SELECT topic, partition, next_offset FROM stream_offsets ORDER BY 1, 2")


def test_a_first_offset_is_taken_from_the_worker(store: EventStore, database: TestDatabase) -> None:
    store.append(batch_for(store, riders=[Rider("kafka", "usage", 3, 41, 50)]))
    assert offsets(database) == [("usage", 3, 50)]


def test_offsets_move_with_an_empty_batch(store: EventStore, database: TestDatabase) -> None:
    for start in (0, 5, 10):
        store.append(Batch(0, [], [], [Rider("kafka", "usage", 0, start, start + 5)]))
    assert offsets(database) == [("usage", 0, 15)]
    assert store.head().position == 0


@pytest.mark.parametrize("expected", [4, 6])
def test_a_worker_with_another_offset_is_fenced(
    store: EventStore, database: TestDatabase, expected: int
) -> None:
    first = batch_for(store, riders=[Rider("kafka", "usage", 0, 0, 5)])
    store.append(first)
    good, stale = Rider("kafka", "usage", 1, 0, 9), Rider("kafka", "usage", 0, expected, 9)
    with pytest.raises(FencedError):
        store.append(batch_for(store, riders=[good, stale]))
    assert_only(store, first)
    assert offsets(database) == [("usage", 0, 5)]


def test_offsets_stay_when_their_batch_fails(store: EventStore, database: TestDatabase) -> None:
    first = batch_for(store)
    store.append(first)
    again = batch_for(store, riders=[Rider("kafka", "usage", 0, 0, 5)])
    with pytest.raises(TakenError):
        store.append(again._replace(ids=[(first.ids[0][0], 2)]))
    assert offsets(database) == []


def test_one_of_two_writers_at_the_same_position_wins(store: EventStore, other: EventStore) -> None:
    for _ in range(20):
        pair = [(each, batch_for(each)) for each in (store, other)]
        start = threading.Barrier(2)

        def append(each: EventStore, batch: Batch, start: threading.Barrier = start) -> bool:
            start.wait()
            try:
                each.append(batch)
            except HeadMovedError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(append, *zip(*pair, strict=True))) == [False, True]


def test_holding_the_head_makes_another_writer_wait(
    store: EventStore, other: EventStore, open_store: Open
) -> None:
    reader = open_store()
    with ThreadPoolExecutor(1) as pool:
        with store.locked() as head:
            assert head == Head(0, 0, "database")
            waiting = pool.submit(other.append, batch_for(other))
            mine = batch_for(store)
            store.append(mine)
            assert not waiting.done()
            assert reader.since(0, 10) == []
            assert reader.head().position == 0
        with pytest.raises(HeadMovedError):
            waiting.result(timeout=10)
    assert_only(reader, mine)


def test_two_cannot_hold_the_head(store: EventStore, other: EventStore) -> None:
    def hold() -> int:
        with other.locked() as head:
            return head.position

    with ThreadPoolExecutor(1) as pool:
        with store.locked():
            waiting = pool.submit(hold)
            store.append(batch_for(store, 3))
            assert not waiting.done()
        assert waiting.result(timeout=10) == 3


def test_a_block_that_raises_leaves_nothing(store: EventStore, other: EventStore) -> None:
    def append_and_fail() -> None:
        with store.locked():
            store.append(batch_for(store))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        append_and_fail()
    assert store.head() == other.head() == Head(0, 0, "database")


def test_a_failed_append_in_a_block_leaves_the_store_usable(store: EventStore) -> None:
    first = batch_for(store)
    store.append(first)
    with pytest.raises(TakenError), store.locked():
        store.append(batch_for(store)._replace(ids=first.ids))
    second = batch_for(store)
    store.append(second)
    assert store.since(1, 10) == list(second.events)


def test_a_full_disk_is_a_failed_store_and_nothing_is_written(
    store: EventStore, database: TestDatabase
) -> None:
    database.query(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION ''no space left on device'' USING ERRCODE = ''53100''; END'"
    )
    database.query(
        "CREATE TRIGGER full_disk AFTER INSERT ON command_ids EXECUTE FUNCTION full_disk()"
    )
    batch = batch_for(store, riders=[Rider("kafka", "usage", 0, 0, 5)])
    with pytest.raises(StoreFailedError, match="no space left"):
        store.append(batch)
    assert store.since(0, 10) == []
    assert (store.head().position, offsets(database)) == (0, [])
    database.query("DROP TRIGGER full_disk ON command_ids")
    store.append(batch)
    assert_only(store, batch)
