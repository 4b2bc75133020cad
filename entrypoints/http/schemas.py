"""Schemas: the bodies as the commands themselves declare them, and the answers, as JSON Schema.

Bodies come from the same classes that read them, so neither can say more than the other. What the
path gives, and what the server seals, is taken out and put in by name.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from domain.commands import COMMANDS
from domain.facts import FactsBody
from domain.policy_schema import OVERRIDES_SCHEMA, POLICY_SCHEMA
from domain.pricebook_format import PriceBookBody
from domain.quoting import QuoteRequest
from domain.units import Usage
from entrypoints.http.commanding import MONEY_FIELDS
from entrypoints.http.key_routes import KEY_REQUEST
from entrypoints.http.license_forms import DRY_RUN, at_the_desk, in_clear
from entrypoints.http.many import ITEMS_MAX

Schema = dict[str, Any]

_REF = "#/components/schemas/{model}"
_NAME = {
    "type": "string",
    "minLength": 1,
    "maxLength": 1000,
    "pattern": r"^[^\u0000]+$",
    "description": "A personal field: stored only encrypted.",
}

_ANY_OBJECT = {"type": "object", "description": "Anything else is answered as refused."}
"""Items are answered one by one, so one of another form does not make the whole body wrong."""

_USAGE = TypeAdapter(Usage).json_schema()
_FACTS = TypeAdapter(FactsBody).json_schema()
_SAID_OFTEN = {
    "Usage": _USAGE,
    "Facts": _FACTS,
    "PolicyBody": POLICY_SCHEMA,
    "OverridesBody": OVERRIDES_SCHEMA,
}

_BODIES = {
    "CreateCustomerBody": ("create_customer", ()),
    "ChangeCustomerBody": ("change_customer", ("customer",)),
    "IssueGrantBody": ("issue_grant", ("customer",)),
    "ReserveBody": ("reserve", ()),
    "SettleBody": ("settle", ("reservation",)),
    "ExtendBody": ("extend", ("reservation",)),
    "ReleaseBody": ("release", ("reservation",)),
    "ParkUsageBody": ("park_usage", ()),
    "ReleaseUsageBody": ("release_usage", ("parked",)),
    "UnblockBody": ("unblock", ("customer",)),
    "FlagCustomerBody": ("flag_customer", ()),
    "ClearCaseBody": ("clear_case", ("case",)),
    "ConfirmCaseBody": ("confirm_case", ("case",)),
    "SetCapsBody": ("set_caps", ("customer",)),
    "RegisterModelBody": ("register_model", ()),
    "ReleaseModelVersionBody": ("release_model_version", ("model",)),
    "YankModelVersionBody": ("yank_model_version", ("model", "version")),
    "PublishExportListBody": ("publish_export_list", ()),
    "IssueLicenseBody": ("issue_license", ()),
    "ActivateLicenseBody": ("activate_license", ("license",)),
    "DeactivateLicenseBody": ("deactivate_license", ("license", "device")),
    "RenewLicenseBody": ("renew_license", ("license",)),
    "UpgradeLicenseBody": ("upgrade_license", ("license",)),
    "SuspendLicenseBody": ("suspend_license", ("license",)),
    "ReinstateLicenseBody": ("reinstate_license", ("license",)),
    "RevokeLicenseBody": ("revoke_license", ("license",)),
    "ExpireLicenseBody": ("expire_license", ("license",)),
    "RotateLicenseKeyBody": ("rotate_license_key", ("license",)),
    "ValidateLicenseBody": ("validate_license", ("license",)),
    "ValidateByKeyBody": ("validate_license", ()),
    "LeaseSeatBody": ("lease_seat", ("license",)),
    "RenewLeaseBody": ("renew_lease", ("license", "lease")),
    "ReturnLeaseBody": ("return_lease", ("license", "lease")),
    "PublishPolicyBody": ("publish_policy", ()),
    "PublishPipelineBody": ("publish_pipeline", ()),
    "ReservePipelineBody": ("reserve_pipeline", ("pipeline",)),
    "SettlePipelineBody": ("settle_pipeline", ("pipeline", "reserved")),
    "ReleasePipelineBody": ("release_pipeline", ("pipeline", "reserved")),
}


def ref(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": _REF.format(model=name)}


def bodies() -> dict[str, Schema]:
    """Return the schemas of bodies, and of what they refer to."""
    found: dict[str, Schema] = {}
    for name, (kind, without) in _BODIES.items():
        found[name] = _command_schema(kind, without, found)
    for name in ("ValidateLicenseBody", "ValidateByKeyBody"):
        found[name]["properties"]["dry_run"] = DRY_RUN
    found["ValidateByKeyBody"]["required"].append("license_key")
    found["PriceBookBody"] = _of(TypeAdapter(PriceBookBody), found)
    found["QuoteRequest"] = _of(TypeAdapter(QuoteRequest), found)
    found["KeyRequest"] = _of(KEY_REQUEST, found)
    found["CommandsBody"] = _commands(found)
    found["UsageRecord"] = _usage_event(found)
    found["UsageEvent"] = {"anyOf": [ref("UsageRecord"), _ANY_OBJECT]}
    found["UsageBatch"] = {
        "type": "array",
        "items": {"anyOf": [ref("UsageRecord"), {"description": "Answered as refused."}]},
        "maxItems": ITEMS_MAX,
    }
    found["Facts"] = in_clear(_FACTS)
    found["StageAsked"] = at_the_desk("reserve_pipeline", found["StageAsked"])
    return {**found, **{name: _SAID_OFTEN[name] for name in _SAID_OFTEN if name != "Facts"}}


def _of(adapter: TypeAdapter[Any], found: dict[str, Schema]) -> Schema:
    """Return a type's schema; the types that it refers to are added to those found so far."""
    schema = adapter.json_schema(ref_template=_REF)
    found.update({name: _plain(part) for name, part in schema.pop("$defs", {}).items()})
    plain: Schema = _plain(schema)
    return plain


