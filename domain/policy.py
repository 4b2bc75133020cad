"""Policy: what a licence allows, as a template or a licence has it; how it is written.

Each field stands alone, so that whatever a licence changes of its template is a policy again.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from domain import policy_schema as form
from domain.facts import COMPONENTS_MAX, FACTS, PROVENANCES
from domain.places import (
    Bounds,
    country_from_wire,
    domain_from_wire,
    network_from_wire,
    region_from_wire,
)
from domain.units import UNITS, quantities_from_wire, quantities_to_wire
from domain.values import ID_PATTERN, VERSION_PATTERN
from domain.wire_values import Reader, between, fields_of, listed, matching, one_of, read_field


class Limit(NamedTuple):
    """At most `limit` of a unit per window."""

    id: str
    unit: str
    limit: int
    """In base units."""
    per: str
    """`second`, `minute`, `day`, `period` or `total`."""
    models: tuple[str, ...] | None
    """Names and prefixes of the models that it concerns; None means all."""


class VersionRule(NamedTuple):
    """Which versions of a model may run; the field that its rule needs is given."""

    rule: str
    major: int | None
    version: str | None
    months: int | None


class Policy(NamedTuple):
    """What a licence allows; None binds to nothing."""

    models: tuple[str, ...]
    features: tuple[str, ...]
    priority: int
    pool: str
    watermark: str
    limits: tuple[Limit, ...]
    seats: int
    devices: int
    lease_seconds: int
    borrow_seconds: int
    grace_seconds: int
    versions: VersionRule | None
    hardware: int | None
    """How many components must equal those of the activation."""
    gpus: tuple[str, ...] | None
    cloud_accounts: tuple[str, ...] | None
    domains: tuple[str, ...] | None
    networks: tuple[str, ...] | None
    regions: Bounds | None
    countries: Bounds | None
    provenance: dict[str, str]
    """Fact to the least provenance that is accepted, as given; see `facts.least_of`."""


def fits(names: tuple[str, ...] | None, model: str) -> bool:
    """Say whether a model is among names and prefixes; None means that every model is."""
    return names is None or model in names or model.startswith(_prefixes(names))


@lru_cache(maxsize=4096)
def _prefixes(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name[:-1] for name in names if name.endswith("*"))


_id = matching(ID_PATTERN, "1 to 128 of A-Za-z0-9._:-")
_models = matching(form.MODELS_PATTERN, "the name of a model, PREFIX* or *")
_RULES: dict[str, Reader | None] = {
    "major": between(0, form.MAJOR_MAX),
    "maintenance": between(1, form.MONTHS_MAX),
    "pinned": matching(VERSION_PATTERN, "a version X.Y.Z, or that and a suffix"),
    "rolling": None,
}
_RULE_FIELDS = {"major": "major", "maintenance": "months", "pinned": "version"}


def limit_from_wire(value: object) -> Limit:
    """Read a limit as it travels; anything else raises ValueError."""
    given = fields_of(value, Limit._fields, "a limit")
    name = read_field(_id, given.get("id"), "a limit's id")
    unit = read_field(one_of(sorted(UNITS)), given.get("unit"), "a limit's unit")
    try:
        limit = quantities_from_wire({unit: given.get("limit")})[unit]
    except ValueError as error:
        raise ValueError(f"a limit's limit of {error}") from None
    per = read_field(one_of(form.PERS), given.get("per"), "a limit's per")
    models = given.get("models")
    if models is not None:
        models = read_field(listed(_models, form.LIST_MAX, 1), models, "a limit's models")
    return Limit(name, unit, limit, per, models)


def limit_to_wire(limit: Limit) -> dict[str, Any]:
    """Write a limit as it travels, absent models left out."""
    wire: dict[str, Any] = {
        "id": limit.id,
        "limit": quantities_to_wire({limit.unit: limit.limit})[limit.unit],
    }
    if limit.models is not None:
        wire["models"] = list(limit.models)
    return {**wire, "per": limit.per, "unit": limit.unit}


def _limits(value: object) -> tuple[Limit, ...]:
    limits: tuple[Limit, ...] = listed(limit_from_wire, form.LIMITS_MAX)(value)
    if len({limit.id for limit in limits}) < len(limits):
        raise ValueError("must name each id once")
    return limits


def _version_rule(value: object) -> VersionRule:
    given = fields_of(value, VersionRule._fields, "versions")
    rule = read_field(one_of(tuple(_RULES)), given.pop("rule", None), "versions.rule")
    read, needed = _RULES[rule], _RULE_FIELDS.get(rule)
    for name in sorted(given):
        if name != needed:
            raise ValueError(f"versions must be without {name} where the rule is {rule}")
    if read is not None and needed is not None:
        given = {needed: read_field(read, given.get(needed), f"versions.{needed}")}
    return VersionRule(rule, given.get("major"), given.get("version"), given.get("months"))


def _version_rule_to_wire(rule: VersionRule) -> dict[str, Any]:
    return {name: each for name, each in sorted(rule._asdict().items()) if each is not None}


def _hardware(value: object) -> int:
    given = fields_of(value, ("required",), "hardware")
    read = between(1, COMPONENTS_MAX)
    return int(read_field(read, given.get("required"), "hardware.required"))


def _bounds_reader(what: str, read_one: Reader) -> Reader:
    read_names = listed(read_one, form.PLACES_MAX)

    def read(value: object) -> Bounds:
        given = fields_of(value, Bounds._fields, what)
        for name, names in given.items():
            given[name] = read_field(read_names, names, f"{what}.{name}")
        return Bounds(given.get("allow"), given.get("deny", ()))

    return read


def _bounds_to_wire(bounds: Bounds) -> dict[str, Any]:
    wire = {} if bounds.allow is None else {"allow": list(bounds.allow)}
    return {**wire, "deny": list(bounds.deny)} if bounds.deny else wire


def _provenance(value: object) -> dict[str, str]:
    given = fields_of(value, FACTS, "provenance")
    read = one_of(PROVENANCES)
    return {name: read_field(read, given[name], f"provenance.{name}") for name in sorted(given)}


class _Field(NamedTuple):
    """How a field is read and written, and what it is where it is absent."""

    read: Reader
    write: Callable[[Any], Any]
    default: Any


def _same(value: Any) -> Any:
    return value


_ids = listed(_id, form.LIST_MAX)

_FIELDS: dict[str, _Field] = {
    "borrow_seconds": _Field(between(0, form.BORROW_MAX), _same, 0),
    "cloud_accounts": _Field(_ids, list, None),
    "countries": _Field(_bounds_reader("countries", country_from_wire), _bounds_to_wire, None),
    "devices": _Field(between(0, form.DEVICES_MAX), _same, 0),
    "domains": _Field(listed(domain_from_wire, form.LIST_MAX), list, None),
    "features": _Field(_ids, list, ()),
    "gpus": _Field(_ids, list, None),
    "grace_seconds": _Field(between(0, form.GRACE_MAX), _same, 0),
    "hardware": _Field(_hardware, lambda required: {"required": required}, None),
    "lease_seconds": _Field(between(form.LEASE_MIN, form.LEASE_MAX), _same, form.LEASE_MAX),
    "limits": _Field(_limits, lambda limits: [limit_to_wire(each) for each in limits], ()),
    "models": _Field(listed(_models, form.LIST_MAX), list, None),
    "networks": _Field(listed(network_from_wire, form.LIST_MAX), list, None),
    "pool": _Field(_id, _same, "shared"),
    "priority": _Field(between(1, form.PRIORITY_MAX), _same, 5),
    "provenance": _Field(_provenance, _same, {}),
    "regions": _Field(_bounds_reader("regions", region_from_wire), _bounds_to_wire, None),
    "seats": _Field(between(0, form.SEATS_MAX), _same, 0),
    "versions": _Field(_version_rule, _version_rule_to_wire, None),
    "watermark": _Field(one_of(form.WATERMARKS), _same, "none"),
}
"""Name to field, in order."""


_READ: dict[str, Policy] = {}
_READ_MAX, _TEXT_MAX = 1000, 4000


def policy_from_wire(value: object) -> Policy:
    """Read a policy as it travels; anything else raises ValueError.

    Many licences have the same one, and each is read whenever its licence is loaded: so the
    policies read last are kept, by all that is written in them.
    """
    if type(value) is Policy:
        return value
    text = repr(value)
    policy = _READ.get(text)
    if policy is None:
        policy = _policy_from_wire(value)
        if len(text) <= _TEXT_MAX:
            if len(_READ) >= _READ_MAX:
                _READ.clear()
            _READ[text] = policy
    return policy


def _policy_from_wire(value: object) -> Policy:
    given = fields_of(value, _FIELDS, "a policy")
    if "models" not in given:
        raise ValueError("a policy must name its models")
    return Policy(**{**_defaults(), **{name: _read(name, given[name]) for name in sorted(given)}})


def _read(name: str, value: object) -> Any:
    return read_field(_FIELDS[name].read, value, f"a policy's {name}")


def _defaults() -> dict[str, Any]:
    return {name: field.default for name, field in _FIELDS.items()}


def policy_to_wire(policy: Policy) -> dict[str, Any]:
    """Write a policy as it travels, keys in order, defaults left out."""
    wire = {}
    for name, field in _FIELDS.items():
        value = getattr(policy, name)
        if value != field.default:
            wire[name] = field.write(value)
    return wire


def overrides_from_wire(value: object) -> dict[str, Any]:
    """Read what a licence changes of its template; return it as it travels, keys in order."""
    fields_of(value, _FIELDS, "a policy")
    assert isinstance(value, dict)
    if "models" in value and value["models"] is None:
        raise ValueError("a policy must name its models")
    return {
        name: None if value[name] is None else _FIELDS[name].write(_read(name, value[name]))
        for name in sorted(value)
    }


def merged(template: Policy, overrides: dict[str, Any]) -> Policy:
    """Return a template with what a licence changes; null takes a field back to its default."""
    changed = overrides_from_wire(overrides)
    return template._replace(
        **{
            name: _FIELDS[name].default if each is None else _read(name, each)
            for name, each in changed.items()
        }
    )


PolicyBody = Annotated[
    Policy,
    PlainValidator(policy_from_wire),
    PlainSerializer(policy_to_wire, return_type=dict[str, Any]),
    WithJsonSchema(form.POLICY_SCHEMA),
]
"""A policy as a field of events and commands."""

OverridesBody = Annotated[
    dict[str, Any],
    PlainValidator(overrides_from_wire),
    WithJsonSchema(form.OVERRIDES_SCHEMA),
]
"""What a licence changes of its template, as a field of events and commands."""
