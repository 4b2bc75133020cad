"""Inferences over HTTP with one whole answer: they run to their end, whoever waits for it."""

from aiohttp import web
from tollbook.errors import TollbookError, Unknown

from adapters.triton.http_client import AnswerLost, HttpClient, NotReached
from adapters.triton.http_connections import HttpAnswer
from domain import meter_asks, meters
from entrypoints.gateway import deadly
from entrypoints.gateway import http_calls as calls
from entrypoints.gateway import http_infer as infers
from entrypoints.gateway.http_calls import Call, Parts
from entrypoints.gateway.http_models import Descriptions
from entrypoints.gateway.running import Running
from entrypoints.gateway.sequences import NAME, owned


async def infer(parts: Parts, described: Descriptions, call: Call) -> web.StreamResponse:
    """Answer one `infer`."""
    await calls.read(parts, call)
    given = infers.split(call.body, call.headers.get(calls.HEADER_LENGTH))
    asked = infers.inference(given)
    meter = parts.gateway.admission.meter(call.model)
    wanted, asks = meters.wanted_outputs(meter), meter_asks.lacking(meter, asked.inputs)
    infers.check_wanted(asked, wanted)
    shapes = {name: each.shape for name, each in asked.inputs.items()}
    suspect = (shapes, infers.classified(asked), asked.parameters.get(NAME))
    if deadly.is_suspect(*suspect):
        deadly.check((await described.of(call.model, call.version)).model, *suspect)
    metered = meters.Request(asked.inputs, asked.parameters)
    async with calls.admitted(parts, call, metered) as (running, client):
        asked = asked._replace(members=owned(asked.members, running.admitted.customer))
        head, added = infers.forwarded(asked, running.id, running.admitted.priority, wanted, asks)
        told = {"Content-Type": calls.JSON}
        if given.tail:
            told = {"Content-Type": calls.BINARY, "Inference-Header-Content-Length": str(len(head))}
        headers = call.upstream(**told)
        answer = await answered(parts, running, client, call.path, head + given.tail, headers)
        if answer.status != 200:
            parts.gateway.failed(running, calls.reason(answer))
            return calls.failed(running, answer, asked.id)
        return _finished(parts, running, answer, added, asked.id)


async def answered(
    parts: Parts,
    running: Running,
    client: HttpClient,
    path: str,
    body: bytes,
    headers: dict[str, str],
) -> HttpAnswer:
    """Send an inference to its server; whatever goes wrong ends it as far as that is known."""
    gateway = parts.gateway
    gateway.begin(running)
    seconds = running.admitted.meter.seconds
    try:
        return await client.ask("POST", path, body, headers, seconds)
    except NotReached as error:
        gateway.give_up(running, f"its server never saw it: {error}")
        raise
    except AnswerLost as error:
        gateway.lost(running, str(error))
        raise told_by(error, running) from None


def told_by(error: TollbookError, running: Running) -> TollbookError:
    """Return an error with the id under which the outcome can be asked for later."""
    error.facts["request"] = running.id
    return error


def _finished(
    parts: Parts, running: Running, answer: HttpAnswer, added: tuple[str, ...], id: str
) -> web.Response:
    """Meter a whole answer, write down its outcome, and return what the client gets of it."""
    try:
        given = infers.split(
            answer.body, answer.headers.get("Inference-Header-Content-Length"), "surrogateescape"
        )
        restored = infers.restored(given, added, id)
    except (TollbookError, ValueError) as error:
        running.unmetered = f"the server's answer cannot be read: {error}"
        parts.gateway.finish(running)
        raise told_by(Unknown("the server's answer cannot be read"), running) from None
    running.message(restored.outputs, restored.parameters)
    body = restored.head + restored.tail
    running.left(body)
    headers = parts.gateway.finish(running)
    if restored.binary:
        headers["Inference-Header-Content-Length"] = str(len(restored.head))
    return calls.whole(body, calls.BINARY if restored.binary else calls.JSON, headers)
