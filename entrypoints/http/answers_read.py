"""Answers of reads: the JSON Schema of every resource and every list."""

from domain.commands import COMMANDS
from domain.units import UNITS
from entrypoints.http.forms import (
    ANY_OBJECT,
    DAY,
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
from entrypoints.http.schemas import Schema, ref

_NAMES = ("available", "held", "granted", "spent", "receivable", "credit_limit")
_TOTALS = dict.fromkeys(_NAMES, MONEY)
_TERMS = {
    "id": ID,
    "name": maybe(TEXT),
    "currency": TEXT,
    "time_zone": TEXT,
    "price_book": ID,
    "plan": ID,
    "blocked_at": maybe(TIME),
    "position": WHOLE,
    "credit_limit": MONEY,
}
_GRANT = {
    "id": ID,
    "kind": {"enum": ["paid", "promotional"]},
    "priority": WHOLE,
    "expires_at": maybe(TIME),
    "models": maybe(TEXTS),
    "free": MONEY,
    "held": MONEY,
}
_MODEL = {"model": TEXT, "position": WHOLE, "registered_at": TIME}
_USAGE: Schema = {
    "type": "object",
    "properties": {unit: {"type": ["integer", "string"]} for unit in sorted(UNITS)},
}

READ: dict[str, Schema] = {
    "Customer": thing(_TERMS),
    "Customers": page(thing({**_TERMS, **_TOTALS, "created_at": TIME}), ID),
    "Balance": thing({"customer": ID, **_TOTALS, "position": WHOLE, "at": TIME}),
    "Grant": thing({**_GRANT, "amount": MONEY, "overdraft_repaid": MONEY, "position": WHOLE}),
    "Grants": page(thing(_GRANT)),
    "CapsSeen": page(
        thing(
            {"id": ID, "unit": TEXT, "resets_at": TIME},
            limit={"type": ["integer", "string"]},
            used={"type": ["integer", "string"]},
            held={"type": ["integer", "string"]},
            calendar=TEXT,
            rolling_seconds=WHOLE,
            models=TEXTS,
        )
    ),
    "Reservation": thing(
        {
            "id": ID,
            "customer": ID,
            "model": TEXT,
            "status": {"enum": ["open", "expired", "settled", "released"]},
            "estimate": _USAGE,
            "used": _USAGE,
            "opened_at": TIME,
            "expires_at": TIME,
            "held": MONEY,
            "charged": MONEY,
            "outcome": maybe(ANY_OBJECT),
            "position": WHOLE,
        },
        inferences=WHOLE,
    ),
    "Reservations": page(
        thing(
            {
                "id": ID,
                "customer": ID,
                "model": TEXT,
                "status": {"enum": ["open", "expired", "settled", "released"]},
                "opened_at": TIME,
                "expires_at": TIME,
                "held": MONEY,
                "charged": MONEY,
                "released": MONEY,
                "position": WHOLE,
                "updated": WHOLE,
            },
            closed_at=TIME,
            closed_by=TEXT,
            license=ID,
        )
    ),
    "Charges": page(
        thing(
            {
                **{name: PAID[name] for name in PAID if name != "grants"},
                "position": WHOLE,
                "line": WHOLE,
                "id": TEXT,
                "customer": ID,
                "model": TEXT,
                "recorded_at": TIME,
                "occurred_at": TIME,
                "day": DAY,
                "period": TEXT,
                "volume": WHOLE,
                "usage": _USAGE,
            },
            reservation=ID,
            source=TEXT,
            license=ID,
            request_hash=TEXT,
            response_hash=TEXT,
        ),
        TEXT,
    ),
    "UsageDays": page(
        thing(
            {
                "customer": ID,
                "model": TEXT,
                "day": DAY,
                "charges": WHOLE,
                "charged": MONEY,
                "from_balance": MONEY,
                "receivable": MONEY,
                "usage": _USAGE,
            }
        ),
        TEXT,
    ),
    "Journal": page(
        thing(
            {
                "position": WHOLE,
                "recorded_at": TIME,
                "occurred_at": TIME,
                "currency": TEXT,
                "event": TEXT,
                "customer": ID,
                "postings": some(thing({"account": TEXT, "amount": MONEY})),
            }
        )
    ),
    "ParkedRecord": thing(
        {
            "parked": TEXT,
            "position": WHOLE,
            "recorded_at": TIME,
            "customer": ID,
            "model": TEXT,
            "source": TEXT,
            "id": TEXT,
            "status": {"enum": ["parked", "released"]},
            "record": ANY_OBJECT,
            "why": ANY_OBJECT,
        },
        released_at=TIME,
        released_by=TEXT,
        released_position=WHOLE,
    ),
    "ParkedRecords": page(ref("ParkedRecord")),
    "Events": thing({"events": some(ref("Event")), "next": maybe(WHOLE)}),
    "Event": thing(
        {
            "position": WHOLE,
            "name": TEXT,
            "version": WHOLE,
            "stream": TEXT,
            "stream_version": WHOLE,
            "customer": maybe(ID),
            "customer_sequence": maybe(WHOLE),
            "command": TEXT,
            "causation": maybe(TEXT),
            "correlation": maybe(TEXT),
            "actor": TEXT,
            "occurred_at": TIME,
            "recorded_at": TIME,
            "data": ANY_OBJECT,
            "leaf": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        }
    ),
    "Commands": {
        "anyOf": [
            ref("Result"),
            page(
                thing(
                    {
                        "position": WHOLE,
                        "kind": {"enum": list(COMMANDS)},
                        "scope": TEXT,
                        "id": TEXT,
                        "event": TEXT,
                        "status": {"enum": ["done", "refused"]},
                        "actor": TEXT,
                        "occurred_at": TIME,
                        "recorded_at": TIME,
                        "data": ANY_OBJECT,
                    },
                    customer=ID,
                    correlation=TEXT,
                ),
                TEXT,
            ),
        ]
    },
    "PriceVersions": page(
        thing(
            {
                "id": TEXT,
                "book": ID,
                "currency": TEXT,
                "version": WHOLE,
                "effective_from": TIME,
                "models": some(ANY_OBJECT),
                "position": WHOLE,
            }
        )
    ),
    "Models": page(
        thing(
            {
                **_MODEL,
                "versions": WHOLE,
                "yanked": WHOLE,
                "newest": maybe(TEXT),
                "newest_at": maybe(TIME),
            }
        )
    ),
    "Model": thing(
        {
            **_MODEL,
            "provenance_hash": TEXT,
            "versions": some(
                thing(
                    {
                        "version": TEXT,
                        "released_at": TIME,
                        "digest": maybe(TEXT),
                        "yanked_at": maybe(TIME),
                        "reason": maybe(TEXT),
                        "provenance": some(
                            thing(
                                {"name": TEXT, "standing": {"enum": ["declared", "verified"]}},
                                digest=TEXT,
                                value=TEXT,
                            )
                        ),
                    }
                )
            ),
        }
    ),
    "ExportList": thing(
        {"version": WHOLE, "countries": TEXTS},
        note=TEXT,
        position=WHOLE,
        recorded_at=TIME,
        actor=TEXT,
    ),
    "Projections": thing(
        {
            "position": WHOLE,
            "head": WHOLE,
            "events_behind": WHOLE,
            "seconds_behind": TEXT,
            "recorded_at": maybe(TIME),
            "parked": WHOLE,
            "building": FLAG,
        },
        build=TEXT,
    ),
}
