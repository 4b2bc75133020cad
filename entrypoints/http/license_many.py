"""Many commands at the desk: secrets replaced, answers completed, and signed where asked for."""

from collections.abc import Sequence
from typing import Any

from tollbook.errors import Refused, TollbookError

from application.answers import Answer
from application.license_desk import Prepared, concerns
from application.ports import EventStore
from entrypoints.http.license_commanding import at_hand
from entrypoints.http.readers import Reader
from entrypoints.http.roles import COMMAND_ROLES
from entrypoints.http.routing import Call

AtDesk = Prepared | TollbookError | None
"""An item as it left the desk, what is wrong with it, or None where it had no business there."""

Result = dict[str, Any]


async def prepare_all(call: Call, bodies: Sequence[Any]) -> list[AtDesk]:
    """Replace the secrets of every body that has any."""
    return await at_hand(call, lambda store: [_prepared(call, body, store) for body in bodies])


def _prepared(call: Call, body: Any, store: EventStore | None) -> AtDesk:
    kind = body.get("kind") if type(body) is dict else None
    if type(kind) is not str or call.who.role not in COMMAND_ROLES.get(kind, ()):
        return None  # answered as what it is, and nothing is looked up for it
    fields = {name: value for name, value in body.items() if name != "kind"}
    if not concerns(kind, fields):
        return None
    try:
        return call.service.desk.prepare(kind, fields, store)
    except TollbookError as error:
        return error.kept()


async def complete_all(call: Call, decided: Sequence[tuple[AtDesk, Answer | None]]) -> list[Result]:
    """Return what the desk adds to each answer."""
    return await at_hand(call, lambda store: [_completed(call, *each, store) for each in decided])


def _completed(
    call: Call, prepared: AtDesk, answer: Answer | None, store: EventStore | None
) -> Result:
    if answer is None or not isinstance(prepared, Prepared):
        return {}
    return call.service.desk.complete(prepared, answer, store)


async def sign_all(
    call: Call,
    wanted: Sequence[Any],
    prepared: Sequence[AtDesk],
    answered: Sequence[Answer | None],
    results: Sequence[Result],
) -> None:
    """Sign the results of those items that came with a nonce, denials too."""
    nonces = [_nonce(*each) for each in zip(wanted, prepared, strict=True)]
    if any(nonce is not None for nonce in nonces):
        times = [None if answer is None else answer.decided_at() for answer in answered]
        await call.service.readers.read(_sign_all, call, nonces, times, results)


def _nonce(body: Any, prepared: AtDesk) -> str | None:
    if isinstance(prepared, Prepared):
        return prepared.nonce
    found = body.get("nonce") if isinstance(prepared, Refused) else None
    return found if type(found) is str else None


def _sign_all(
    reader: Reader,
    call: Call,
    nonces: Sequence[str | None],
    times: Sequence[int | None],
    results: Sequence[Result],
) -> None:
    now = reader.ledger.now()
    for nonce, at, result in zip(nonces, times, results, strict=True):
        if nonce is not None:
            result["signed"] = call.service.desk.sign(result, nonce, now if at is None else at)
