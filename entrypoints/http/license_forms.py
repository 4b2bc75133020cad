"""Forms of bodies about licences: raw keys and hardware where commands have their hashes."""

from typing import Any

from tollbook.license_key import LENGTH, PREFIX

from adapters.license_secrets import COMPONENT_TEXT_MAX
from application.license_desk import MAKING_KEYS, SIGNED
from domain.facts import COMPONENT_PATTERN

Schema = dict[str, Any]

_KEY: Schema = {
    "type": "string",
    "pattern": rf"^{PREFIX}[a-z2-7]{{32}}_[0-9a-f]{{8}}$",
    "minLength": LENGTH,
    "maxLength": LENGTH,
    "description": "As it was shown when it was made; it names the licence where `license` is "
    "absent.",
}
_NONCE: Schema = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_-]{16,128}$",
    "description": "Random, used once: the answer, or its problem, is then `signed` as well.",
}
_RAW: Schema = {"type": "string", "minLength": 1, "maxLength": COMPONENT_TEXT_MAX}
_HASHED: Schema = {"type": "string", "pattern": COMPONENT_PATTERN}

DRY_RUN: Schema = {
    "type": "boolean",
    "default": False,
    "description": "Only answer what the decision would be now: nothing is recorded or counted.",
}


def at_the_desk(kind: str, schema: Schema) -> Schema:
    """Return a command's schema as callers send it: with secrets in clear, and without hashes."""
    fields, required = schema["properties"], schema.get("required", [])
    made = {"key_hash", "key_hint"} if kind in MAKING_KEYS else set()
    shown = {name: field for name, field in fields.items() if name not in made}
    if "license_key" in fields:
        shown["license_key"] = {"anyOf": [_KEY, {"type": "null"}], "default": None}
        made.add("license")  # required no more
    if kind in SIGNED:
        shown["nonce"] = {"anyOf": [_NONCE, {"type": "null"}], "default": None}
    if "components" in shown:
        shown["components"] = in_clear(shown["components"])
    if kind in MAKING_KEYS:
        schema = {**schema, "description": "The key is made here, and shown once."}
    return {
        **schema,
        "properties": shown,
        "required": [name for name in required if name not in made],
    }


def in_clear(schema: Any) -> Any:
    """Return a schema with text in clear for every keyed hash."""
    if schema == _HASHED:
        return _RAW
    if isinstance(schema, dict):
        return {name: in_clear(part) for name, part in schema.items()}
    return [in_clear(part) for part in schema] if isinstance(schema, list) else schema
