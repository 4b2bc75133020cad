"""The state format: what is written can be read again, and its order is never that of chance."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tollbook import canonical

from domain.activity import Activity, counted
from domain.allocation import Grant, in_burn_order
from domain.balance import Balance, Block, earliest_expiry
from domain.cap import Cap
from domain.customer import Customer
from domain.holds import Hold, Holds
from domain.metering import set_up
from domain.pricebook import PriceBook, PriceVersion
from domain.pricing import compile_model
from domain.reservation import Reservation
from domain.state import (
    balance_from_wire,
    balance_to_wire,
    book_to_wire,
    reservation_to_wire,
)

ids = st.text("abcXYZ019._:-", min_size=1, max_size=12)
amounts = st.integers(0, 10**27)
instants = st.integers(0, 253_402_300_799_999_999)
parts = st.lists(st.tuples(ids, amounts), max_size=3).map(tuple)

grants = st.builds(
    Grant,
    ids,
    st.sampled_from(["paid", "promotional"]),
    st.integers(0, 1_000_000),
    instants | st.just(2**62),
    st.none() | st.lists(ids, min_size=1, max_size=3).map(tuple),
    amounts,
    amounts,
)
quantities = st.dictionaries(st.sampled_from(["requests", "gpu_seconds"]), st.integers(0, 2**60))
holds = st.builds(Hold, amounts, instants, parts, amounts, ids, quantities)
customers = st.builds(
    Customer,
    ids,
    st.just("USD"),
    amounts,
    st.just("Europe/Berlin"),
    ids,
    st.just("standard"),
    st.text("abc=", max_size=8),
)
uses = st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**18)), max_size=9)
figures = st.integers(0, 2**53 - 1)
blocks = st.builds(Block, instants, instants, figures, figures, figures)
models = st.none() | st.lists(ids, min_size=1, max_size=2).map(tuple)
limits = st.integers(0, 10**15)
units = st.sampled_from(["requests", "gpu_seconds"])
caps = st.builds(Cap, ids, units, limits, models, st.just("day"), st.none()) | st.builds(
    Cap, ids, units, limits, models, st.none(), st.just(3600)
)
counts = st.lists(st.tuples(instants, st.integers(1, 2**70)), max_size=3).map(tuple)
capped = st.lists(st.tuples(caps, counts), max_size=3, unique_by=lambda pair: pair[0].id)


def put_in_order(held: list[tuple[str, Hold]]) -> Holds:
    """Build a map of holds by putting one after another."""
    every = Holds()
    for name, hold in held:
        every = every.put(name, hold)
    return every


@st.composite
def balances(draw: st.DrawFn) -> Balance:
    """Make any balance."""
    totals = {
        name: draw(amounts)
        for name in (
            *("held", "credit_held", "overdraft", "granted", "breakage", "spent", "receivable"),
        )
    }
    held = put_in_order(draw(st.lists(st.tuples(ids, holds), max_size=4)))
    limited = draw(capped)
    activity = Activity()
    for number, (at, requests) in enumerate(draw(uses), 1):
        activity = counted(activity, at, requests, number)
    balance = Balance(
        customer=draw(st.none() | customers),
        grants=in_burn_order(draw(st.lists(grants, max_size=4))),
        holds=held,
        activity=activity,
        block=draw(st.none() | blocks),
        cleared_at=draw(instants),
        meters=set_up([cap for cap, _ in limited], (), held),
        volumes=draw(st.dictionaries(ids, st.integers(0, 2**70), max_size=3)),
        sequence=draw(st.integers(0, 2**40)),
        own_version=draw(st.integers(0, 2**30)),
        **totals,
    )
    metered = zip(balance.meters, limited, strict=True)
    meters = tuple(meter._replace(used=used) for meter, (_, used) in metered)
    balance = balance._replace(meters=meters)
    return balance._replace(next_expiry=earliest_expiry(balance))


@given(balances())
def test_a_balance_is_read_as_it_was_written(balance: Balance) -> None:
    text = canonical.dumps(balance_to_wire(balance))
    assert balance_from_wire(json.loads(text)) == balance


@given(st.lists(st.tuples(ids, holds), max_size=6, unique_by=lambda pair: pair[0]))
def test_the_order_of_events_leaves_no_trace_in_the_holds(held: list[tuple[str, Hold]]) -> None:
    one = Balance(holds=put_in_order(held))
    other = Balance(holds=put_in_order(held[::-1]))
    assert canonical.dumps(balance_to_wire(one)) == canonical.dumps(balance_to_wire(other))


def test_an_empty_balance_is_all_zeros() -> None:
    wire = balance_to_wire(Balance())
    money = {name for name, value in wire.items() if value == "0.000000000000"}
    assert money == {
        *("breakage", "credit_held", "granted", "held", "overdraft", "receivable", "spent"),
    }
    rest = {name: wire[name] for name in wire.keys() - money}
    assert rest == {
        "activity": {"first_use": None, "minutes": [], "newest": None, "windows": []},
        "block": None,
        "caps": [],
        "cleared_at": None,
        "customer": None,
        "grants": [],
        "holds": {},
        "own_version": 0,
        "sequence": 0,
        "volumes": {},
    }


def test_a_grant_without_expiry_has_none() -> None:
    grant = Grant("g", "paid", 100, 2**62, None, 1, 2)
    (written,) = balance_to_wire(Balance(grants=(grant,)))["grants"]
    assert written == {
        "expires_at": None,
        "free": "0.000000000001",
        "held": "0.000000000002",
        "id": "g",
        "kind": "paid",
        "models": None,
        "priority": 100,
    }


def test_an_open_reservation_is_written_with_what_it_has_used() -> None:
    reservation = Reservation(
        id="r1",
        customer="acme",
        model="embed",
        estimate={"gpu_seconds": 1_500_000, "pages": 2},
        used={"gpu_seconds": 1},
        opened_at=5,
        expires_at=6,
        charged=7,
        status="open",
        outcome=None,
        version=2,
    )
    assert reservation_to_wire(reservation) == {
        "charged": "0.000000000007",
        "customer": "acme",
        "estimate": {"gpu_seconds": "1500000", "pages": "2"},
        "expires_at": "1970-01-01T00:00:00.000006Z",
        "model": "embed",
        "opened_at": "1970-01-01T00:00:00.000005Z",
        "used": {"gpu_seconds": "1"},
        "version": 2,
    }


def test_a_price_book_is_written_by_what_its_prices_mean() -> None:
    """Two spellings of one price are one state."""
    spellings: list[dict[str, Any]] = [
        {"name": "m", "prices": {"pages": "0.50"}, "tiers": [{"input": "1.0", "output": "2"}]},
        {"name": "m", "prices": {"pages": "0.5"}, "tiers": [{"input": "1", "output": "2"}]},
    ]
    written = [
        book_to_wire(
            PriceBook("b", "USD", (PriceVersion(1, 9, {"m": compile_model(model)}, {"m": model}),))
        )
        for model in spellings
    ]
    assert written[0] == written[1]
    model = {
        "max_output_tokens": None,
        "rates": {"pages": "500000000000"},
        "tiers": [[None, "1000000", "1000000", "2000000"]],
    }
    nine = "1970-01-01T00:00:00.000009Z"
    assert written[0] == {"currency": "USD", "versions": [[1, nine, {"m": model}]]}
