"""The port of the event store: many reservations at once, as their events leave them."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from adapters.event_store.store import PostgresEventStore
from application.ports import Batch, EventStore
from domain.event import Recorded
from domain.events import ReservationHeld, ReservationReleased
from domain.reservation import Reservation, evolve
from tests.support.databases import TestDatabase
from tests.support.events import recorded


@pytest.fixture
def store(database: TestDatabase) -> Iterator[EventStore]:
    """Open a store on a fresh ledger; every test runs on both servers."""
    with closing(PostgresEventStore(database.app_url)) as opened:
        yield opened


def test_many_reservations_are_read_as_of_a_position(store: EventStore) -> None:
    now = store.database_time()
    made = [a_hold("r-1", 1, now), a_hold("r-2", 2, now, decision={"policy": "own/1"})]
    made.append(a_hold("r-3", 3, now, facts={}))
    released = ReservationReleased(customer="cust-1", released=5, reservation="r-1")
    made.append(
        made[0]._replace(
            position=4,
            name=released.NAME,
            stream_version=2,
            customer_sequence=4,
            command="release-1",
            event=released,
        )
    )
    store.append(Batch(0, made, []))
    names = ["r-2", "r-1", "r-0", "r-3", "r-1"]
    expected: dict[str, Reservation] = {}
    for position in range(5):
        if position:
            each = made[position - 1]
            name = each.stream.removeprefix("reservation-")
            known = expected.get(name)
            state = evolve(known, each.event, each.recorded_at, each.command)
            assert state is not None
            expected[name] = state
        assert store.reservations(names, position) == expected
    assert expected["r-1"].status == "released"
    assert expected["r-3"].status == "open"
    assert store.reservations([], 4) == {}


def a_hold(name: str, position: int, now: int, **more: Any) -> Recorded:
    """Return a hold as it is recorded."""
    held = ReservationHeld(
        credit=0,
        customer="cust-1",
        estimate={"input_tokens": 7},
        expires_at=now + position,
        grants=(("grant-1", 5),),
        held=5,
        model="gpt4",
        reservation=name,
        **more,
    )
    entry = recorded(position, now, customer="cust-1", stream_version=1, sequence=position)
    return entry._replace(
        name=held.NAME, version=held.VERSION, stream=held.stream(), command=name, event=held
    )
