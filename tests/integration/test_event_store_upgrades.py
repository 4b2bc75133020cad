"""A process that meets what newer code wrote stops before it decides, and leaves every id free."""

from typing import Any

import pytest
from tollbook.errors import Unavailable

from adapters.event_store.store import PostgresEventStore
from application.ports import Batch
from application.tollbook import Tollbook
from application.world import READER
from domain.events import MinReaderRaised
from tests.support.databases import TestDatabase
from tests.support.events import recorded
from tests.support.ledger import a_customer, open_ledger, reserve


def write_as_newer_code(database: TestDatabase, **changes: Any) -> None:
    """Append an event of a name or version that this code does not have."""
    store = PostgresEventStore(database.app_url)
    head = store.head()
    now = max(store.database_time(), head.recorded_at)
    entry = recorded(head.position + 1, now, customer="another")._replace(**changes)
    store.append(Batch(head.position, [entry], []))
    store.close()


def raise_reader(database: TestDatabase, reader: int) -> None:
    """Append the event that shuts out code which reads less than a generation."""
    store = PostgresEventStore(database.app_url)
    head = store.head()
    event = MinReaderRaised(reader=reader)
    now = max(store.database_time(), head.recorded_at)
    entry = recorded(head.position + 1, now, event, customer=None, stream_version=1)
    store.append(Batch(head.position, [entry], []))
    store.close()


def assert_it_stopped(ledger: Tollbook, database: TestDatabase) -> None:
    """Check that nothing is decided any more, however often it is asked."""
    before = database.query("SELECT position FROM ledger_head")
    for _ in range(3):
        answer = reserve(ledger, "r-1")
        assert (answer.code, answer.recorded) == ("unavailable", None)
        assert "upgrade it" in str(answer.error)
    assert database.query("SELECT position FROM ledger_head") == before
    assert database.query("SELECT count(*) FROM command_ids WHERE id = 'r-1'") == [(0,)]


@pytest.mark.parametrize("changes", [{"version": 99}, {"name": "unheard_of"}])
def test_an_unknown_event_stops_a_running_process(
    database: TestDatabase, changes: dict[str, Any]
) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
        write_as_newer_code(database, **changes)
        assert_it_stopped(ledger, database)


def test_an_unknown_event_of_a_customer_stops_a_new_process_too(database: TestDatabase) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
    sequence: dict[str, Any] = {"customer": "cust-1", "customer_sequence": 3, "version": 99}
    write_as_newer_code(database, **sequence)
    with open_ledger(database) as ledger:
        assert_it_stopped(ledger, database)
        with pytest.raises(Unavailable):
            ledger.balance("cust-1")


def test_a_raised_min_reader_stops_a_running_process(database: TestDatabase) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
        raise_reader(database, READER + 1)
        assert_it_stopped(ledger, database)


def test_a_raised_min_reader_lets_no_older_process_start(database: TestDatabase) -> None:
    raise_reader(database, READER + 1)
    with pytest.raises(Unavailable, match="upgrade it"), open_ledger(database):
        pass


def test_a_min_reader_that_this_code_has_changes_nothing(database: TestDatabase) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
        raise_reader(database, READER)
        assert reserve(ledger, "r-1").done
    with open_ledger(database) as ledger:
        assert reserve(ledger, "r-2").done
