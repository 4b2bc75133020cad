"""The recorder passes the library's own test cases for recorders, on our tables.

The cases insert events without an envelope, so they use a bare recorder; each thread has a
connection of its own, as processes would.
"""

import ast
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    IntegrityError,
    StoredEvent,
)

from adapters.event_store.application_recorder import LedgerApplicationRecorder
from adapters.event_store.mapper import LedgerMapper
from adapters.event_store.recorder import LedgerRecorder
from adapters.event_store.store import PostgresEventStore
from tests.architecture.source_files import (
    ROOMS,
    imported_names,
    named,
    python_files,
    shipped_files,
    tree_of,
)
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger, reserve, settle
from tests.support.library_cases import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
    RecorderTestCase,
)


class Connections:
    """A query function with a connection per thread."""

    def __init__(self, url: str) -> None:
        """Connect when a thread first asks."""
        self._url = url
        self._local = threading.local()
        self._opened: list[PostgresEventStore] = []

    def run(self, query: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Run a query on the thread's own connection."""
        if not hasattr(self._local, "store"):
            self._local.store = PostgresEventStore(self._url)
            self._opened.append(self._local.store)
        rows: list[tuple[Any, ...]] = self._local.store.run(query, parameters)
        return rows

    def close(self) -> None:
        """Close every connection."""
        for store in self._opened:
            store.close()


@pytest.fixture
def connections(database: TestDatabase) -> Iterator[Connections]:
    """Open connections to a fresh database, one per thread."""
    opened = Connections(database.app_url)
    yield opened
    opened.close()


class _OverOurTables(RecorderTestCase):
    """What the library's cases need to know: our ids are text, and name their axis."""

    __test__ = False  # run by the tests below, once per server
    connections: Connections

    def new_originator_id(self) -> str:
        return f"stream:{uuid4()}"


class _SingleStreams(_OverOurTables, AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return LedgerRecorder(self.connections.run, bare=True)


class _WholeLog(_OverOurTables, ApplicationRecorderTestCase[Any]):
    def create_recorder(self) -> ApplicationRecorder:
        return LedgerApplicationRecorder(self.connections.run, bare=True)


class _TwoLargeInserts(_OverOurTables, NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> ApplicationRecorder:
        return LedgerApplicationRecorder(self.connections.run, bare=True)


CASES = [
    (case, name)
    for case in (_SingleStreams, _WholeLog, _TwoLargeInserts)
    for name in dir(case)
    if name.startswith(("test", "optional_test"))
]


@pytest.mark.parametrize(("case", "name"), CASES)
def test_the_recorder_passes_the_case_of_the_library(
    case: type[_OverOurTables], name: str, connections: Connections
) -> None:
    one = case(name)
    one.connections = connections
    getattr(one, name)()


def test_every_case_of_the_library_is_run() -> None:
    assert len(CASES) == 8


def test_positions_have_no_gaps_whatever_fails_and_whoever_writes(
    connections: Connections, database: TestDatabase
) -> None:
    recorder = LedgerApplicationRecorder(connections.run, bare=True)

    def write(thread: int) -> None:
        for turn in range(20):
            stream = f"stream:{thread if turn % 3 else 'contested'}"
            events = [StoredEvent(stream, turn, "topic", b"{}") for turn in (turn, turn + 100)]
            try:
                recorder.insert_events(events)
            except IntegrityError:
                assert stream == "stream:contested"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    found = database.query("SELECT count(*), max(position), count(DISTINCT position) FROM events")
    head = recorder.max_notification_id()
    assert found == [(head, head, head)]
    assert head == 2 * (8 * 13 + 7)


def test_a_bare_recorder_leaves_the_envelope_empty_but_for_the_time(
    connections: Connections, database: TestDatabase
) -> None:
    recorder = LedgerRecorder(connections.run, bare=True)
    recorder.insert_events([StoredEvent("stream:one", 1, "topic", b"{}")])
    assert database.query(
        "SELECT num_nonnulls(customer, customer_sequence, command, causation, correlation, "
        "actor, occurred_at, version) FROM events"
    ) == [(0,)]


def test_a_subscription_is_not_held_up_by_topics_it_does_not_want(
    connections: Connections,
) -> None:
    recorder = LedgerApplicationRecorder(connections.run, bare=True)
    recorder.insert_events([StoredEvent("stream:one", n, "other", b"{}") for n in range(3000)])
    recorder.insert_events([StoredEvent("stream:two", n, "wanted", b"{}") for n in range(600)])
    with recorder.subscribe(topics=["wanted"]) as subscription:
        found = [next(subscription).id for _ in range(600)]
    assert found == list(range(3001, 3601))


def test_a_stopped_subscription_lets_go_of_the_thread_that_waits(
    connections: Connections,
) -> None:
    subscription = LedgerApplicationRecorder(connections.run).subscribe()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(list, subscription)
        subscription.stop()
        assert waiting.result(timeout=10) == []


def test_the_log_of_a_ledger_is_a_sequence_of_notifications(database: TestDatabase) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
        reserve(ledger, "r-1").result()
        settle(ledger, "r-1").result()
        assert isinstance(ledger.store, PostgresEventStore)
        recorder = LedgerApplicationRecorder(ledger.store.run)
        found = recorder.select_notifications(None, 10, topics=["reservation_settled.1"])
        assert [(each.id, each.originator_id, each.originator_version) for each in found] == [
            (5, "stream:reservation-r-1", 2)
        ]
        assert LedgerMapper().to_domain_event(found[0]) == ledger.store.at([5])[5]
        stored = LedgerMapper().to_stored_event(ledger.store.at([5])[5])
        assert (stored.topic, stored.state) == (found[0].topic, found[0].state)


def test_a_ledgers_recorder_takes_no_events(database: TestDatabase) -> None:
    store = PostgresEventStore(database.app_url)
    event = StoredEvent("stream:one", 1, "topic", b"{}")
    with pytest.raises(NotImplementedError):
        LedgerApplicationRecorder(store.run).insert_events([event])
    store.close()


def test_nothing_that_runs_makes_a_bare_recorder() -> None:
    calls = [
        f"{named(path)}: line {node.lineno}"
        for path in shipped_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and any(word.arg == "bare" for word in node.keywords)
    ]
    assert calls == []


def test_the_library_is_met_behind_one_door_and_only_through_its_interfaces() -> None:
    """Its factories would choose recorders by environment: in memory by default."""
    met = {
        (named(path).rpartition("/")[0], name)
        for path in python_files(*ROOMS)
        for name in imported_names(path)
        if name.startswith("eventsourcing") and name.count(".") == 1
    }
    assert {name for _, name in met} == {"eventsourcing.persistence"}
    assert {folder for folder, _ in met} == {"adapters/event_store"}
