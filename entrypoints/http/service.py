"""The service: everything that the HTTP handlers use, bundled by whoever starts the server."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from adapters.api_keys import ApiKeys
from application.license_desk import LicenseDesk
from application.tollbook import Tollbook
from entrypoints.http.readers import Readers
from entrypoints.http.submitting import Submitter


class Caller(Protocol):
    """Who calls: the id of the key, its role, and whose data a customer's key may see."""

    @property
    def key(self) -> str:
        """The id of the key, which is no secret."""

    @property
    def role(self) -> str:
        """One of the roles of `entrypoints.http.roles`."""

    @property
    def customer(self) -> str | None:
        """The one customer whose data this key may see; None for every other role."""


class Keyring(Protocol):
    """Tells who calls."""

    async def identify(self, authorization: str | None) -> Caller:
        """Return who an `Authorization` header names; raises `unauthorized` for nobody."""

    async def renew(self) -> None:
        """Take note at once of keys that were made or revoked."""


class Limits(Protocol):
    """Bounds what each key may ask for in a time."""

    def spend(self, caller: Caller, commands: int) -> None:
        """Count one request, and so many commands in it; raises `rate_limited`."""


class Probe(NamedTuple):
    """What a monitoring path answers: a status and a document, or a text for Prometheus."""

    status: int
    body: bytes
    media_type: str


class Health(Protocol):
    """Answers `/healthz`, `/readyz` and `/metrics`."""

    async def healthz(self) -> Probe:
        """Say that the process is alive."""

    async def readyz(self) -> Probe:
        """Say whether requests can be served."""

    async def metrics(self) -> Probe:
        """Return the metrics as Prometheus reads them."""


class NoLimits:
    """Bounds nothing."""

    def spend(self, caller: Caller, commands: int) -> None:
        """Let everything pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the handlers need; `submitter` and `readers` belong to the running event loop."""

    tollbook: Tollbook
    readers: Readers
    submitter: Submitter
    keyring: Keyring
    health: Health
    keys: ApiKeys
    """Blocking, so called in the threads of the readers."""
    desk: LicenseDesk
    limits: Limits = field(default_factory=NoLimits)
    middlewares: tuple[Callable[[Any], Any], ...] = ()
    """Pure ASGI middlewares, each made from the app that it wraps; the first is the outermost."""
