"""How licences and policy templates are written in the state format, and licences read back."""

from typing import Any

from tollbook.times import format_instant, parse_instant

from domain.allocation import NEVER
from domain.license import Device, License, LicenseKey
from domain.license_life import Template
from domain.policy import policy_from_wire, policy_to_wire


def license_to_wire(license: License) -> dict[str, Any]:
    """Write a licence as JSON data."""
    return {
        "customer": license.customer,
        "deployment": license.deployment,
        "devices": [_device_to_wire(device) for device in license.devices],
        "expires_at": _end_to_wire(license.expires_at),
        "issued_at": format_instant(license.issued_at),
        "keys": [_key_to_wire(key) for key in license.keys],
        "maintenance_until": format_instant(license.maintenance_until),
        "policy": policy_to_wire(license.policy),
        "policy_version": license.policy_version(),
        "provenance": license.provenance,
        "reason": license.reason,
        "reference": license.reference,
        "since": format_instant(license.since),
        "starts_at": format_instant(license.starts_at),
        "status": license.status,
        "version": license.version,
    }


def _end_to_wire(instant: int) -> str | None:
    return None if instant == NEVER else format_instant(instant)


def _key_to_wire(key: LicenseKey) -> dict[str, Any]:
    return {"ends_at": _end_to_wire(key.ends_at), "hash": key.hash, "hint": key.hint}


def _device_to_wire(device: Device) -> dict[str, Any]:
    return {"components": device.components, "holder": device.holder, "id": device.id}


def license_from_wire(name: str, wire: dict[str, Any]) -> License:
    """Read what `license_to_wire` wrote of the licence of this id."""
    template, template_version, revision = wire["policy_version"].rsplit(":", 2)
    return License(
        name,
        wire["customer"],
        wire["deployment"],
        template,
        int(template_version),
        int(revision),
        policy_from_wire(wire["policy"]),
        wire["reference"],
        parse_instant(wire["issued_at"]),
        parse_instant(wire["starts_at"]),
        _end_from_wire(wire["expires_at"]),
        parse_instant(wire["maintenance_until"]),
        wire["status"],
        parse_instant(wire["since"]),
        wire["reason"],
        tuple(
            LicenseKey(key["hash"], key["hint"], _end_from_wire(key["ends_at"]))
            for key in wire["keys"]
        ),
        tuple(
            Device(device["id"], device["components"], device["holder"])
            for device in wire["devices"]
        ),
        wire["provenance"],
        wire["version"],
    )


def _end_from_wire(instant: str | None) -> int:
    return NEVER if instant is None else parse_instant(instant)


def template_to_wire(template: Template) -> dict[str, Any]:
    """Write the newest version of a policy template as JSON data."""
    return {"policy": policy_to_wire(template.policy), "version": template.version}
