"""Licences and policy templates in the state format: how they are written, and read again."""

import json

from hypothesis import given
from tollbook import canonical

from domain.allocation import NEVER
from domain.license import Device, License, LicenseKey
from domain.license_life import Template
from domain.license_state import license_from_wire, license_to_wire, template_to_wire
from domain.policy import policy_from_wire
from tests.domain.state_values import licenses

POLICY = policy_from_wire({"models": ["embed"], "seats": 2, "hardware": {"required": 1}})


@given(licenses())
def test_a_licence_is_read_as_it_was_written(license: License) -> None:
    text = canonical.dumps(license_to_wire(license))
    assert license_from_wire(license.id, json.loads(text)) == license


def example() -> License:
    """Return a licence with two keys and a device."""
    return License(
        id="lic",
        customer="acme",
        deployment="hybrid",
        template="org:gold",
        template_version=2,
        revision=1,
        policy=POLICY,
        reference="offer-7",
        issued_at=1,
        starts_at=2,
        expires_at=3,
        maintenance_until=4,
        status="suspended",
        since=5,
        reason="unpaid",
        keys=(LicenseKey("0a" * 16, "abcd", 6), LicenseKey("f9" * 16, "efgh", NEVER)),
        devices=(Device("d1", {"cpu": "0a" * 16}, None), Device("d2", {}, "f9" * 32)),
        provenance={"embed": "0a" * 32},
        version=7,
    )


def second(microseconds: int) -> str:
    """Write an instant of the first second of 1970."""
    return f"1970-01-01T00:00:00.{microseconds:06d}Z"


def test_a_licence_is_written_with_its_policy_its_keys_and_its_machines() -> None:
    assert license_to_wire(example()) == {
        "customer": "acme",
        "deployment": "hybrid",
        "devices": [
            {"components": {"cpu": "0a" * 16}, "holder": None, "id": "d1"},
            {"components": {}, "holder": "f9" * 32, "id": "d2"},
        ],
        "expires_at": second(3),
        "issued_at": second(1),
        "keys": [
            {"ends_at": second(6), "hash": "0a" * 16, "hint": "abcd"},
            {"ends_at": None, "hash": "f9" * 16, "hint": "efgh"},
        ],
        "maintenance_until": second(4),
        "policy": {"hardware": {"required": 1}, "models": ["embed"], "seats": 2},
        "policy_version": "org:gold:2:1",
        "provenance": {"embed": "0a" * 32},
        "reason": "unpaid",
        "reference": "offer-7",
        "since": second(5),
        "starts_at": second(2),
        "status": "suspended",
        "version": 7,
    }


def test_a_licence_without_an_end_or_a_reference_has_none() -> None:
    written = license_to_wire(example()._replace(expires_at=NEVER, reference=None))
    assert (written["expires_at"], written["reference"]) == (None, None)


def test_a_template_is_written_as_its_newest_version() -> None:
    assert template_to_wire(Template("org:gold", 2, POLICY)) == {
        "policy": {"hardware": {"required": 1}, "models": ["embed"], "seats": 2},
        "version": 2,
    }
