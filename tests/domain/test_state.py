"""The state format: what is written can be read again, and its order is never that of chance."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tollbook import canonical

from domain.allocation import Grant
from domain.balance import Balance
from domain.holds import Hold
from domain.license_use import Count, Lease, Use
from domain.policy import Limit
from domain.pricebook import PriceBook, PriceVersion
from domain.pricing import compile_model
from domain.reservation import Reservation
from domain.state import (
    balance_from_wire,
    balance_to_wire,
    book_to_wire,
    reservation_to_wire,
    untouched_since,
)
from tests.domain.state_values import balances, holds, ids, put_in_order, used, uses


@given(balances())
def test_a_balance_is_read_as_it_was_written(balance: Balance) -> None:
    text = canonical.dumps(balance_to_wire(balance))
    assert balance_from_wire(json.loads(text), untouched_since(balance)) == balance


@given(balances())
def test_a_state_alone_does_not_say_which_holds_are_untouched(balance: Balance) -> None:
    read = balance_from_wire(json.loads(canonical.dumps(balance_to_wire(balance))))
    assert untouched_since(read) == {}
    assert balance_to_wire(read) == balance_to_wire(balance)


@given(st.lists(st.tuples(ids, holds), max_size=6, unique_by=lambda pair: pair[0]))
def test_the_order_of_events_leaves_no_trace_in_the_holds(held: list[tuple[str, Hold]]) -> None:
    one = Balance(holds=put_in_order(held))
    other = Balance(holds=put_in_order(held[::-1]))
    assert canonical.dumps(balance_to_wire(one)) == canonical.dumps(balance_to_wire(other))


@given(uses)
def test_the_order_of_events_leaves_no_trace_in_the_uses_of_licences(each: dict[str, Use]) -> None:
    one = Balance(uses=used(each))
    other = Balance(uses=used(dict(reversed(each.items()))))
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
        "case": None,
        "cleared_at": None,
        "customer": None,
        "grants": [],
        "holds": {},
        "licenses": {},
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


def test_a_hold_says_its_licence_and_when_it_was_opened_only_if_it_has_one() -> None:
    plain = Hold(7, 6, (("g", 5),), 2, "embed", {"pages": 2})
    balance = Balance(holds=put_in_order([("r1", plain), ("r2", plain._replace(license="lic"))]))
    balance = balance._replace(
        holds=balance.holds.put("r3", plain._replace(license="lic", opened_at=5))
    )
    written = balance_to_wire(balance)["holds"]
    assert written["r1"] == {
        "amount": "0.000000000007",
        "credit": "0.000000000002",
        "estimate": {"pages": "2"},
        "expires_at": "1970-01-01T00:00:00.000006Z",
        "model": "embed",
        "parts": [["g", "0.000000000005"]],
    }
    epoch, five = "1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000005Z"
    assert written["r2"] == {**written["r1"], "license": "lic", "opened_at": epoch}
    assert written["r3"] == {**written["r1"], "license": "lic", "opened_at": five}


def test_a_hold_says_what_one_of_several_inferences_takes_only_if_it_is_for_several() -> None:
    one = Hold(7, 6, (), 7, "embed", {"pages": 2})
    several = one._replace(each={"gpu_seconds": 1_500_000, "requests": 1})
    written = balance_to_wire(Balance(holds=put_in_order([("r1", one), ("r2", several)])))["holds"]
    share = {"gpu_seconds": "1500000", "requests": "1"}
    assert written["r2"] == {**written["r1"], "each": share}


def test_what_is_used_of_a_licence_is_written_with_the_limit_as_its_policy_has_it() -> None:
    compute = Limit("compute", "gpu_seconds", 1_500_000, "day", ("emb*",))
    rate = Limit("rate", "requests", 10, "second", None)
    lease = Lease("l1", "embed", "0a" * 32, 5, 6, True, 2)
    use = Use((Count(compute, 5, 2**70), Count(rate)), (lease,))
    assert balance_to_wire(Balance(uses=used({"lic": use})))["licenses"] == {
        "lic": {
            "counts": [
                {
                    "limit": {
                        "id": "compute",
                        "limit": "1.5",
                        "models": ["emb*"],
                        "per": "day",
                        "unit": "gpu_seconds",
                    },
                    "start": "1970-01-01T00:00:00.000005Z",
                    "units": "1180591620717411303424",
                },
                {
                    "limit": {"id": "rate", "limit": 10, "per": "second", "unit": "requests"},
                    "start": "1970-01-01T00:00:00.000000Z",
                    "units": "0",
                },
            ],
            "leases": [
                {
                    "borrowed": True,
                    "expires_at": "1970-01-01T00:00:00.000006Z",
                    "holder": "0a" * 32,
                    "id": "l1",
                    "leased_at": "1970-01-01T00:00:00.000005Z",
                    "model": "embed",
                    "version": 2,
                }
            ],
        }
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
    written = {
        "charged": "0.000000000007",
        "customer": "acme",
        "estimate": {"gpu_seconds": "1500000", "pages": "2"},
        "expires_at": "1970-01-01T00:00:00.000006Z",
        "license": None,
        "model": "embed",
        "opened_at": "1970-01-01T00:00:00.000005Z",
        "used": {"gpu_seconds": "1"},
        "version": 2,
    }
    assert reservation_to_wire(reservation) == written
    licensed = reservation._replace(license="lic")
    assert reservation_to_wire(licensed) == {**written, "license": "lic"}
    several = reservation._replace(inferences=3)
    assert reservation_to_wire(several) == {**written, "inferences": 3}


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
