"""Many at once: `POST /commands` and `POST /usage`, each item answered for itself.

A request that cannot be read is refused as a whole. An item that is not a command gets its problem
and harms no other, unless all or none of them are wanted.
"""

from collections.abc import Sequence
from typing import Any, cast

from starlette.responses import Response
from tollbook.client.ids import new_id
from tollbook.errors import Invalid, Refused, TollbookError, Unavailable, Unknown

from application.answers import Answer
from application.jobs import COMMANDS_MAX, Item
from application.license_desk import Prepared
from application.usage_intake import usage_command, usage_result
from domain.command import Command
from domain.commands import COMMANDS
from domain.stages import WHOLE_WEIGHT
from entrypoints.http.bodies import CLOUD_EVENT, CLOUD_EVENTS, JSON, read_json, read_object
from entrypoints.http.commanding import (
    KEY_HEADER,
    PREFIXES,
    SEALED_KINDS,
    parsed,
    publication,
    sealed_all,
)
from entrypoints.http.license_many import AtDesk, complete_all, prepare_all, sign_all
from entrypoints.http.problems import BadRequest, Forbidden
from entrypoints.http.roles import COMMAND_ROLES
from entrypoints.http.routing import Call, reply

ITEMS_MAX = 1_000

_FIELDS = frozenset({"atomic", "commands"})
_WEIGHTS = {kind: command.WEIGHT for kind, command in COMMANDS.items()}

Result = dict[str, Any]


async def commands(call: Call) -> Response:
    """Carry out up to 1,000 commands in their order, in as few transactions as the pace allows."""
    try:
        _refuse_one_key(call)
        wanted, atomic = _wanted(await read_object(call.request))
    except TollbookError:
        call.service.limits.spend(call.who, 0)
        raise
    call.service.limits.spend(call.who, len(wanted))
    bodies = await _sealed(call, wanted)
    prepared = await prepare_all(call, bodies)
    found = [_parsed(call, *each) for each in zip(bodies, prepared, strict=True)]
    items = [
        Item(each, call.actor, call.correlation) for each in found if isinstance(each, Command)
    ]
    if atomic and len(items) < len(found):
        return reply({"results": _aborted(wanted, found)})
    answers = iter(await _submitted(call, items, atomic=atomic))
    answered = [None if isinstance(each, TollbookError) else next(answers) for each in found]
    added = await complete_all(call, list(zip(prepared, answered, strict=True)))
    results = [
        {**_result(answer), **more}
        if answer is not None
        else _problem(_name_of(body), cast(TollbookError, each))
        for body, each, answer, more in zip(wanted, found, answered, added, strict=True)
    ]
    await sign_all(call, wanted, prepared, answered, results)
    return reply({"results": results})


def _refuse_one_key(call: Call) -> None:
    """Refuse a key for all commands: it would promise that a repeated request is done once."""
    header = call.request.headers.get(KEY_HEADER)
    if header is not None:
        raise BadRequest.because(KEY_HEADER, header, "absent: each command has an id of its own")


def _wanted(body: dict[str, Any]) -> tuple[list[Result], bool]:
    """Return the commands of a body, and whether all or none of them are wanted."""
    unknown = sorted(body.keys() - _FIELDS)
    if unknown:
        raise Invalid.because(unknown[0], body[unknown[0]], "absent: it is not known")
    atomic = body.get("atomic", False)
    if type(atomic) is not bool:
        raise Invalid.because("atomic", atomic, "true or false")
    wanted = body.get("commands")
    if type(wanted) is not list or not 0 < len(wanted) <= ITEMS_MAX:
        raise Invalid.because("commands", wanted, f"a list of 1 to {ITEMS_MAX} commands")
    for each in wanted:
        if type(each) is not dict:
            raise Invalid.because("commands", each, "a list of JSON objects")
    weight = sum(_WEIGHTS.get(str(each.get("kind")), 1) for each in wanted)
    if weight > COMMANDS_MAX:
        rule = f"at most {COMMANDS_MAX // WHOLE_WEIGHT} commands on whole pipelines"
        raise Invalid.because("commands", f"{len(wanted)} commands", rule)
    return wanted, atomic


async def _sealed(call: Call, wanted: list[Result]) -> list[Any]:
    """Seal the personal fields of all commands; without any, no thread is troubled."""
    may = call.who.role in COMMAND_ROLES["create_customer"]
    if not may or not any(each.get("kind") in SEALED_KINDS for each in wanted):
        return wanted
    return await call.service.readers.read(sealed_all, wanted)


