"""Commanding: from the body of a request to a command, its id, and its answer.

An id is the caller's, in the body or in the header `Idempotency-Key`, or one that is made here.
Once a command is on its way, a caller that goes away undoes nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from tollbook.client.ids import ID_RULE, new_id
from tollbook.errors import Invalid

from application.jobs import Item
from domain.command import Command
from domain.commands import PublishPrices, parse
from domain.pricebook import publication_id
from domain.values import is_id
from entrypoints.http.bodies import read_object
from entrypoints.http.problems import BadRequest
from entrypoints.http.readers import Reader
from entrypoints.http.routing import Call, Handler, answered

KEY_HEADER = "Idempotency-Key"

PREFIXES = {
    "create_customer": "cus",
    "change_customer": "chg",
    "issue_grant": "grt",
    "reserve": "rsv",
    "extend": "ext",
    "settle": "stl",
    "release": "rel",
    "usage": "use",
    "park_usage": "use",
    "release_usage": "rlu",
    "unblock": "unb",
    "set_caps": "cap",
    "flag_customer": "flg",
    "clear_case": "clr",
    "confirm_case": "cnf",
    "raise_min_reader": "min",
    "register_model": "mdl",
    "release_model_version": "ver",
    "yank_model_version": "ynk",
    "publish_export_list": "exp",
    "issue_license": "lic",
    "activate_license": "dev",
    "deactivate_license": "dea",
    "renew_license": "rnw",
    "upgrade_license": "upg",
    "suspend_license": "sus",
    "reinstate_license": "rei",
    "revoke_license": "rev",
    "expire_license": "xpr",
    "rotate_license_key": "rot",
    "validate_license": "val",
    "lease_seat": "lea",
    "renew_lease": "rls",
    "return_lease": "ret",
    "publish_policy": "pol",
    "publish_pipeline": "pub",
    "reserve_pipeline": "run",
    "settle_pipeline": "stl",
    "release_pipeline": "rel",
}
"""How the ids begin that are made here, by kind of command."""

MONEY_FIELDS = {
    "create_customer": "credit_limit",
    "change_customer": "credit_limit",
    "issue_grant": "amount",
}
"""The fields of commands that are money: an amount alone, or with its currency."""

SEALED_KINDS = ("create_customer", "change_customer")
"""The kinds of commands that carry a personal field."""


def command(kind: str, *fields: str) -> Handler:
    """Return the handler of a route that carries out one kind of command.

    `fields` are those of the command that the path gives, under the same names.
    """

    async def handle(call: Call) -> Response:
        body = with_path(call, await read_object(call.request), fields)
        body["id"] = command_id(call.request, body, PREFIXES[kind])
        if kind in SEALED_KINDS:
            body = await call.service.readers.read(sealed, kind, body)
        item = Item(parsed(kind, body), call.actor, call.correlation)
        (answer,) = await call.service.submitter.submit((item,))
        return answered(call, answer)

    return handle


def with_path(call: Call, body: dict[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """Put the fields that the path gives into a body, which must not have them as well."""
    for field in fields:
        if field in body:
            raise Invalid.because(field, body[field], "absent: the path says it")
    return {**body, **{field: call.path[field] for field in fields}}


def command_id(request: Request, body: dict[str, Any], prefix: str) -> Any:
    """Return the command's id as the body or the header names it, or a new one."""
    header = request.headers.get(KEY_HEADER)
    if header is None:
        return body["id"] if "id" in body else new_id(prefix)
    if not is_id(header):
        raise BadRequest.because(KEY_HEADER, header, ID_RULE)
    if len(request.headers.getlist(KEY_HEADER)) > 1:
        raise BadRequest.because(KEY_HEADER, header, "given once")
    if "id" in body and body["id"] != header:
        raise BadRequest.because(KEY_HEADER, header, "the same as the id in the body")
    return header


def parsed(kind: str, body: dict[str, Any]) -> Command:
    """Read a command, and name its fields as they were sent."""
    try:
        return parse(kind, with_plain_amount(kind, body))
    except Invalid as error:
        if error.facts.get("field") != "name_sealed":
            raise
        raise Invalid.because("name", None, "given: a text of 1 to 1,000 characters") from None


def with_plain_amount(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """Take money that names its currency apart; the rule compares that with the customer's."""
    field = MONEY_FIELDS.get(kind, "")
    value = body.get(field)
    if type(value) is not dict:
        return body
    if value.keys() != {"amount", "currency"} or type(value["currency"]) is not str:
        raise Invalid.because(field, value, "a decimal string, or `amount` and `currency`")
    currency = value["currency"]
    if body.get("currency", currency) != currency:
        raise Invalid.because(f"{field}.currency", currency, "the same as `currency` in the body")
    return {**body, field: value["amount"], "currency": currency}


def sealed(reader: Reader, kind: str, body: dict[str, Any]) -> Any:
    """Seal the personal fields of a command; nobody sends them sealed."""
    if "name_sealed" in body:
        raise Invalid.because("name_sealed", None, "absent: it is not known")
    return reader.ledger.sealed(kind, body)


def sealed_all(reader: Reader, commands: Sequence[dict[str, Any]]) -> list[Any]:
    """Seal the personal fields of many commands; what cannot be sealed is returned as the error."""
    found: list[Any] = []
    for body in commands:
        kind = body.get("kind")
        try:
            found.append(sealed(reader, kind, body) if kind in SEALED_KINDS else body)
        except Invalid as error:
            found.append(error.kept())
    return found


async def publish_prices(call: Call) -> Response:
    """Publish a version of a price book; the book and its instant are its id."""
    book = await read_object(call.request)
    named = publication(book)
    item = Item(named, call.actor, call.correlation)
    (answer,) = await call.service.submitter.submit((item,))
    return answered(call, answer, named.book.id)


def publication(book: Any) -> PublishPrices:
    """Return the command that publishes a book."""
    try:
        command = parse("publish_prices", {"id": "pending", "book": book})
    except Invalid as error:
        field = str(error.facts.get("field", "body")).removeprefix("book.")
        raise Invalid(error.message, **{**error.facts, "field": field}) from None
    assert isinstance(command, PublishPrices)
    name = publication_id(command.book.id, command.book.effective_from)
    return PublishPrices(id=name, book=command.book)
