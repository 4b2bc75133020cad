"""The calls about many things at once: usage records, batches of commands, the events."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tollbook import canonical
from tollbook.client.calls import (
    BODY_MAX,
    Call,
    Named,
    Pages,
    Request,
    body,
    named,
    query,
)
from tollbook.client.inference_calls import UsageIn, usage_on_wire
from tollbook.client.license_results import (
    LeaseGranted,
    LicenseIssued,
    SeatReturned,
    Validation,
)
from tollbook.client.model_results import ModelRegistered, ModelVersionDone
from tollbook.client.pipeline_results import (
    PipelineDone,
    PipelineReleased,
    PipelineReserved,
    PipelineSettled,
)
from tollbook.client.problems import NOTHING_DONE, error_of
from tollbook.client.reading import Result, TimeIn, read, time_text
from tollbook.client.results import (
    Charge,
    CommandResult,
    CustomerDone,
    Done,
    Event,
    GrantIssued,
    Hold,
    PricesPublished,
    Released,
    Settlement,
    UsageResult,
)
from tollbook.errors import Invalid

ITEMS_MAX = 1_000
"""The most records or commands that one request may carry."""

BATCH = "application/cloudevents-batch+json"
EVENT_TYPE = "tollbook.usage.v1"

TRY_AGAIN = NOTHING_DONE | {"unknown"}
"""Codes of an item that is worth sending again with the same id."""

ANSWERS: Mapping[str, type[Done]] = {
    "create_customer": CustomerDone,
    "change_customer": CustomerDone,
    "issue_grant": GrantIssued,
    "publish_prices": PricesPublished,
    "reserve": Hold,
    "extend": Hold,
    "settle": Settlement,
    "release": Released,
    "issue_license": LicenseIssued,
    "validate_license": Validation,
    "lease_seat": LeaseGranted,
    "renew_lease": LeaseGranted,
    "return_lease": SeatReturned,
    "register_model": ModelRegistered,
    "release_model_version": ModelVersionDone,
    "yank_model_version": ModelVersionDone,
    "publish_pipeline": PipelineDone,
    "reserve_pipeline": PipelineReserved,
    "settle_pipeline": PipelineSettled,
    "release_pipeline": PipelineReleased,
}
"""What each kind of command answers; one that is not known here answers a plain `Done`."""

PREFIXES = {
    "create_customer": "cus",
    "change_customer": "chg",
    "issue_grant": "grt",
    "reserve": "rsv",
    "extend": "ext",
    "settle": "stl",
    "release": "rel",
    "issue_license": "lic",
    "validate_license": "val",
    "lease_seat": "lea",
    "renew_lease": "rls",
    "return_lease": "ret",
    "register_model": "mdl",
    "release_model_version": "ver",
    "yank_model_version": "ynk",
    "publish_pipeline": "pub",
    "reserve_pipeline": "run",
    "settle_pipeline": "stl",
    "release_pipeline": "rel",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord:
    """One usage record: (source, id) is charged once, however often it is sent.

    With a `reservation` it settles that reservation; without, it is charged directly. A record with
    `final=False` settles a part of its reservation, which stays open for more.
    """

    source: str
    id: str
    customer: str
    model: str
    usage: UsageIn
    occurred_at: TimeIn
    reservation: str | None = None
    license: str | None = None
    request_hash: str | None = None
    response_hash: str | None = None
    final: bool | None = None

    def to_wire(self) -> dict[str, Any]:
        """Write the record as a CloudEvent."""
        data = {
            "customer": self.customer,
            "model": self.model,
            "usage": usage_on_wire(self.usage),
            "occurred_at": time_text(self.occurred_at, "occurred_at"),
            "license": self.license,
            "request_hash": self.request_hash,
            "response_hash": self.response_hash,
            "final": self.final,
        }
        return {
            "specversion": "1.0",
            "type": EVENT_TYPE,
            "source": self.source,
            "id": self.id,
            "subject": self.customer if self.reservation is None else self.reservation,
            "data": {name: value for name, value in data.items() if value is not None},
        }


def usage(records: Iterable[UsageRecord]) -> Iterator[Call[list[UsageResult]]]:
    """Yield the calls that send usage records, each of at most 1,000 and of a size that passes."""
    chunk: list[bytes] = []
    size = 0
    first = ""
    for record in records:
        event = canonical.dumps(record.to_wire())
        if len(chunk) == ITEMS_MAX or (chunk and size + len(event) + 3 > BODY_MAX):
            yield _usage_call(chunk, first)
            chunk, size = [], 0
        first = first if chunk else record.id
        chunk.append(event)
        size += len(event) + 1
    if chunk:
        yield _usage_call(chunk, first)


def commands(
    commands: Sequence[Mapping[str, Any]], *, atomic: bool = False
) -> Call[list[CommandResult]]:
    """Carry out up to 1,000 commands, each `{"kind": ..., ...its body}`, in their order.

    A command without an id gets one; a grant's own kind is its `grant_kind`. `atomic` means all of
    them or none.
    """
    if not 1 <= len(commands) <= ITEMS_MAX:
        raise Invalid.because("commands", len(commands), f"1 to {ITEMS_MAX} commands")
    full = [_with_id(each) for each in commands]
    kinds = [str(each["kind"]) for each in full]
    request = Request("POST", "/v1/commands", body({"atomic": atomic, "commands": full}))
    return Call(
        request,
        lambda document: _outcomes(document, kinds),
        Named("commands", str(full[0].get("id"))),
        lambda results: any(each.error and each.error.code in TRY_AGAIN for each in results),
    )


def outcome(
    kind: str, id: str, *, customer: str | None = None, source: str | None = None
) -> Call[CommandResult]:
    """Return what became of a command, by its id and its customer (a usage record: its source)."""
    path = "/v1/commands" + query({"kind": kind, "customer": customer, "source": source, "id": id})
    return Call(Request("GET", path), lambda document: _outcome(document, kind))


def events(*, after: int = 0, customer: str | None = None, limit: int = ITEMS_MAX) -> Pages[Event]:
    """Iterate over the events after a position, of one customer or of all; `limit` is a page's."""
    filters = {"limit": limit, "customer": customer}
    return Pages("/v1/events", filters, lambda document: read(Event, document), "events", after)


