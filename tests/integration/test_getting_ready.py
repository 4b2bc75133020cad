"""Getting ready: what the first commands would wait for is done before, and nothing is written."""

from contextlib import closing

import pytest
from tollbook.errors import Tampered

from adapters.event_store import mapper
from adapters.event_store.mapper import decode, encode
from adapters.event_store.store import PostgresEventStore
from domain.event import EVENT_TYPES
from entrypoints.bootstrap import tollbook_on
from tests.support.databases import TestDatabase
from tests.support.events import batch_for, recorded


def plans(store: PostgresEventStore) -> list[int]:
    """Return how often each statement that was prepared at the start has been planned or run."""
    rows = store.run(
        "SELECT generic_plans + custom_plans FROM pg_prepared_statements "
        "WHERE name LIKE 'tollbook_%%' ORDER BY name"
    )
    return [count for (count,) in rows]


def test_every_statement_is_planned_and_nothing_is_written(
    embedded_database: TestDatabase,
) -> None:
    with closing(PostgresEventStore(embedded_database.app_url)) as store:
        batch = batch_for(store, 2)
        store.append(batch)
        store.close()
        head = store.head()
        assert plans(store) == [0, 0, 0, 0]
        store.get_ready()
        assert plans(store) == [1, 1, 1, 1]
        assert store.head() == head
        assert store.since(0, 10) == batch.events
        store.append(batch_for(store))
        assert store.head().position == 3


def test_every_payload_can_be_written_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapper, "_ENCODERS", {})
    monkeypatch.setattr(mapper, "_DECODERS", {})
    mapper.learn_all()
    monkeypatch.delattr(mapper, "TypeAdapter")
    event = recorded(1, 0).event
    assert decode(event.NAME, event.VERSION, encode(event)) == event
    for name, version in EVENT_TYPES:
        with pytest.raises(Tampered):
            decode(name, version, "{}")


@pytest.mark.parametrize("serving", [False, True])
def test_only_who_serves_gets_ready(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch, serving: bool
) -> None:
    ready: list[PostgresEventStore] = []

    def note(store: PostgresEventStore) -> None:
        ready.append(store)

    monkeypatch.setattr(PostgresEventStore, "get_ready", note)
    with tollbook_on(embedded_database.parts, serving=serving):
        assert len(set(map(id, ready))) == (2 if serving else 0), "the two that commands wait for"
