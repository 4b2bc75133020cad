"""What the headers of a call ask for: read once for all calls that say the same."""

from functools import lru_cache
from typing import NamedTuple

from adapters.grpc import messages
from adapters.grpc.messages import REMEMBERED_MAX, Metadata

HEADERS_MAX = 16_384
"""Bytes that a call's headers may have, each counted with 32 more, as HTTP/2 counts them."""

_Headers = tuple[tuple[bytes, bytes], ...]


class Asked(NamedTuple):
    """One call, as its client begins it."""

    is_grpc: bool
    is_large: bool
    """Whether there is more than may be."""
    path: str
    encoding: str
    """That of its messages."""
    metadata: Metadata = ()
    seconds: float | None = None
    """How long it may take, if its client says so."""
    problem: str | None = None
    """What of the rest cannot be read."""


def asked_of(headers: _Headers) -> Asked:
    """Read headers; large ones are not remembered."""
    if messages.size_of(headers) > HEADERS_MAX:
        return _begun(dict(headers), is_large=True)
    return _read(headers)


@lru_cache(maxsize=REMEMBERED_MAX)
def _read(headers: _Headers) -> Asked:
    known = dict(headers)
    asked, given = _begun(known, is_large=False), known.get(b"grpc-timeout")
    try:
        metadata = messages.metadata_of(headers)
        seconds = None if given is None else messages.seconds(given.decode("latin-1"))
    except ValueError as error:
        return asked._replace(problem=str(error))
    return asked._replace(metadata=metadata, seconds=seconds)


def _begun(known: dict[bytes, bytes], *, is_large: bool) -> Asked:
    path = known.get(b":path", b"").decode("latin-1")
    encoding = known.get(b"grpc-encoding", b"identity").decode("latin-1")
    return Asked(messages.is_grpc(known), is_large, path, encoding)