def _usage_call(chunk: list[bytes], first: str) -> Call[list[UsageResult]]:
    count = len(chunk)
    request = Request("POST", "/v1/usage", b"[" + b",".join(chunk) + b"]", BATCH)
    name = Named("usage", first)
    return Call(request, lambda document: _results(document, count), name, _any_again)


def _with_id(command: Mapping[str, Any]) -> dict[str, Any]:
    kind = command.get("kind")
    if kind in PREFIXES and command.get("id") is None:
        return {**command, "id": named(str(kind), None, PREFIXES[str(kind)]).id}
    return {"kind": kind, **command}


def _results(document: Any, count: int) -> list[UsageResult]:
    return [read(UsageResult, item) for item in _items(document, count)]


def _any_again(results: list[UsageResult]) -> bool:
    return any(each.problem and each.problem.get("code") in TRY_AGAIN for each in results)


def _outcomes(document: Any, kinds: list[str]) -> list[CommandResult]:
    items = _items(document, len(kinds))
    return [_outcome(item, kind) for item, kind in zip(items, kinds, strict=True)]


def _items(document: Any, count: int) -> list[Any]:
    items: list[Any] = document["results"]
    if len(items) != count:
        raise Invalid.because("results", len(items), f"{count}, one for each item")
    return items


def _outcome(document: Any, kind: str) -> CommandResult:
    head = read(_Head, document)
    if head.status != "done":
        error = error_of({"code": "refused", **document})
        return CommandResult(raw=document, id=head.id, status=head.status, error=error)
    # A usage record is charged or parked, and a command that is not known here may do either.
    other = Charge if "charged" in document else Done
    answer = read(ANSWERS.get(kind, other), document)
    return CommandResult(raw=document, id=head.id, status=head.status, answer=answer)


@dataclass(frozen=True, kw_only=True)
class _Head(Result):
    id: str
    status: str
