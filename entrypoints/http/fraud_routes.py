"""The routes of fraud cases: the list to review, a case with all that made it, and verdicts."""

from typing import Any

from starlette.responses import Response
from tollbook.errors import NotFound

from application.jobs import Item
from domain.fraud_case import STATUSES
from domain.fraud_commands import FlagCustomer
from domain.fraud_events import CASE_PATTERN, FraudFlagged
from entrypoints.http.bodies import read_object
from entrypoints.http.commanding import PREFIXES, command, command_id, parsed
from entrypoints.http.customers import wait
from entrypoints.http.forms import ID, TEXT, TIME, WHOLE, page, some, thing
from entrypoints.http.lists import listing
from entrypoints.http.parameters import AFTER_POSITION, CUSTOMER, LIMIT, WAIT_FOR, one_of
from entrypoints.http.readers import Reader
from entrypoints.http.roles import REVIEWING, STAFF
from entrypoints.http.routing import Call, Route, answered, reply
from entrypoints.http.schemas import Schema
from projections import fraud_cases


async def flag(call: Call) -> Response:
    """Flag a customer; what is made, or added to, is read by the case's id."""
    body = await read_object(call.request)
    body["id"] = command_id(call.request, body, PREFIXES[FlagCustomer.KIND])
    item = Item(parsed(FlagCustomer.KIND, body), call.actor, call.correlation)
    (answer,) = await call.service.submitter.submit((item,))
    event = None if answer.recorded is None else answer.recorded.event
    return answered(call, answer, event.case if isinstance(event, FraudFlagged) else None)


async def show(call: Call) -> Response:
    """Return a fraud case with its steps."""
    await wait(call)
    return reply(await call.service.readers.read(_case, call.path["case"]))


def _case(reader: Reader, name: str) -> dict[str, Any]:
    found = fraud_cases.one(reader.run, name)
    if found is None:
        raise NotFound(f"there is no fraud case {name}", field="case", value=name)
    return found


_CASE_ID: Schema = {"type": "string", "pattern": CASE_PATTERN}
_DONE = thing({"id": TEXT, "position": WHOLE, "customer": ID, "case": _CASE_ID})
_CASE = {
    "id": _CASE_ID,
    "customer": ID,
    "status": {"enum": list(STATUSES)},
    "opened_at": TIME,
    "since": TIME,
    "flags": WHOLE,
    "position": WHOLE,
    "updated": WHOLE,
}
_STEP = thing(
    {
        "position": WHOLE,
        "what": {"enum": list(fraud_cases.STEPS)},
        "actor": TEXT,
        "at": TIME,
    },
    reason=TEXT,
    score=WHOLE,
    signs=some(thing({"code": TEXT, "points": WHOLE})),
)

FRAUD_ANSWERS: dict[str, Schema] = {
    "FraudDone": _DONE,
    "FraudCases": page(thing(_CASE, score=WHOLE)),
    "FraudCase": thing({**_CASE, "steps": some(_STEP)}, score=WHOLE),
}

FRAUD = (
    Route(
        method="POST",
        path="/v1/fraud/cases",
        summary="Flag a customer: open a fraud case, or add to the one that stands",
        handler=flag,
        roles=REVIEWING,
        body="FlagCustomerBody",
        example={"id": "flg-1", "customer": "acme", "reason": "the card was reported stolen"},
        answer="FraudDone",
        tag="fraud",
        kind="flag_customer",
        creates="$response.body#/case",
        codes=("not_found",),
    ),
    Route(
        method="GET",
        path="/v1/fraud/cases",
        summary="Fraud cases in the order in which they were opened",
        handler=listing(fraud_cases.page),
        roles=STAFF,
        answer="FraudCases",
        tag="fraud",
        query=(
            one_of("status", STATUSES, "Only those that stand like this now."),
            *(CUSTOMER, AFTER_POSITION, LIMIT, WAIT_FOR),
        ),
        codes=("not_found",),
    ),
    Route(
        method="GET",
        path="/v1/fraud/cases/{case}",
        summary="A fraud case: every flag and verdict, who gave it and why",
        handler=show,
        roles=STAFF,
        answer="FraudCase",
        tag="fraud",
        query=(WAIT_FOR,),
        codes=("not_found",),
    ),
    Route(
        method="POST",
        path="/v1/fraud/cases/{case}/clear",
        summary="Find no fraud: close the case, and let the account reserve again",
        handler=command("clear_case", "case"),
        roles=REVIEWING,
        body="ClearCaseBody",
        example={"id": "clr-1", "reason": "a load test that was announced"},
        answer="FraudDone",
        tag="fraud",
        kind="clear_case",
        codes=("not_found", "case_cleared"),
    ),
    Route(
        method="POST",
        path="/v1/fraud/cases/{case}/confirm",
        summary="Find fraud: nothing new is admitted until the case is cleared",
        handler=command("confirm_case", "case"),
        roles=REVIEWING,
        body="ConfirmCaseBody",
        example={"id": "cnf-1", "reason": "the bank confirms that the card was stolen"},
        answer="FraudDone",
        tag="fraud",
        kind="confirm_case",
        codes=("not_found", "case_cleared", "case_confirmed"),
    ),
)
