"""Taken resources: whether what a command would create is there already, under its id."""

from collections.abc import Mapping, Sequence

from application.draft import Draft
from application.ports import EventStore, Key
from domain.command import Command
from domain.commands import CreateCustomer, IssueGrant, Reserve
from domain.event import Recorded
from domain.license_commands import IssueLicense, LeaseSeat, ValidateLicense
from domain.license_events import KEY_KIND
from domain.pipeline_commands import ReservePipeline

_CREATED: dict[type[Command], str] = {
    IssueGrant: "grant",
    IssueLicense: "license",
    LeaseSeat: "lease",
    ReservePipeline: "stages",
    ValidateLicense: "validation",
}
"""Commands that begin a stream of their own id, and how its name begins."""


def resource_exists(
    command: Command,
    draft: Draft,
    store: EventStore,
    events: Sequence[Recorded],
    ids: Mapping[Key, int],
) -> bool:
    """Ask the store whether the resource that a command would create is there already.

    `events` and `ids` are those of the batch so far, which the store does not have yet.
    """
    if isinstance(command, CreateCustomer):
        return draft.reservation(command.id) is not None
    key_hash = getattr(command, "key_hash", None)
    if key_hash is not None:  # of a licence's key: by chance never, by malice perhaps
        key = (KEY_KIND, "", key_hash)
        if key in ids or store.taken([key]):
            return True
    prefix = _CREATED.get(type(command))
    if prefix is not None:
        stream = f"{prefix}-{command.id}"
        if any(recorded.stream == stream for recorded in events):
            return True
        base = draft.position - len(events)
        return next(iter(store.stream_events(stream, base)), None) is not None
    if isinstance(command, Reserve):
        taken = draft.reservation(command.id) is not None
        return taken or draft.balance(command.id).customer is not None
    return False
