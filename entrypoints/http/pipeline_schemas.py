"""Answers about pipelines: the JSON Schema of each."""

from entrypoints.http.forms import (
    ANY_OBJECT,
    FLAG,
    ID,
    MONEY,
    TEXT,
    TIME,
    WHOLE,
    maybe,
    page,
    some,
    thing,
)
from entrypoints.http.schemas import Schema, ref

_DONE = {"id": TEXT, "position": WHOLE}
_WHOSE = {"stage": TEXT, "reservation": ID}
_PAID = {"charged": MONEY, "from_balance": MONEY, "receivable": MONEY, "released": MONEY}
_VERSION = {
    "pipeline": ID,
    "version": WHOLE,
    "stages": some(thing({"name": TEXT, "model": TEXT, "licensed": FLAG}, estimate=ANY_OBJECT)),
    "position": WHOLE,
    "published_at": TIME,
}
_STANDING = {"enum": ["open", "expired", "settled", "released"]}
_STAGE = {
    **_WHOSE,
    "model": TEXT,
    "status": _STANDING,
    "license": maybe(ID),
    "estimate": ANY_OBJECT,
    "used": ANY_OBJECT,
    "expires_at": TIME,
    "held": MONEY,
    "charged": MONEY,
    "outcome": maybe(ANY_OBJECT),
}

PIPELINE_ANSWERS: dict[str, Schema] = {
    "PipelineDone": thing({**_DONE, "pipeline": ID, "version": WHOLE}),
    "PipelineReserved": thing(
        {
            **_DONE,
            "pipeline": ID,
            "version": WHOLE,
            "held": MONEY,
            "expires_at": TIME,
            "stages": some(thing({**_WHOSE, "held": MONEY})),
        }
    ),
    "PipelineSettled": thing(
        {**_DONE, "pipeline": ID, "reserved": ID, **_PAID, "stages": some(thing(_WHOSE | _PAID))}
    ),
    "PipelineReleased": thing(
        {
            **_DONE,
            "pipeline": ID,
            "reserved": ID,
            "released": MONEY,
            "stages": some(thing({**_WHOSE, "released": MONEY})),
        }
    ),
    "PipelineVersion": thing(_VERSION),
    "Pipeline": thing({**_VERSION, "versions": some(ref("PipelineVersion"))}),
    "Pipelines": page(ref("PipelineVersion"), ID),
    "PipelineReservation": thing(
        {
            "id": ID,
            "customer": ID,
            "pipeline": ID,
            "version": WHOLE,
            "status": _STANDING,
            "opened_at": TIME,
            "held": MONEY,
            "charged": MONEY,
            "stages": some(thing(_STAGE)),
            "position": WHOLE,
        }
    ),
}
