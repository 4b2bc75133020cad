"""Facts: what the caller knows about a request for a licence, and how well it is known.

A fact that nobody gives is not known, and what is not known is never taken for right.
"""

from typing import Annotated, Any, NamedTuple

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from domain.values import ID_PATTERN, VERSION_PATTERN
from domain.wire_values import Reader, listed, matching, one_of, read_field, whole

PROVENANCES = ("declared", "observed", "signed", "attested")
"""How a fact is known, from the least to the most."""

CHANNELS = ("api", "on_premise")
ENVIRONMENTS = ("development", "production")

RANKS = {name: rank for rank, name in enumerate(PROVENANCES)}
LEAST = {"address": "observed"}
"""The least provenance that is accepted where a policy does not say; otherwise `declared`."""

LIST_MAX = 100
COMPONENTS_MAX = 16
TEXT_PATTERN = r"^[^\u0000-\u001f\u007f]{1,256}$"
COMPONENT_PATTERN = r"^[0-9a-f]{32}$"


class Fact(NamedTuple):
    """One thing known of a request."""

    value: Any
    """Text; a tuple of texts for lists; component to keyed hash for `hardware`."""
    provenance: str


Facts = dict[str, Fact]
"""Name to fact, in the order of their names."""

_ID = whole(ID_PATTERN)
_COMPONENT = whole(COMPONENT_PATTERN)


def _components(value: object) -> dict[str, str]:
    if type(value) is not dict or len(value) > COMPONENTS_MAX:
        raise ValueError(f"must be an object of at most {COMPONENTS_MAX} components")
    for name, keyed in value.items():
        if type(name) is not str or not _ID.match(name):
            raise ValueError("must name components by 1 to 128 of A-Za-z0-9._:-")
        if type(keyed) is not str or not _COMPONENT.match(keyed):
            raise ValueError("must have a keyed hash, 32 hex digits, for each component")
    return {name: value[name] for name in sorted(value)}


_id = matching(ID_PATTERN, "1 to 128 of A-Za-z0-9._:-")
_ids = listed(_id, LIST_MAX)
_text = matching(
    TEXT_PATTERN.replace("]", r"\ud800-\udfff]"),
    "a text of 1 to 256 characters, none of them a control character",
)

_READERS: dict[str, Reader] = {
    "address": _text,
    "channel": one_of(CHANNELS),
    "cloud_account": _text,
    "country": _text,
    "device": _id,
    "domain": _text,
    "environment": one_of(ENVIRONMENTS),
    "features": _ids,
    "gpus": _ids,
    "hardware": _components,
    "model_version": matching(VERSION_PATTERN, "a version X.Y.Z, or that and a suffix"),
    "region": _text,
    "watermark": one_of(("applied",)),
}

_PROVENANCE = one_of(PROVENANCES)

FACTS = tuple(_READERS)
"""The names of all facts, in order."""


def lacking(facts: Facts, name: str, least: dict[str, str]) -> dict[str, Any] | None:
    """Say what is missing of a fact that is needed, as a refusal says it, or return None.

    `least` holds what a policy says about provenance.
    """
    fact = facts.get(name)
    if fact is None:
        return {"absent": True, "fact": name}
    needed = least_of(least, name)
    if RANKS[fact.provenance] >= RANKS[needed]:
        return None
    return {"fact": name, "least_provenance": needed, "provenance": fact.provenance}


def least_of(least: dict[str, str], name: str) -> str:
    """Return the least provenance of a fact that a policy accepts."""
    return least.get(name) or LEAST.get(name, PROVENANCES[0])


def facts_from_wire(value: object) -> Facts:
    """Read facts as they travel; anything else than an object of known facts raises ValueError."""
    if type(value) is not dict:
        raise ValueError("facts must be an object")
    if value and all(type(each) is Fact for each in value.values()):
        return value
    unknown = value.keys() - _READERS.keys()
    if unknown:
        raise ValueError(f"there is no fact {min(map(str, unknown))[:40]!r}")
    return {name: _fact(name, value[name]) for name in sorted(value)}


def _fact(name: str, value: Any) -> Fact:
    provenance: Any = PROVENANCES[0]
    if isinstance(value, dict) and (name != "hardware" or type(value.get("value")) is dict):
        if value.keys() != {"value", "from"}:
            raise ValueError(f"the fact {name} must be a value, or an object of value and from")
        value, provenance = value["value"], value["from"]
    found = read_field(_PROVENANCE, provenance, f"the fact {name}'s from")
    return Fact(read_field(_READERS[name], value, f"the fact {name}"), found)


def facts_to_wire(facts: Facts) -> dict[str, Any]:
    """Write facts as they travel, names in order; what is declared stands as its plain value."""
    return {name: _written(facts[name]) for name in sorted(facts)}


def _written(fact: Fact) -> Any:
    value = list(fact.value) if type(fact.value) is tuple else fact.value
    if fact.provenance == PROVENANCES[0]:
        return value
    return {"from": fact.provenance, "value": value}


_ID_SCHEMA = {"type": "string", "pattern": ID_PATTERN}
_TEXT_SCHEMA = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": TEXT_PATTERN}
_IDS_SCHEMA = {"type": "array", "items": _ID_SCHEMA, "maxItems": LIST_MAX}

_SCHEMAS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("address", "cloud_account", "country", "domain", "region"), _TEXT_SCHEMA),
    "channel": {"enum": list(CHANNELS)},
    "device": _ID_SCHEMA,
    "environment": {"enum": list(ENVIRONMENTS)},
    "features": _IDS_SCHEMA,
    "gpus": _IDS_SCHEMA,
    "hardware": {
        "type": "object",
        "propertyNames": {"pattern": ID_PATTERN},
        "additionalProperties": {"type": "string", "pattern": COMPONENT_PATTERN},
        "maxProperties": COMPONENTS_MAX,
    },
    "model_version": {"type": "string", "pattern": VERSION_PATTERN},
    "watermark": {"enum": ["applied"]},
}


def _with_provenance(schema: dict[str, Any]) -> dict[str, Any]:
    known = {
        "type": "object",
        "properties": {"from": {"enum": list(PROVENANCES)}, "value": schema},
        "required": ["from", "value"],
        "additionalProperties": False,
    }
    return {"anyOf": [schema, known]}


FactsBody = Annotated[
    dict[str, Fact],
    PlainValidator(facts_from_wire),
    PlainSerializer(facts_to_wire, return_type=dict[str, Any]),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {name: _with_provenance(_SCHEMAS[name]) for name in sorted(_SCHEMAS)},
            "additionalProperties": False,
        }
    ),
]
"""Facts as a field of events and commands."""
