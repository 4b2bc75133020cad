"""Answers: the JSON Schema of what commands answer, and of every problem."""

from entrypoints.http.forms import (
    ANY_OBJECT,
    FLAG,
    ID,
    MONEY,
    PAID,
    TEXT,
    TEXTS,
    TIME,
    WHOLE,
    maybe,
    page,
    some,
    thing,
)
from entrypoints.http.license_schemas import DECIDED
from entrypoints.http.problems import CODES
from entrypoints.http.roles import ROLES
from entrypoints.http.schemas import Schema, ref

_DONE = {"id": TEXT, "position": WHOLE}
COMMANDED: dict[str, Schema] = {
    "Money": thing(
        {
            "amount": {"type": "string", "pattern": r"^-?(0|[1-9][0-9]*)\.[0-9]{12}$"},
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        }
    ),
    "Hold": thing({**_DONE, "held": MONEY, "expires_at": TIME}, **DECIDED),
    "Settlement": thing({**_DONE, **PAID, "released": MONEY}),
    "Released": thing({**_DONE, "released": MONEY}),
    "CustomerDone": thing({**_DONE, "customer": ID}),
    "GrantIssued": thing({**_DONE, "amount": MONEY, "overdraft_repaid": MONEY}),
    "CapsDone": thing({**_DONE, "customer": ID, "caps": some(ANY_OBJECT)}),
    "ModelDone": thing({**_DONE, "model": TEXT}),
    "ModelVersionDone": thing({**_DONE, "model": TEXT, "version": TEXT}),
    "ExportListDone": thing({**_DONE, "version": WHOLE, "countries": TEXTS}),
    "PricesPublished": thing({**_DONE, "version": WHOLE, "effective_from": TIME}),
    # Once the record was released, the same id gets what the release answered.
    "Parked": thing({**_DONE, "parked": TEXT}, why=ANY_OBJECT, **PAID, released=MONEY),
    "ReleasedUsage": thing({**_DONE, **PAID, "parked": TEXT}, released=MONEY),
    "Results": thing({"results": some(ref("Result"))}),
    "Result": thing(
        {"id": TEXT, "status": {"enum": ["done", "refused"]}},
        position=WHOLE,
        code={"enum": sorted(CODES)},
        detail=TEXT,
    ),
    "UsageResults": thing({"results": some(ref("UsageResult"))}),
    "UsageResult": thing(
        {"id": TEXT, "status": {"enum": ["accepted", "duplicate", "parked", "refused"]}},
        source=TEXT,
        position=WHOLE,
        charged=MONEY,
        receivable=MONEY,
        parked=TEXT,
        why=ANY_OBJECT,
        problem=ANY_OBJECT,
    ),
    "Quote": thing(
        {
            "price": maybe(MONEY),
            "price_version": maybe(WHOLE),
            "price_book": ID,
            "would_admit": FLAG,
            "why": maybe(ANY_OBJECT),
            "required": maybe(MONEY),
            "available": MONEY,
        }
    ),
}

_KEY = {"id": TEXT, "role": {"enum": list(ROLES)}, "created_at": TIME}
_KEY_MAY = {
    "customer": ID,
    "note": TEXT,
    "expires_at": TIME,
    "revoked_at": TIME,
    "last_used_at": TIME,
}

OTHER: dict[str, Schema] = {
    "Key": thing(_KEY, **_KEY_MAY),
    "Keys": page(ref("Key"), TEXT),
    "NewKey": thing({**_KEY, "key": TEXT}, **_KEY_MAY),
    "Health": thing({"status": TEXT}),
    "Document": ANY_OBJECT,
    "Problem": thing(
        {
            "type": {"type": "string", "pattern": "^urn:tollbook:problem:[a-z_]+$"},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": TEXT,
            "code": {"enum": sorted(CODES)},
        },
        field=TEXT,
        rule=TEXT,
    ),
}
