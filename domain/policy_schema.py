"""The form of a policy: the bounds of its fields, and its JSON schema."""

from typing import Any

from domain.facts import COMPONENTS_MAX, FACTS, PROVENANCES
from domain.places import (
    COUNTRY_PATTERN,
    DOMAIN_MAX,
    DOMAIN_PATTERN,
    NETWORK_PATTERN,
    REGIONS_PATTERN,
)
from domain.units import UNITS
from domain.values import ID_PATTERN, VERSION_PATTERN

LIST_MAX = 100
PLACES_MAX = 300
"""The most regions or countries in a list: there are some 250 countries."""
LIMITS_MAX = 20
PRIORITY_MAX = 9
SEATS_MAX = 1_000
DEVICES_MAX = 1_000
LEASE_MIN = 60
LEASE_MAX = 300
"""A lease lives from one minute to five, in seconds."""
BORROW_MAX = 2_678_400
"""A borrowed lease lives up to 31 days."""
GRACE_MAX = 31_536_000
"""Up to a year after the end."""
MAJOR_MAX = 999_999_999
MONTHS_MAX = 120

WATERMARKS = ("none", "required")
PERS = ("second", "minute", "day", "period", "total")
MODELS_PATTERN = r"^([A-Za-z0-9._:/@+-]{1,128}\*?|\*)$"

_ID = {"type": "string", "pattern": ID_PATTERN}
_MODEL = {"type": "string", "pattern": MODELS_PATTERN}
_RULES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("major", {"major": {"type": "integer", "minimum": 0, "maximum": MAJOR_MAX}}),
    ("maintenance", {"months": {"type": "integer", "minimum": 1, "maximum": MONTHS_MAX}}),
    ("pinned", {"version": {"type": "string", "pattern": VERSION_PATTERN}}),
    ("rolling", {}),
)


def _list(items: dict[str, Any], most: int = LIST_MAX, least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _whole(least: int, most: int, default: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    wanted = {"required": list(required)} if required else {}
    closed = {"type": "object", "additionalProperties": False}
    return {**closed, "properties": properties, **wanted}


def _bounds(pattern: str) -> dict[str, Any]:
    names = _list({"type": "string", "pattern": pattern}, PLACES_MAX)
    return _object({"allow": names, "deny": names})


_LIMIT = _object(
    {
        "id": _ID,
        "unit": {"enum": sorted(UNITS)},
        "limit": {
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$",
            "description": "Whole; a decimal string for gpu_seconds and compute_units.",
        },
        "per": {"enum": list(PERS)},
        "models": _list(_MODEL, least=1),
    },
    *("id", "unit", "limit", "per"),
)

FIELD_SCHEMAS: dict[str, dict[str, Any]] = {
    "models": _list(_MODEL),
    "features": _list(_ID),
    "priority": _whole(1, PRIORITY_MAX, 5),
    "pool": {**_ID, "default": "shared"},
    "watermark": {"enum": list(WATERMARKS), "default": "none"},
    "limits": _list(_LIMIT, LIMITS_MAX),
    "seats": _whole(0, SEATS_MAX, 0),
    "devices": _whole(0, DEVICES_MAX, 0),
    "lease_seconds": _whole(LEASE_MIN, LEASE_MAX, LEASE_MAX),
    "borrow_seconds": _whole(0, BORROW_MAX, 0),
    "grace_seconds": _whole(0, GRACE_MAX, 0),
    "versions": {
        "oneOf": [
            _object({"rule": {"const": rule}, **field}, "rule", *field) for rule, field in _RULES
        ]
    },
    "hardware": _object(
        {"required": {"type": "integer", "minimum": 1, "maximum": COMPONENTS_MAX}}, "required"
    ),
    "gpus": _list(_ID),
    "cloud_accounts": _list(_ID),
    "domains": _list({"type": "string", "maxLength": DOMAIN_MAX, "pattern": DOMAIN_PATTERN}),
    "networks": _list({"type": "string", "pattern": NETWORK_PATTERN}),
    "regions": _bounds(REGIONS_PATTERN),
    "countries": _bounds(COUNTRY_PATTERN),
    "provenance": _object({name: {"enum": list(PROVENANCES)} for name in FACTS}),
}
"""Field to JSON schema, in the order of the documents."""

POLICY_SCHEMA = _object(FIELD_SCHEMAS, "models")

OVERRIDES_SCHEMA = _object(
    {
        name: schema if name == "models" else {"anyOf": [schema, {"type": "null"}]}
        for name, schema in FIELD_SCHEMAS.items()
    }
)
"""Some fields of a policy; null gives one up."""
