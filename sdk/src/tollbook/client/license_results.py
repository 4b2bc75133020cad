"""What the client's methods about licences return."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tollbook.client.reading import Result
from tollbook.client.results import Done


@dataclass(frozen=True, kw_only=True)
class LicenseIssued(Done):
    """A licence was issued."""

    license: str
    customer: str
    policy_version: str
    key_hint: str
    key_shown: bool
    """Whether this answer has the key; a repeated command's has not."""
    license_key: str | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Validation(Done):
    """A request was admitted, and counted."""

    admitted: bool
    license: str
    customer: str
    policy_version: str
    grace: bool
    """Whether the licence is past its end, and lives on by its grace."""
    features: tuple[str, ...]
    priority: int
    """From 1, which goes first, to 9."""
    pool: str
    watermark: str
    signed: str | None = field(repr=False)
    """The answer as a signed token, where a nonce was given."""


@dataclass(frozen=True, kw_only=True)
class Trial(Result):
    """What a validation would be answered now."""

    admitted: bool
    license: str | None
    policy_version: str | None
    why: Mapping[str, Any] | None
    """Why it would be denied, as a problem with a `code`."""
    signed: str | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class LeaseGranted(Done):
    """A seat is leased, or its lease was renewed."""

    license: str
    lease: str
    model: str
    holder: str
    borrowed: bool
    expires_at: datetime
    renew_at: datetime
    policy_version: str
    features: tuple[str, ...]
    token: str = field(repr=False)
    """What a program checks without the server: `tollbook.lease.verify`."""


@dataclass(frozen=True, kw_only=True)
class SeatReturned(Done):
    """A seat is free again."""

    license: str
    lease: str


@dataclass(frozen=True, kw_only=True)
class License(Result):
    """A licence as it stands."""

    id: str
    customer: str
    status: str
    """`active`, `suspended`, `expired` or `revoked`."""
    grace: bool
    deployment: str
    template: str
    policy_version: str
    policy: Mapping[str, Any]
    starts_at: datetime
    expires_at: datetime | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class SigningKey(Result):
    """A public key that leases and signed answers are checked with."""

    id: str
    public_key: str
    """The raw Ed25519 key in hex."""
