"""The commands of licences: their life, decisions without a reservation, leases, templates."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from domain.command import CONFIG, Command
from domain.facts import FactsBody
from domain.license_events import Components, Deployment, KeyHash, KeyHint
from domain.policy import OverridesBody, PolicyBody
from domain.units import Usage
from domain.values import Digest, Id, InstantIn, Name, Text

OVERLAP_MAX_SECONDS = 90 * 86_400
"""So long at most an old key lives on beside the new one."""

BORROW_MAX_SECONDS = 31 * 86_400

_Overlap = Annotated[int, Field(ge=0, le=OVERLAP_MAX_SECONDS)]


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class IssueLicense(Command):
    """Give a customer a licence; its key was made at the edge and arrives hashed."""

    KIND: ClassVar[str] = "issue_license"
    id: Id
    customer: Id
    template: Id
    deployment: Deployment = "saas"
    overrides: OverridesBody | None = None
    reference: Text | None = None
    starts_at: InstantIn | None = None
    expires_at: InstantIn | None = None
    key_hash: KeyHash
    key_hint: KeyHint


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ActivateLicense(Command):
    """Activate a licence on a machine; the device takes the command's id."""

    KIND: ClassVar[str] = "activate_license"
    id: Id
    license: Id
    components: Components | None = None
    holder: Digest | None = None
    facts: FactsBody | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class DeactivateLicense(Command):
    """Free the place of a machine."""

    KIND: ClassVar[str] = "deactivate_license"
    id: Id
    license: Id
    device: Id


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class RenewLicense(Command):
    """Give a licence a later end; an expired one comes back to life."""

    KIND: ClassVar[str] = "renew_license"
    id: Id
    license: Id
    expires_at: InstantIn
    maintenance_until: InstantIn | None = None
    reference: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class UpgradeLicense(Command):
    """Put a licence on the newest version of a template, with the overrides given here."""

    KIND: ClassVar[str] = "upgrade_license"
    id: Id
    license: Id
    template: Id | None = None
    overrides: OverridesBody | None = None
    deployment: Deployment | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class SuspendLicense(Command):
    """Stop a licence until it is reinstated."""

    KIND: ClassVar[str] = "suspend_license"
    id: Id
    license: Id
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ReinstateLicense(Command):
    """Let a suspended licence admit again."""

    KIND: ClassVar[str] = "reinstate_license"
    id: Id
    license: Id
    reason: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class RevokeLicense(Command):
    """End a licence for ever."""

    KIND: ClassVar[str] = "revoke_license"
    id: Id
    license: Id
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ExpireLicense(Command):
    """Book that a licence has come to its end, grace included."""

    KIND: ClassVar[str] = "expire_license"
    id: Id
    license: Id


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class RotateLicenseKey(Command):
    """Give a licence a new key; the older ones live on for the overlap."""

    KIND: ClassVar[str] = "rotate_license_key"
    id: Id
    license: Id
    overlap_seconds: _Overlap = 86_400
    key_hash: KeyHash
    key_hint: KeyHint


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ValidateLicense(Command):
    """Decide whether a request is allowed, and count it, without money."""

    KIND: ClassVar[str] = "validate_license"
    id: Id
    license: Id
    model: Name
    usage: Usage | None = None
    facts: FactsBody | None = None
    license_key: KeyHash | None = None
    request_hash: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class LeaseSeat(Command):
    """Take a seat of a licence for a holder's key; the lease takes the command's id."""

    KIND: ClassVar[str] = "lease_seat"
    id: Id
    license: Id
    model: Name
    holder: Digest
    borrow_seconds: int | None = Field(default=None, ge=60, le=BORROW_MAX_SECONDS)
    facts: FactsBody | None = None
    license_key: KeyHash | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class RenewLease(Command):
    """Let a live lease live longer."""

    KIND: ClassVar[str] = "renew_lease"
    id: Id
    license: Id
    lease: Id
    facts: FactsBody | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ReturnLease(Command):
    """Give a seat back before the lease expires."""

    KIND: ClassVar[str] = "return_lease"
    id: Id
    license: Id
    lease: Id


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class PublishPolicy(Command):
    """Publish the next version of a policy template."""

    KIND: ClassVar[str] = "publish_policy"
    id: Id
    name: Id
    policy: PolicyBody


LICENSE_COMMANDS: tuple[type[Command], ...] = (
    *(IssueLicense, ActivateLicense, DeactivateLicense, RenewLicense, UpgradeLicense),
    *(SuspendLicense, ReinstateLicense, RevokeLicense, ExpireLicense, RotateLicenseKey),
    *(ValidateLicense, LeaseSeat, RenewLease, ReturnLease, PublishPolicy),
)
