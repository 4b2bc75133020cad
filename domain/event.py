"""What an event is: a stable name, a version, a strict payload, and the stream it belongs to.

An event class is a frozen dataclass whose fields stand in the order of their names, so that its
JSON is canonical as it is written. Names and versions are for ever; class names and modules are
not, and never reach the database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

from pydantic import ConfigDict

STRICT = ConfigDict(strict=True, extra="forbid")
"""Stored payloads hold exactly the fields of their version, in exactly their types."""

EVENT_TYPES: dict[tuple[str, int], type["Event"]] = {}
"""Every event this code can read: (name, version) to class."""


class Event:
    """A fact about one stream; the base of every payload."""

    __slots__ = ()
    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    KIND: ClassVar[str]
    """The kind of command whose outcome this is; empty for facts that follow from time."""

    customer: str

    def stream(self) -> str:
        """Return the stream that this fact belongs to, as `type-id`."""
        raise NotImplementedError

    def command_scope(self) -> str:
        """Return the scope in which the command's id is unique: mostly the customer."""
        return self.customer

    def command_kind(self) -> str:
        """Return the kind under which the command's id is kept for ever."""
        return self.KIND

    def other_ids(self) -> tuple[tuple[str, str, str], ...]:
        """Return what this fact takes for ever besides its command's id: (kind, scope, id)."""
        return ()


class Recorded(NamedTuple):
    """An event with its envelope, as the ledger keeps it."""

    position: int
    name: str
    version: int
    stream: str
    stream_version: int
    customer: str | None
    customer_sequence: int | None
    command: str
    causation: str | None
    correlation: str | None
    actor: str
    occurred_at: int
    recorded_at: int
    event: Event


E = TypeVar("E", bound=Event)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def event(name: str, version: int = 1, kind: str = "") -> Callable[[type[E]], type[E]]:
    """Register a payload class under its stable name and version."""

    def register(cls: type[E]) -> type[E]:
        frozen: Any = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        frozen.NAME, frozen.VERSION, frozen.KIND = name, version, kind
        frozen.__pydantic_config__ = STRICT
        if (name, version) in EVENT_TYPES:
            raise TypeError(f"event {name} version {version} is defined twice")
        EVENT_TYPES[name, version] = frozen
        return frozen  # type: ignore[no-any-return]

    return register
