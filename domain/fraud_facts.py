"""Sightings: what scoring sees of a customer in one event, and nothing more.

A machine is told by whatever the request said about it; only a hash of that is looked at and kept.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from tollbook import canonical

from domain.activity import requests_of
from domain.event import Event
from domain.events import CommandRefused, ReservationHeld, ReservationSettled, UsageCharged
from domain.facts import Facts, facts_to_wire
from domain.fraud_events import FraudCleared
from domain.inferences import InferencesSettled
from domain.license_events import LicenseActivated, LicenseValidated, SeatLeased
from domain.units import Quantities

MACHINE_DIGITS = 12

MACHINE_FACTS = ("hardware", "device", "address", "cloud_account", "domain")
"""What may tell one machine from another; the first that is known does."""

ASKING = ("reserve", "reserve_pipeline", "validate_license", "lease_seat", "activate_license")
"""The kinds of commands that ask to be admitted."""

NO_PROBE = ("account_blocked", "insufficient_balance", "usage_capped", "already_exists")
"""Refusals that anybody meets who does nothing odd; a full limit or no free seat is no probe."""

_FULL = ("license_limit_reached", "license_seats_taken", "license_devices_taken", "license_expired")


class Sighting(NamedTuple):
    """One event, as scoring sees it."""

    at: int
    """When it happened."""
    asks: int = 0
    """1 when somebody asked to be admitted."""
    probes: int = 0
    """1 when that was refused as it is to somebody who tries doors."""
    target: str = ""
    """What a probe was for: the model, or the code where it names none."""
    license: str = ""
    machine: str = ""
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    forgets: bool = False
    """Whether a reviewer has cleared what happened before."""


def sighting(event: Event, at: int) -> Sighting | None:
    """Return what scoring sees of a customer's event; `at` is when it happened."""
    read = _READERS.get(type(event))
    return None if read is None else read(event, at)


def _used(event: ReservationSettled | UsageCharged, at: int) -> Sighting:
    usage: Quantities = event.usage
    # Who sets much aside has asked once; what runs of it is asked for as it runs.
    is_one_of_several = isinstance(event, ReservationSettled) and event.inference is True
    return Sighting(
        at,
        asks=int(is_one_of_several),
        requests=requests_of(usage, event.is_inference),
        tokens_in=usage.get("input_tokens", 0) + usage.get("cached_input_tokens", 0),
        tokens_out=usage.get("output_tokens", 0),
    )


def _held(event: ReservationHeld, at: int) -> Sighting:
    return Sighting(at, asks=1, license=event.license or "", machine=_machine(event.facts))


def _validated(event: LicenseValidated, at: int) -> Sighting:
    return Sighting(at, asks=1, license=event.license, machine=_machine(event.facts))


def _leased(event: SeatLeased, at: int) -> Sighting:
    machine = _hashed("holder", event.holder)
    return Sighting(at, asks=1, license=event.license, machine=machine)


def _activated(event: LicenseActivated, at: int) -> Sighting:
    machine = _hashed("device", event.device)
    return Sighting(at, asks=1, license=event.license, machine=machine)


def _refused(event: CommandRefused, at: int) -> Sighting | None:
    if event.kind not in ASKING:
        return None
    body = _asked(event)
    probe = event.code not in NO_PROBE and event.code not in _FULL
    facts = body.get("facts")
    return Sighting(
        at,
        asks=1,
        probes=int(probe),
        target=str(body.get("model", event.code)) if probe else "",
        license=str(body.get("license") or ""),
        machine=_of_wire(facts if isinstance(facts, dict) else {}),
    )


def _asked(event: CommandRefused) -> Mapping[str, Any]:
    """Return what was asked for; of a whole pipeline, what was said of the stage that refused."""
    body, stage = event.body, event.facts.get("stage")
    if event.kind != "reserve_pipeline":
        return body
    said: dict[str, Any] = next(
        (each for each in body.get("stages", ()) if each.get("stage") == stage), {}
    )
    # What the stage runs stands in the pipeline; some refusals name it.
    return {**said, "model": event.facts.get("model", f"{body.get('pipeline')}.{stage}")}


def _cleared(_event: FraudCleared, at: int) -> Sighting:
    return Sighting(at, forgets=True)


_READERS: dict[type[Event], Callable[[Any, int], Sighting | None]] = {
    ReservationHeld: _held,
    ReservationSettled: _used,
    UsageCharged: _used,
    LicenseValidated: _validated,
    SeatLeased: _leased,
    LicenseActivated: _activated,
    CommandRefused: _refused,
    FraudCleared: _cleared,
}

SEEN_EVENTS = frozenset[type[Event]]({*_READERS, InferencesSettled})
"""The events that scoring looks at; of inferences told together, at each."""


def _machine(facts: Facts | None) -> str:
    return _of_wire(facts_to_wire(facts)) if facts else ""


def _of_wire(facts: Mapping[str, Any]) -> str:
    """Return a hash of what tells the machine, or nothing where nothing does."""
    for name in MACHINE_FACTS:
        if name in facts:
            value = facts[name]
            known = isinstance(value, dict) and value.keys() == {"value", "from"}
            plain = value["value"] if known else value
            return _hashed(name, plain if isinstance(plain, str) else canonical.dumps(plain))
    return ""


@lru_cache(maxsize=4096)
def _hashed(name: str, value: str | bytes) -> str:
    """Return the hash of a fact; most requests come from machines that were seen before."""
    text = value if isinstance(value, bytes) else value.encode()
    return hashlib.sha256(f"{name}:".encode() + text).hexdigest()[:MACHINE_DIGITS]
