"""Commands about licences over HTTP: through the desk, where secrets become hashes and tokens.

What the desk has at hand is done on the loop; only where it has to ask the store, or to sign, a
reader's thread does it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from starlette.responses import Response
from tollbook.client.ids import new_id
from tollbook.errors import Invalid, Refused, TollbookError

from application.answers import Answer
from application.jobs import Item
from application.license_desk import LEASING, NotAtHandError, Prepared, concerns
from application.ports import EventStore
from application.trying import tried
from domain.command import Command
from domain.facts import CHANNELS, PROVENANCES
from entrypoints.http.bodies import read_object
from entrypoints.http.commanding import PREFIXES, command_id, parsed, with_path
from entrypoints.http.problems import Forbidden, document, respond
from entrypoints.http.readers import Reader
from entrypoints.http.routing import Call, Handler, answered, done, replayed, reply, told

Body = dict[str, Any]
API = CHANNELS[0]
T = TypeVar("T")


def licensed(kind: str, *fields: str) -> Handler:
    """Return the handler of a route whose command may concern a licence.

    `fields` are those of the command that the path gives, under the same names.
    """

    async def handle(call: Call) -> Response:
        body = with_path(call, await read_object(call.request), fields)
        return await carry_out(call, kind, body)

    return handle


async def carry_out(call: Call, kind: str, body: Body, name: str | None = None) -> Response:
    """Carry out a command and answer it; `name` is where below this path it is read."""
    body["id"] = command_id(call.request, body, PREFIXES[kind])
    if not (concerns(kind, body) or call.who.customer is not None):
        return answered(call, await _decided(call, parsed(kind, body)), name)
    nonce = body.get("nonce")
    try:
        prepared = await prepare(call, kind, body)
    except Refused as refusal:
        return await _refused(call, refusal, {}, nonce)
    answer = await _decided(call, checked(call, prepared))
    problem = answer.problem()
    if problem is not None:
        return await _refused(
            call, told(problem, answer), replayed(answer), nonce, answer.decided_at()
        )
    added = await at_hand(call, lambda store: call.service.desk.complete(prepared, answer, store))
    shown = {**answer.result(), **added}
    if nonce is not None:
        shown["signed"] = await call.service.readers.read(
            _signed, call, shown, nonce, answer.decided_at()
        )
    return done(call, answer, shown, name)


async def prepare(call: Call, kind: str, body: Body) -> Prepared:
    """Replace the secrets of a body; a customer's key may name its own licences only."""
    desk, own = call.service.desk, call.who.customer
    return await at_hand(call, lambda store: desk.prepare(kind, body, store, own))


async def at_hand(call: Call, function: Callable[[EventStore | None], T]) -> T:
    """Call a function without a store, and where it needs one, again in a reader's thread."""
    try:
        return function(None)
    except NotAtHandError:
        return await call.service.readers.read(lambda reader: function(reader.store))


def checked(call: Call, prepared: Prepared) -> Command:
    """Read a prepared command; a customer's key tells only what it declares itself."""
    command = parsed(prepared.kind, prepared.body)
    if call.who.customer is not None:
        facts = getattr(command, "facts", None) or {}
        if prepared.kind in LEASING and "channel" in facts and facts["channel"].value == API:
            # On the API nothing binds to hardware, and the token would run anywhere all the same.
            raise Forbidden("a customer's key leases for its own machines alone", fact="channel")
        for name, fact in facts.items():
            if fact.provenance != PROVENANCES[0]:
                raise Forbidden(
                    f"a customer's key may only declare facts, and {name} is {fact.provenance}",
                    fact=name,
                    provenance=fact.provenance,
                )
    return command


async def _decided(call: Call, command: Command) -> Answer:
    item = Item(command, call.actor, call.correlation)
    (answer,) = await call.service.submitter.submit((item,))
    return answer


async def _refused(
    call: Call, error: TollbookError, headers: dict[str, str], nonce: Any, at: int | None = None
) -> Response:
    """Answer a problem; one that answers a question with a nonce is signed."""
    problem = document(error)
    if type(nonce) is str:
        problem["signed"] = await call.service.readers.read(_signed, call, problem, nonce, at)
    return respond(problem, headers)


def _signed(reader: Reader, call: Call, shown: Body, nonce: str, at: int | None = None) -> str:
    """Sign an answer with the time of its decision: that of one given again is in the past."""
    return call.service.desk.sign(shown, nonce, reader.ledger.now() if at is None else at)


async def validate(call: Call) -> Response:
    """Decide and count a request; the key names the licence where the path does not."""
    fields = ("license",) if "license" in call.path else ()
    body = with_path(call, await read_object(call.request), fields)
    if not fields and body.get("license_key") is None:
        raise Invalid.because("license_key", None, "given, where the path names no licence")
    dry_run = body.pop("dry_run", False)
    if type(dry_run) is not bool:
        raise Invalid.because("dry_run", dry_run, "true or false")
    if not dry_run:
        return await carry_out(call, "validate_license", body)
    body["id"] = new_id(PREFIXES["validate_license"])  # whatever it is, it stays free
    return reply(await _dry_run(call, body))


async def _dry_run(call: Call, body: Body) -> Body:
    """Return what a validation would be answered now; nothing is recorded or counted."""
    nonce = body.get("nonce")
    try:
        prepared = await prepare(call, "validate_license", body)
    except Refused as refusal:
        shown = _would_refuse(refusal)
    else:
        command = checked(call, prepared)
        shown = await call.service.readers.read(_tried, call, prepared, command)
    if nonce is not None:
        shown["signed"] = await call.service.readers.read(_signed, call, shown, nonce)
    return shown


def _tried(reader: Reader, call: Call, prepared: Prepared, command: Command) -> Body:
    answer = tried(reader.store, command, reader.ledger.now())
    problem = answer.problem()
    if isinstance(problem, Refused):
        return _would_refuse(problem)
    added = call.service.desk.complete(prepared, answer, reader.store)
    result = {**answer.result(), **added}  # raises what is no decision
    del result["id"], result["position"]
    return {**result, "dry_run": True}


def _would_refuse(refusal: Refused) -> Body:
    return {"admitted": False, "dry_run": True, "why": refusal.problem()}


async def publish_policy(call: Call) -> Response:
    """Publish a version of a template; its name is where it is read."""
    body = await read_object(call.request)
    return await carry_out(call, "publish_policy", {**body}, str(body.get("name")))
