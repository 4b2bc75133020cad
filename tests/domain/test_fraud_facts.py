"""Sightings: what scoring sees of each kind of event, and that it keeps nobody's address."""

import json
from typing import Any

import pytest

from adapters.event_store.mapper import decode
from domain.events import CommandRefused, ReservationHeld
from domain.facts import Fact
from domain.fraud_events import FraudCleared
from domain.fraud_facts import MACHINE_DIGITS, Sighting, sighting
from domain.guard_events import CapsSet
from tests.compat.example_values import NOON_US
from tests.compat.golden_events import EXAMPLES

SIXTY = {"input_tokens": 40, "cached_input_tokens": 20, "output_tokens": 7}


def held(**facts: Any) -> Sighting:
    """Return the sighting of a reservation with facts."""
    event = ReservationHeld(
        credit=0,
        customer="acme",
        estimate={},
        expires_at=9,
        facts={name: Fact(value, "declared") for name, value in facts.items()} or None,
        grants=(),
        held=0,
        license="lic",
        model="m",
        reservation="r",
    )
    seen = sighting(event, 5)
    assert seen is not None
    return seen


@pytest.mark.parametrize(
    ("name", "changes", "asks"),
    [
        ("reservation_held", {}, 1),
        ("reservation_held", {"inferences": 10_000}, 1),
        ("reservation_settled", {"final": False, "inference": True}, 1),
        ("reservation_settled", {"final": False}, 0),
        ("reservation_settled", {"final": True}, 0),
    ],
)
def test_of_what_is_held_for_many_inferences_each_asks_as_it_runs(
    name: str, changes: dict[str, Any], asks: int
) -> None:
    seen = sighting(decode(name, 1, json.dumps({**EXAMPLES[name, 1], **changes})), NOON_US)
    assert seen is not None
    assert (seen.asks, seen.probes) == (asks, 0)


def refused(code: str, kind: str = "reserve", **body: Any) -> Sighting | None:
    """Return the sighting of a refusal."""
    event = CommandRefused(
        body=body, code=code, customer="acme", detail="d", facts={}, kind=kind, scope="acme"
    )
    return sighting(event, 5)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("reservation_settled", {"final": True, "usage": SIXTY}, (1, 60, 7)),
        ("reservation_settled", {"final": False, "usage": SIXTY}, (0, 60, 7)),
        ("reservation_settled", {"final": False, "inference": True, "usage": SIXTY}, (1, 60, 7)),
        ("usage_charged", {"usage": {**SIXTY, "requests": 4}}, (4, 60, 7)),
    ],
)
def test_a_charge_is_its_requests_and_tokens(
    name: str, changes: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    event = decode(name, 1, json.dumps({**EXAMPLES[name, 1], **changes}))
    seen = sighting(event, NOON_US)
    assert seen is not None
    assert (seen.requests, seen.tokens_in, seen.tokens_out) == expected
    assert seen.at == NOON_US


def test_a_machine_is_a_hash_of_what_the_request_says_and_of_nothing_else() -> None:
    one, other = held(address="192.0.2.1"), held(address="192.0.2.2")
    assert one.machine != other.machine
    assert one.machine == held(address="192.0.2.1", country="PT", environment="production").machine
    assert len(one.machine) == MACHINE_DIGITS
    assert "192" not in str(one)
    assert held(device="d", address="192.0.2.1").machine == held(device="d").machine
    assert held(country="PT").machine == held().machine == ""


def test_a_refused_request_is_from_the_same_machine_as_one_that_was_admitted() -> None:
    seen = refused("license_model_denied", model="m", facts={"address": "192.0.2.1"})
    assert seen is not None
    assert seen.machine == held(address="192.0.2.1").machine
    observed = {"address": {"from": "observed", "value": "192.0.2.1"}}
    again = refused("license_model_denied", model="m", facts=observed)
    assert again is not None
    assert again.machine == seen.machine, "however well it is known"


@pytest.mark.parametrize(
    ("code", "probes"),
    [
        ("license_model_denied", 1),
        ("license_revoked", 1),
        ("unknown_model", 1),
        ("account_blocked", 0),
        ("insufficient_balance", 0),
        ("usage_capped", 0),
        ("license_limit_reached", 0),
        ("license_seats_taken", 0),
    ],
)
def test_what_anybody_meets_is_no_probe(code: str, probes: int) -> None:
    seen = refused(code, model="m", license="lic")
    assert seen is not None
    assert (seen.asks, seen.probes, seen.target) == (1, probes, "m" if probes else "")


def refused_run(code: str, stage: str, **more: Any) -> Sighting | None:
    """Return the sighting of a run through a pipeline that one of its stages refused."""
    said = [
        {"stage": "rank", "license": "lic", "facts": {"address": "192.0.2.1"}},
        {"stage": "write", "facts": {"address": "192.0.2.2"}},
    ]
    body = {"customer": "acme", "pipeline": "rag", "stages": said}
    facts = {"stage": stage, **more}
    event = CommandRefused(
        body=body,
        code=code,
        customer="acme",
        detail="d",
        facts=facts,
        kind="reserve_pipeline",
        scope="acme",
    )
    return sighting(event, 5)


def test_a_refused_run_is_what_was_asked_for_the_stage_that_refused() -> None:
    one, other = held(address="192.0.2.1").machine, held(address="192.0.2.2").machine
    assert refused_run("license_model_denied", "rank") == Sighting(
        5, asks=1, probes=1, target="rag.rank", license="lic", machine=one
    )
    assert refused_run("unknown_model", "write", model="m") == Sighting(
        5, asks=1, probes=1, target="m", machine=other
    )
    assert refused_run("unknown_model", "polish", model="m") == Sighting(
        5, asks=1, probes=1, target="m"
    )
    assert refused_run("insufficient_balance", "write") == Sighting(5, asks=1, machine=other)
    whole = refused("account_blocked", kind="reserve_pipeline", pipeline="rag")
    assert whole == Sighting(5, asks=1)


def test_what_asks_for_nothing_is_not_seen() -> None:
    assert refused("already_settled", kind="settle") is None
    assert sighting(CapsSet(caps=(), customer="acme"), 5) is None


def test_a_clearing_forgets() -> None:
    event = FraudCleared(case="acme.1", customer="acme", reason="r", unblocked=False)
    assert sighting(event, 5) == Sighting(5, forgets=True)
