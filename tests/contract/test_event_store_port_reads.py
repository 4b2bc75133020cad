"""What every event store promises about reading: committed events, along any axis, in order."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from adapters.event_store.reading_ahead import ROWS_AT_ONCE
from adapters.event_store.store import PostgresEventStore
from application.ports import Batch, EventStore, Fact, History, Rider, Snapshot
from domain.balance import Balance
from domain.event import Event, Recorded
from domain.events import CustomerCreated, GrantIssued, ReservationHeld
from domain.folding import evolve
from tests.support.databases import TestDatabase
from tests.support.events import batch_for, recorded

NOTHING: list[Recorded] = []


@pytest.fixture
def store(database: TestDatabase) -> Iterator[EventStore]:
    """Open a store on a fresh ledger; every test runs on both servers."""
    opened = PostgresEventStore(database.app_url)
    yield opened
    opened.close()


@pytest.fixture
def events(store: EventStore) -> list[Recorded]:
    """Append six events of two customers, taking turns: 1, 3, 5 and 2, 4, 6."""
    now = store.database_time()
    made = [
        recorded(
            position,
            now,
            customer=("even", "odd")[position % 2],
            stream_version=(position + 1) // 2,
            sequence=(position + 1) // 2,
        )
        for position in range(1, 7)
    ]
    store.append(Batch(0, made, []))
    return made


def test_the_time_of_the_database_goes_on(store: EventStore) -> None:
    times = [store.database_time() for _ in range(5)]
    assert all(earlier < later for earlier, later in pairwise(times))


def test_reading_on_is_in_order_and_limited(store: EventStore, events: list[Recorded]) -> None:
    assert store.since(0, 100) == events
    assert store.since(2, 3) == events[2:5]
    assert store.since(6, 3) == NOTHING


def test_what_concerns_nobody_is_left_out_but_for_the_last(
    store: EventStore, events: list[Recorded]
) -> None:
    asked: list[tuple[str, str | None]] = []

    def concerns(stream: str, customer: str | None) -> bool:
        asked.append((stream, customer))
        return customer == "odd"

    assert store.since(0, 100, concerns) == [*events[::2], events[5]]
    assert set(asked) <= {(each.stream, each.customer) for each in events}
    assert store.since(0, 3, concerns) == [events[0], events[2]]
    assert store.since(0, 2, lambda _stream, _customer: False) == [events[1]]
    assert store.since(6, 3, concerns) == NOTHING


def test_events_are_found_by_position(store: EventStore, events: list[Recorded]) -> None:
    assert store.at([6, 2, 99, 2]) == {2: events[1], 6: events[5]}
    assert store.at([]) == {}


def test_no_id_is_taken_when_none_is_asked_for(store: EventStore) -> None:
    assert store.taken([]) == {}


def test_a_customers_events_are_read_from_a_number_to_a_position(
    store: EventStore, events: list[Recorded]
) -> None:
    odd = events[::2]
    assert list(store.customer_events("odd", 0, 6)) == odd
    assert list(store.customer_events("odd", 1, 6)) == odd[1:]
    assert list(store.customer_events("odd", 0, 4)) == odd[:2]
    assert list(store.customer_events("odd", 0, 6, 2)) == odd[:2]
    assert list(store.customer_events("odd", 1, 6, 2)) == odd[1:2]
    assert list(store.customer_events("odd", 2, 6, 2)) == NOTHING
    assert list(store.customer_events("odd", 3, 6)) == NOTHING
    assert list(store.customer_events("nobody", 0, 6)) == NOTHING


def test_a_streams_events_are_read_up_to_a_position(
    store: EventStore, events: list[Recorded]
) -> None:
    even = events[1::2]
    assert list(store.stream_events("customer-even", 6)) == even
    assert list(store.stream_events("customer-even", 5)) == even[:2]
    assert list(store.stream_events("customer-", 6)) == NOTHING


def test_an_id_with_a_colon_is_one_id(store: EventStore) -> None:
    entry = recorded(1, store.database_time(), customer="a:b:customer:c")
    store.append(Batch(0, [entry], []))
    assert list(store.customer_events("a:b:customer:c", 0, 1)) == [entry]
    assert list(store.stream_events("customer-a:b:customer:c", 1)) == [entry]
    assert list(store.customer_events("a", 0, 1)) == NOTHING


def test_events_of_many_customers_come_in_order_from_where_each_was_left(
    store: EventStore, events: list[Recorded]
) -> None:
    left = a_balance("odd", 1)
    store.save_snapshots([Snapshot(left, 1)])
    found = store.histories(["odd", "even", "nobody"], 5)
    assert found == {
        "odd": History(left, [Fact(events[at].event, events[at].recorded_at) for at in (2, 4)]),
        "even": History(
            Balance(), [Fact(events[at].event, events[at].recorded_at) for at in (1, 3)]
        ),
        "nobody": History(Balance(), []),
    }
    assert store.histories([], 5) == {}


def test_a_customer_whose_snapshot_is_of_later_is_left_out(
    store: EventStore, events: list[Recorded]
) -> None:
    store.save_snapshots([Snapshot(a_balance("odd", 3), 5)])
    assert store.histories(["odd", "even"], 4).keys() == {"even"}
    assert store.histories(["odd"], 5) == {"odd": History(a_balance("odd", 3), [])}
    assert events[4].customer_sequence == 3


def test_many_more_events_than_are_read_at_once_come_whole_and_in_order(store: EventStore) -> None:
    now = store.database_time()
    count = 5 * ROWS_AT_ONCE + 1
    made = [
        recorded(
            position,
            now,
            customer=f"cust-{position % 3}",
            stream_version=(position + 2) // 3,
            sequence=(position + 2) // 3,
        )
        for position in range(1, count + 1)
    ]
    store.append(Batch(0, made, []))
    customers = sorted({str(each.customer) for each in made})
    facts = {
        name: [Fact(each.event, each.recorded_at) for each in made if each.customer == name]
        for name in customers
    }
    found = store.histories(customers, count)
    assert found == {name: History(Balance(), facts[name]) for name in customers}
    for each in made[:3]:
        same = [other for other in made if other.stream == each.stream]
        assert list(store.streams_events([each.stream], count)) == same


def test_events_of_many_streams_come_each_in_order(
    store: EventStore, events: list[Recorded]
) -> None:
    odd, even = events[0].stream, events[1].stream
    found = list(store.streams_events([even, odd, even, "license-none"], 4))
    assert [each for each in found if each.stream == odd] == [events[0], events[2]]
    assert [each for each in found if each.stream == even] == [events[1], events[3]]
    assert len(found) == 4
    assert list(store.streams_events([], 4)) == NOTHING


def a_balance(name: str = "cust-1", sequence: int = 2) -> Balance:
    """Return the balance of a customer with a grant, as if after so many events."""
    created = CustomerCreated(
        credit_limit=0,
        currency="USD",
        customer=name,
        name_sealed="sealed",
        plan="standard",
        price_book="default",
        time_zone="UTC",
    )
    granted = GrantIssued(
        amount=7,
        customer=name,
        grant="g",
        kind="paid",
        models=("m",),
        overdraft_repaid=0,
        priority=1,
    )
    held = ReservationHeld(
        credit=0,
        customer=name,
        estimate={"requests": 1},
        expires_at=9,
        grants=(("g", 2),),
        held=2,
        model="m",
        reservation="r",
    )
    balance = Balance()
    happened: tuple[Event, ...] = (created, granted, held)
    for event in happened:
        balance = evolve(balance, event, 1)
    return balance._replace(sequence=sequence)


def test_a_snapshot_comes_back_as_it_was(store: EventStore) -> None:
    assert store.snapshot("cust-1") is None
    store.save_snapshots([Snapshot(a_balance(), 9)])
    assert store.snapshot("cust-1") == Snapshot(a_balance(), 9)
    assert store.snapshot("cust-2") is None
    many = store.histories(["cust-2", "cust-1"], 9)
    assert many == {"cust-2": History(Balance(), []), "cust-1": History(a_balance(), [])}


def test_the_newer_snapshot_stays(store: EventStore) -> None:
    for sequence in (2, 5, 3):
        store.save_snapshots([Snapshot(a_balance(sequence=sequence), sequence + 10)])
    assert store.snapshot("cust-1") == Snapshot(a_balance(sequence=5), 15)


def test_a_snapshot_with_another_state_version_is_dropped_and_replaced(
    store: EventStore, database: TestDatabase
) -> None:
    store.save_snapshots([Snapshot(a_balance(sequence=5), 15)])
    database.query("UPDATE snapshots SET state_version = 999, data = 'not even JSON'")
    assert store.snapshot("cust-1") is None
    assert store.histories(["cust-1"], 15) == {"cust-1": History(Balance(), [])}
    store.save_snapshots([Snapshot(a_balance(sequence=3), 13)])
    assert store.snapshot("cust-1") == Snapshot(a_balance(sequence=3), 13)


def test_exactly_the_stored_batch_matches(store: EventStore) -> None:
    batch = batch_for(store, 3)
    assert not store.matches(batch)
    store.append(batch)
    assert store.matches(batch)
    store.append(batch_for(store))
    assert store.matches(batch)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("command", "another"),
        ("recorded_at", 5),
        ("actor", "another"),
        ("event", recorded(1, 0, customer="another").event),
    ],
)
def test_another_batch_at_the_same_position_does_not_match(
    store: EventStore, field: str, value: Any
) -> None:
    batch = batch_for(store)
    store.append(batch)
    another = batch.events[-1]._replace(**{field: value})
    assert not store.matches(batch._replace(events=[another]))


def test_a_batch_of_offsets_alone_matches_by_its_offsets(store: EventStore) -> None:
    """A worker whose whole batch was parked asks too, after a lost acknowledgement."""
    batch = Batch(0, [], [], [Rider("kafka", "usage", 0, 0, 5), Rider("kafka", "usage", 1, 0, 7)])
    assert not store.matches(batch)
    store.append(batch)
    assert store.matches(batch)
    store.append(Batch(0, [], [], [Rider("kafka", "usage", 0, 5, 6)]))
    assert not store.matches(batch)


def test_a_closed_store_opens_again_when_it_is_used(
    store: EventStore, events: list[Recorded]
) -> None:
    assert isinstance(store, PostgresEventStore)
    store.close()
    assert store.since(0, 100) == events
