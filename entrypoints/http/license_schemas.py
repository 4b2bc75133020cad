"""Answers about licences: the JSON Schema of what their commands answer, and of what is read."""

from domain.commands import COMMANDS
from domain.denials import DENIALS, LIFE_REFUSALS
from entrypoints.http.forms import (
    ANY_OBJECT,
    FLAG,
    ID,
    TEXT,
    TEXTS,
    TIME,
    WHOLE,
    maybe,
    page,
    some,
    thing,
)
from entrypoints.http.schemas import Schema, ref
from projections import decisions, devices, licenses

_DONE = {"id": ID, "position": WHOLE, "license": ID, "customer": ID}
_UNITS: Schema = {"type": ["integer", "string"]}
_LEFT = some(thing({"limit": ID, "remaining": _UNITS, "resets_at": maybe(TIME)}))
_STATUS: Schema = {"enum": list(licenses.STATUSES)}

TERMS = {"features": TEXTS, "priority": WHOLE, "pool": ID, "watermark": TEXT}
DECIDED = {"policy_version": TEXT, "grace": FLAG, "remaining": _LEFT, **TERMS, "signed": TEXT}
"""What a decision adds to an answer, where one was asked for."""

_KEY_MADE = {"key_hint": TEXT, "key_shown": FLAG}
_LEASE = {"lease": ID, "model": TEXT, "holder": TEXT, "borrowed": FLAG, "expires_at": TIME}
_TERMS_OF_LIFE = {
    "deployment": {"enum": ["saas", "on_premise", "hybrid"]},
    "template": ID,
    "policy_version": TEXT,
    "issued_at": TIME,
    "starts_at": TIME,
    "maintenance_until": TIME,
}

LICENSES: dict[str, Schema] = {
    "LicenseIssued": thing(
        {
            **_DONE,
            "license_status": _STATUS,
            "deployment": TEXT,
            "template": ID,
            "policy_version": TEXT,
            "expires_at": maybe(TIME),
            "maintenance_until": TIME,
            **_KEY_MADE,
        },
        license_key=TEXT,
    ),
    "LicenseKeyRotated": thing({**_DONE, **_KEY_MADE, "overlap_seconds": WHOLE}, license_key=TEXT),
    "LicenseStatus": thing({**_DONE, "license_status": _STATUS}),
    "LicenseRenewed": thing({**_DONE, "expires_at": TIME, "maintenance_until": TIME}),
    "LicenseUpgraded": thing({**_DONE, "template": ID, "template_version": WHOLE}),
    "DeviceDone": thing({**_DONE, "device": ID}),
    "Validation": thing(
        {"admitted": FLAG},
        **{**_DONE, "model": TEXT, **DECIDED},
        dry_run=FLAG,
        why=ANY_OBJECT,
    ),
    "LeaseGranted": thing(
        {**_DONE, **_LEASE, "renew_at": TIME, "policy_version": TEXT, "token": TEXT, **TERMS},
        signed=TEXT,
    ),
    "SeatReturned": thing({**_DONE, "lease": ID}),
    "PolicyDone": thing(
        {"id": ID, "position": WHOLE, "name": ID, "version": WHOLE, "policy": ref("PolicyBody")}
    ),
    "License": thing(
        {
            "id": ID,
            "customer": ID,
            "status": _STATUS,
            "grace": FLAG,
            "since": TIME,
            "reason": maybe(TEXT),
            **_TERMS_OF_LIFE,
            "policy": ref("PolicyBody"),
            "reference": maybe(TEXT),
            "expires_at": maybe(TIME),
            "ends_at": maybe(TIME),
            "keys": some(
                thing({"hint": TEXT, "ends_at": maybe(TIME), "last_used_at": maybe(TIME)})
            ),
            "devices": some(thing({"device": ID, "components": TEXTS, "holder": maybe(TEXT)})),
            "seats": WHOLE,
            "leases": some(thing({**_LEASE, "leased_at": TIME})),
            "limits": some(
                thing(
                    {
                        "limit": ID,
                        "unit": TEXT,
                        "per": TEXT,
                        "allowed": _UNITS,
                        "used": _UNITS,
                        "remaining": _UNITS,
                        "resets_at": maybe(TIME),
                    },
                    models=TEXTS,
                )
            ),
            "provenance": ANY_OBJECT,
            "position": WHOLE,
            "at": TIME,
        }
    ),
    "LicenseInShort": thing(
        {
            "id": ID,
            "customer": ID,
            "status": _STATUS,
            "since": TIME,
            **_TERMS_OF_LIFE,
            "keys": some(thing({"hint": TEXT}, ends_at=TIME, last_used_at=TIME)),
            "admitted": WHOLE,
            "denied": WHOLE,
            "position": WHOLE,
            "updated": WHOLE,
        },
        expires_at=TIME,
        ends_at=TIME,
        last_used_at=TIME,
        reason=TEXT,
        reference=TEXT,
    ),
    "Licenses": page(ref("LicenseInShort")),
    "LicensesExpiring": page(ref("LicenseInShort"), TEXT),
    "Devices": page(
        thing(
            {
                "position": WHOLE,
                "license": ID,
                "device": ID,
                "customer": ID,
                "status": {"enum": list(devices.STATUSES)},
                "activated_at": TIME,
                "components": TEXTS,
                "facts": ANY_OBJECT,
            },
            deactivated_at=TIME,
            holder=TEXT,
        )
    ),
    "Lease": thing(
        {
            **_LEASE,
            "license": ID,
            "customer": ID,
            "status": {"enum": ["live", "expired", "returned", "revoked"]},
            "leased_at": TIME,
            "returned_at": maybe(TIME),
        }
    ),
    "Seats": page(
        thing(
            {
                **_LEASE,
                "license": ID,
                "customer": ID,
                "leased_at": TIME,
                "position": WHOLE,
                "updated": WHOLE,
            },
            returned_at=TIME,
            revoked_at=TIME,
        )
    ),
    "Decisions": page(
        thing(
            {
                "position": WHOLE,
                "recorded_at": TIME,
                "license": ID,
                "customer": ID,
                "kind": {"enum": list(COMMANDS)},
                "id": TEXT,
                "status": {"enum": list(decisions.STATUSES)},
                "policy_version": TEXT,
            },
            model=TEXT,
            reservation=ID,
            lease=ID,
            request_hash=TEXT,
            response_hash=TEXT,
            grace=FLAG,
            remaining=_LEFT,
            why=thing({"code": {"enum": [*DENIALS, *LIFE_REFUSALS]}, "detail": TEXT}),
        )
    ),
    "PolicyVersion": thing(
        {
            "name": ID,
            "version": WHOLE,
            "policy": ref("PolicyBody"),
            "position": maybe(WHOLE),
            "recorded_at": maybe(TIME),
        }
    ),
    "Policies": page(ref("PolicyVersion"), ID),
    "Policy": {
        "allOf": [ref("PolicyVersion"), thing({"versions": some(ref("PolicyVersion"))})],
    },
    "SigningKeys": page(thing({"id": TEXT, "public_key": TEXT})),
}
