"""What every event store promises about a batch that is on its way: send now, receive later."""

from collections.abc import Iterator

import pytest

from adapters.event_store.store import PostgresEventStore
from application.ports import EventStore, HeadMovedError, TakenError
from tests.support.databases import TestDatabase
from tests.support.events import batch_for


@pytest.fixture
def store(database: TestDatabase) -> Iterator[EventStore]:
    """Open a store on a fresh ledger; every test runs on both servers."""
    opened = PostgresEventStore(database.app_url)
    yield opened
    opened.close()


def test_what_was_sent_is_received(store: EventStore) -> None:
    for _ in range(3):
        batch = batch_for(store, 2)
        store.send(batch)
        store.receive()
        assert store.since(batch.expected, 10) == list(batch.events)


def test_other_calls_wait_for_what_was_sent(store: EventStore) -> None:
    batch = batch_for(store)
    store.send(batch)
    assert store.since(0, 10) == list(batch.events)
    assert store.head().position == 1
    store.receive()


def test_a_failure_is_told_by_receive(store: EventStore) -> None:
    first = batch_for(store)
    store.append(first)
    store.send(batch_for(store)._replace(ids=first.ids))
    with pytest.raises(TakenError):
        store.receive()
    store.send(batch_for(store)._replace(expected=7))
    assert store.head().position == 1
    with pytest.raises(HeadMovedError):
        store.receive()
    store.append(batch_for(store))
    assert store.head().position == 2


def test_holding_the_head_waits_for_what_was_sent(store: EventStore) -> None:
    first = batch_for(store)
    store.send(first)
    with store.locked() as head:
        assert head.position == 1
        second = batch_for(store)
        store.append(second)
    assert store.since(0, 10) == [*first.events, *second.events]


def test_a_batch_larger_than_any_buffer_is_sent_whole(
    store: EventStore, database: TestDatabase
) -> None:
    database.query("UPDATE ledger_head SET clock = 'trace'")  # encoding it may take a while
    batch = batch_for(store, 20_000)
    store.send(batch)
    store.receive()
    assert store.head().position == 20_000
    assert store.matches(batch)