def _parsed(call: Call, body: Any, prepared: AtDesk) -> Command | TollbookError:
    """Read one command, or return what is wrong with it."""
    for each in (body, prepared):
        if isinstance(each, TollbookError):
            return each
    fields = dict(body)
    if isinstance(prepared, Prepared):
        fields = {"kind": prepared.kind, **prepared.body}
    kind = fields.pop("kind", None)
    if type(kind) is not str or kind not in COMMANDS:
        return Invalid.because("kind", kind, f"one of {', '.join(COMMANDS)}")
    if call.who.role not in COMMAND_ROLES[kind]:
        return Forbidden(f"the role {call.who.role} may not {kind}", role=call.who.role)
    try:
        if kind == "publish_prices":
            return publication(fields)
        if kind == "issue_grant":
            fields = _grant(fields)
        if "id" not in fields:
            fields["id"] = new_id(PREFIXES[kind])
        return parsed(kind, fields)
    except TollbookError as error:
        return error.kept()


def _grant(fields: dict[str, Any]) -> dict[str, Any]:
    """Put a grant's own kind, here `grant_kind`, where the command has it."""
    if "grant_kind" not in fields:
        raise Invalid.because("grant_kind", None, "paid or promotional")
    kind = fields.pop("grant_kind")
    return {**fields, "kind": kind}


async def _submitted(call: Call, items: Sequence[Any], *, atomic: bool = False) -> list[Answer]:
    """Have the items decided; what kept all of them from a decision is raised once."""
    if not items:
        return []
    answers = await call.service.submitter.submit(items, atomic=atomic)
    errors = [answer.error for answer in answers]
    kept_off = [error for error in errors if isinstance(error, Unavailable | Unknown)]
    if len(kept_off) == len(answers):  # where something may have happened after all, that is told
        raise next((error for error in kept_off if isinstance(error, Unknown)), kept_off[0])
    return answers


def _aborted(wanted: list[Result], found: list[Command | TollbookError]) -> list[Result]:
    """Answer a group that cannot be done as a whole, because of an item that is no command."""
    both = list(zip(wanted, found, strict=True))
    culprit = next(_name_of(body) for body, each in both if isinstance(each, TollbookError))
    aborted = Refused(
        f"not done, because {culprit or 'another item'} in the same group is not valid",
        code="aborted",
        because=culprit,
    )
    return [
        _problem(_name_of(body), each)
        if isinstance(each, TollbookError)
        else _problem(each.id, aborted)
        for body, each in both
    ]


def _name_of(body: Result) -> str:
    """Return the id that an item gave itself, as far as it can be shown."""
    name = body.get("id")
    return name[:128].encode(errors="replace").decode() if type(name) is str else ""


def _result(answer: Answer) -> Result:
    """Return what became of one command: the answer's fields, or the problem's."""
    problem = answer.problem()
    if problem is None:
        return {"status": "done", **answer.result()}
    found = _problem(answer.id, problem)
    if answer.recorded is not None:
        found["position"] = answer.recorded.position
    return found


def _problem(name: str, error: TollbookError) -> Result:
    return {**error.problem(), "id": name, "status": "refused"}


async def usage(call: Call) -> Response:
    """Take in one usage record or up to 1,000, as CloudEvents; each is answered for itself."""
    try:
        events = await _events(call)
    except TollbookError:
        call.service.limits.spend(call.who, 0)
        raise
    call.service.limits.spend(call.who, len(events))
    found = [_record(event) for event in events]
    items = [
        Item(each, call.actor, call.correlation) for each in found if isinstance(each, Command)
    ]
    answers = iter(await _submitted(call, items))
    results = []
    for event, each in zip(events, found, strict=True):
        if isinstance(each, TollbookError):
            answer = Answer(_text_of(event, "id") or "", None, error=each)
        else:
            answer = next(answers)
        results.append(usage_result(answer, _text_of(event, "source")))
    return reply({"results": results})


async def _events(call: Call) -> list[Any]:
    """Return the events of a body: one, or a batch, as its media type says."""
    media_type, body = await read_json(call.request, (CLOUD_EVENTS, CLOUD_EVENT, JSON))
    if media_type != CLOUD_EVENTS:
        if type(body) is not dict:
            raise Invalid.because("body", body, f"a CloudEvent (a batch is {CLOUD_EVENTS})")
        return [body]
    if type(body) is not list or len(body) > ITEMS_MAX:
        raise Invalid.because("body", body, f"a list of at most {ITEMS_MAX} CloudEvents")
    return body


def _record(event: Any) -> Command | TollbookError:
    try:
        return usage_command(event)
    except TollbookError as error:
        return error.kept()


def _text_of(event: Any, name: str) -> str | None:
    text = event.get(name) if type(event) is dict else None
    return text[:512].encode(errors="replace").decode() if type(text) is str else None
