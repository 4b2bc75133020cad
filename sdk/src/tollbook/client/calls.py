"""A call: one request of the API as a plain value, and how its answer is read.

Nothing here sends anything. A call that carries out a command names it, because such a call may be
sent again and again with the same id, and because its outcome can be unknown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlencode

from tollbook import canonical
from tollbook.client.ids import check_id, new_id
from tollbook.client.reading import R, read

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

JSON = "application/json"
BODY_MAX = 4 * 1_048_576
"""The longest body that the server takes."""


class Request(NamedTuple):
    """One HTTP request below the server's URL; the body is the same bytes on every try."""

    method: str
    path: str
    body: bytes | None = None
    content_type: str = JSON


class Named(NamedTuple):
    """What identifies a command in the ledger."""

    kind: str
    id: str


def _finished(_: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """A request, the reader of its answer, and the command it carries out, if any."""

    request: Request
    read: Callable[[Any], T_co]
    command: Named | None = None
    unfinished: Callable[[Any], bool] = field(default=_finished)
    """Says of a readable answer that parts of it should be tried again."""


class Page(NamedTuple, Generic[T]):
    """One page of a list, and the cursor of the next one."""

    items: list[T]
    next: str | int | None


@dataclass(frozen=True, slots=True)
class Pages(Generic[T]):
    """A list that comes in pages."""

    path: str
    filters: Mapping[str, Any]
    read: Callable[[Any], T]
    member: str = "items"
    start: str | int | None = None
    """The cursor of the first page."""

    def page(self, after: str | int | None) -> Call[Page[T]]:
        """Return the call for the page after a cursor."""
        path = self.path + query({**self.filters, "after": after})
        return Call(Request("GET", path), self._read)

    def _read(self, document: Any) -> Page[T]:
        items = [self.read(each) for each in document[self.member]]
        return Page(items, document["next"] if items else None)


def get(kind: type[R], path: str, **filters: Any) -> Call[R]:
    """Return the call that reads one thing."""
    return Call(Request("GET", path + query(filters)), lambda document: read(kind, document))


def named(kind: str, id: str | None, prefix: str) -> Named:
    """Name a command by the caller's id, or by a new one."""
    return Named(kind, new_id(prefix) if id is None else check_id("id", id))


def command(
    kind: type[R],
    name: Named,
    path: str,
    fields: Mapping[str, Any],
    *,
    method: str = "POST",
) -> Call[R]:
    """Return the call that carries out a command; absent fields are left out of its body."""
    request = Request(method, path, body({"id": name.id, **fields}))
    return Call(request, lambda document: read(kind, document), name)


def body(fields: Mapping[str, Any]) -> bytes:
    """Write a body in the one spelling of its value; absent fields are left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    return canonical.dumps(given, max_bytes=BODY_MAX)


def query(filters: Mapping[str, Any]) -> str:
    """Write the query of a path; absent filters are left out."""
    given = {name: value for name, value in filters.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""