def _plain(schema: Any) -> Any:
    """Drop the titles that only repeat the names of fields, and name what is said often."""
    if isinstance(schema, dict):
        bare = {name: part for name, part in schema.items() if name != "title"}
        for name, often in _SAID_OFTEN.items():
            if bare == often:
                return ref(name)
        return {
            name: _plain(part)
            for name, part in schema.items()
            if name != "title" or not isinstance(part, str)
        }
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    return schema


_AMOUNTS = frozenset(MONEY_FIELDS.values())

_MONEY_IN: Schema = {
    "type": "object",
    "properties": {
        "amount": {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,14})(\.[0-9]{1,12})?$"},
        "currency": {"type": "string", "pattern": r"^[A-Z]{3}$"},
    },
    "required": ["amount", "currency"],
    "additionalProperties": False,
    "description": "The currency must be the customer's.",
}


def _command_schema(kind: str, without: tuple[str, ...], found: dict[str, Schema]) -> Schema:
    """Return the schema of a command's body; the id may be left to the header or the server."""
    schema = _of(TypeAdapter(COMMANDS[kind]), found)
    fields: Schema = schema["properties"]
    required = [name for name in schema["required"] if name != "id"]
    if "name_sealed" in fields:
        del fields["name_sealed"]
        fields["name"] = _NAME
        required = ["name" if name == "name_sealed" else name for name in required]
    for name in _AMOUNTS & fields.keys():
        fields[name] = {"anyOf": [fields[name], _MONEY_IN]}
    schema = at_the_desk(kind, {**schema, "required": required})
    for name in without:
        del schema["properties"][name]
    schema["required"] = [name for name in schema["required"] if name not in without]
    if not schema["required"]:
        del schema["required"]
    return schema


def _commands(found: dict[str, Schema]) -> Schema:
    """Return the schema of a body with many commands, each told apart by its kind."""
    known = [_one_of_many(kind, found) for kind in COMMANDS]
    return {
        "type": "object",
        "properties": {
            "atomic": {
                "type": "boolean",
                "default": False,
                "description": "All of them or none.",
            },
            "commands": {
                "type": "array",
                "items": {"anyOf": [*known, _ANY_OBJECT]},
                "minItems": 1,
                "maxItems": ITEMS_MAX,
            },
        },
        "required": ["commands"],
        "additionalProperties": False,
    }


def _one_of_many(kind: str, found: dict[str, Schema]) -> Schema:
    """Return the schema of one kind of command among others."""
    if kind == "publish_prices":
        schema = _of(TypeAdapter(PriceBookBody), found)
    else:
        schema = _command_schema(kind, (), found)
    fields = schema["properties"]
    required = schema.get("required", [])
    if kind == "issue_grant":  # `kind` says what the command is, so the grant's own moves aside
        fields["grant_kind"] = fields["kind"]
        required = [*(name for name in required if name != "kind"), "grant_kind"]
    schema["properties"] = {**fields, "kind": {"const": kind}}
    schema["required"] = ["kind", *required]
    return schema


def _usage_event(found: dict[str, Schema]) -> Schema:
    """Return the schema of a usage record as a CloudEvent."""
    record = _command_schema("usage", ("source", "reservation"), found)
    text: Mapping[str, Any] = {"type": "string", "minLength": 1}
    record["properties"].pop("id")
    key = {"type": "string", "minLength": 1, "maxLength": 512}
    return {
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0"},
            "type": {"const": "tollbook.usage.v1"},
            "source": key,
            "id": key,
            "subject": {
                **text,
                "description": "A reservation's id, or the customer's own for direct usage.",
            },
            "time": {"type": ["string", "null"], "format": "date-time"},
            "datacontenttype": {"enum": ["application/json", None]},
            "dataschema": {"type": ["string", "null"], "minLength": 1},
            "data": record,
        },
        "patternProperties": {
            "^[a-z0-9]{1,64}$": {"type": ["string", "boolean", "integer", "object", "null"]}
        },
        "required": ["specversion", "type", "source", "id", "subject", "data"],
        "additionalProperties": False,
    }
