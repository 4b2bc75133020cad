"""The port of the event store: many reservations at once, whatever their streams tell."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from adapters.event_store.reading_ahead import ROWS_AT_ONCE
from adapters.event_store.store import PostgresEventStore
from application.loading import load_reservation
from application.ports import Batch, EventStore
from domain.event import Event, Recorded
from domain.events import (
    ReservationExtended,
    ReservationHeld,
    ReservationReleased,
    ReservationSettled,
)
from domain.inferences import InferencesSettled, Line
from tests.support.databases import TestDatabase
from tests.support.events import recorded


@pytest.fixture
def store(database: TestDatabase) -> Iterator[EventStore]:
    """Open a store on a fresh ledger."""
    with closing(PostgresEventStore(database.app_url)) as opened:
        yield opened


def held(name: str, now: int, **more: Any) -> ReservationHeld:
    """Return a hold in its usual form, unless more is said."""
    terms: dict[str, Any] = {
        "credit": 0,
        "customer": "cust-1",
        "estimate": {"input_tokens": 7},
        "expires_at": now + 1,
        "grants": (("grant-1", 5),),
        "held": 5,
        "model": "gpt4",
        "reservation": name,
    }
    return ReservationHeld(**{**terms, **more})


def settled(name: str, *, final: bool) -> ReservationSettled:
    return ReservationSettled(
        charged=3,
        credit=0,
        customer="cust-1",
        final=final,
        from_balance=3,
        grants=(("grant-1", 3),),
        model="gpt4",
        period="2026-11",
        price_book="usd",
        price_version=1,
        receivable=0,
        released=2 if final else 0,
        reservation=name,
        source=None if final else 'a "source" of é\u2028',
        usage={"gpu_seconds": 1_500_000, "input_tokens": 2},
        volume=0,
    )


def settled_together(name: str) -> InferencesSettled:
    line = Line(charged=1, id="i-\x7f\\", usage={"requests": 1}, volume=0)
    return InferencesSettled(
        customer="cust-1",
        lines=(line, replace(line, id="i-2", grants=(), receivable=1)),
        model="gpt4",
        period="2026-11",
        price_book="usd",
        price_version=1,
        reservation=name,
    )


def extended(name: str, now: int) -> ReservationExtended:
    return ReservationExtended(
        credit=0,
        customer="cust-1",
        estimate={"output_tokens": 9},
        expires_at=now + 60_000_000,
        grants=(),
        held=0,
        reservation=name,
    )


def streams(now: int) -> dict[str, list[Event]]:
    """Return what several reservations tell, in the order of each."""
    long = "r-" + "x" * 126
    parts = [settled("parts", final=False) for _ in range(ROWS_AT_ONCE)]
    decision = {"policy": "own/1", "remaining": [["day", 7, None], ["all", "1.5", None]]}
    released = ReservationReleased(customer="cust-1", reason="a \n", released=5, reservation="rest")
    return {
        "open": [held("open", now)],
        "empty": [held("empty", now, estimate={}, grants=(), held=0)],
        long: [held(long, now, held=10**27, expires_at=253_402_300_799_999_999)],
        "several": [
            held("several", now, inferences=7, estimate={"gpu_seconds": 1, "requests": 2}),
            settled_together("several"),
            extended("several", now),
            settled_together("several"),
        ],
        "parts": [held("parts", now, decision=decision), *parts, settled("parts", final=True)],
        "rest": [
            held("rest", now, license="lic-1", ttl_seconds=5),
            extended("rest", now),
            released,
        ],
        "facts": [held("facts", now, facts={}), settled("facts", final=True)],
        "strange": [held("strange", now, decision={"a}": "\\", "é": {}}), extended("strange", now)],
    }


def interleaved(now: int) -> list[Recorded]:
    """Return what they tell as it is recorded, one of each in turn."""
    told = streams(now)
    found: list[Recorded] = []
    for number in range(max(map(len, told.values()))):
        for events in told.values():
            if number < len(events):
                event = events[number]
                position = len(found) + 1
                entry = recorded(position, now, event, stream_version=number + 1)
                found.append(entry._replace(command=f"command-{position} é"))
    return found


def test_they_are_what_each_of_them_is_alone_whatever_they_tell(store: EventStore) -> None:
    events = interleaved(store.database_time())
    store.append(Batch(0, events, []))
    last = len(events)
    names = [*reversed(streams(0)), "none", ""]
    for position in (last, 0, 1, 7, 8, 9, 15, 20, last - 1):
        alone = {name: load_reservation(store, name, position) for name in names}
        expected = {name: state for name, state in alone.items() if state is not None}
        assert store.reservations(names, position) == expected
    found = store.reservations(names, last)
    assert len(found) == len(names) - 2
    assert found["parts"].status == found["facts"].status == "settled"
    assert found["parts"].version == ROWS_AT_ONCE + 2
    assert found["several"].used == {"requests": 4}


def test_what_was_read_once_is_not_changed_by_who_changes_what_was_read(store: EventStore) -> None:
    events = interleaved(store.database_time())
    store.append(Batch(0, events, []))
    names = list(streams(0))
    for state in store.reservations(names, len(events)).values():
        state.estimate["pages"] = 10**9
        state.used["pages"] = 10**9
    for state in store.reservations(names, len(events)).values():
        assert "pages" not in state.estimate
        assert "pages" not in state.used
