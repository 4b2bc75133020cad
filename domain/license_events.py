"""The facts of licences: their life, decisions without a reservation, and leases of seats."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from domain.event import Event, event
from domain.facts import FactsBody
from domain.policy import Limit, PolicyBody
from domain.units import Usage
from domain.values import Count, Digest, Id, Instant, Name, Text

KeyHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""The first half of a keyed hash, in lower-case hex."""

KeyHint = Annotated[str, StringConstraints(pattern=r"^[a-z2-7]{4}$")]
Deployment = Literal["saas", "on_premise", "hybrid"]
Components = Annotated[dict[Id, KeyHash], Field(max_length=16)]
"""Hardware component to keyed hash."""

Left = tuple[tuple[Id, Count, Instant], ...]
"""(limit, units that are left, when the window ends); an end that never comes is the last time
that can be written."""


KEY_KIND = "license_key"
"""The kind under which the hash of a key is kept: it leads to the licence."""


class _OfLicense(Event):
    """A fact in the stream of a licence."""

    __slots__ = ()
    license: str

    def stream(self) -> str:
        """Return the licence's stream."""
        return f"license-{self.license}"


@event("license_issued", kind="issue_license")
class LicenseIssued(_OfLicense):
    """A customer has a licence; `policy` is the template with the overrides put in."""

    customer: Id
    deployment: Deployment
    expires_at: Instant | None = None
    key_hash: KeyHash
    key_hint: KeyHint
    license: Id
    maintenance_until: Instant
    overrides: dict[str, Any] | None = None
    policy: PolicyBody
    provenance: dict[Name, Digest]
    reference: Text | None = None
    starts_at: Instant | None = None
    template: Id
    template_version: Count

    def other_ids(self) -> tuple[tuple[str, str, str], ...]:
        """Return the key's hash, by which the licence is found."""
        return ((KEY_KIND, "", self.key_hash),)


@dataclass(frozen=True, slots=True)
class LimitsIssued(Event):
    """What a balance keeps of `license_issued`: never stored, folded in place of it."""

    license: str
    limits: tuple[Limit, ...]


@event("license_activated", kind="activate_license")
class LicenseActivated(_OfLicense):
    """A machine may run what the licence allows on customers' machines."""

    components: Components | None = None
    customer: Id
    device: Id
    facts: FactsBody | None = None
    holder: Digest | None = None
    license: Id


@event("license_deactivated", kind="deactivate_license")
class LicenseDeactivated(_OfLicense):
    """A machine gave its place up."""

    customer: Id
    device: Id
    license: Id


@event("license_renewed", kind="renew_license")
class LicenseRenewed(_OfLicense):
    """A licence has a new end."""

    customer: Id
    expires_at: Instant
    license: Id
    maintenance_until: Instant
    reference: Text | None = None


@event("license_upgraded", kind="upgrade_license")
class LicenseUpgraded(_OfLicense):
    """A licence has another policy, from here on."""

    customer: Id
    deployment: Deployment | None = None
    license: Id
    overrides: dict[str, Any] | None = None
    policy: PolicyBody
    provenance: dict[Name, Digest]
    template: Id | None = None
    template_version: Count


@event("license_suspended", kind="suspend_license")
class LicenseSuspended(_OfLicense):
    """A licence admits nothing until it is reinstated."""

    customer: Id
    license: Id
    reason: Text


@event("license_reinstated", kind="reinstate_license")
class LicenseReinstated(_OfLicense):
    """A suspended licence admits again."""

    customer: Id
    license: Id
    reason: Text | None = None


@event("license_revoked", kind="revoke_license")
class LicenseRevoked(_OfLicense):
    """A licence has ended for ever."""

    customer: Id
    license: Id
    reason: Text


@event("license_expired", kind="expire_license")
class LicenseExpired(_OfLicense):
    """A licence came to its end, grace included; a renewal brings it back."""

    customer: Id
    license: Id


@event("license_key_rotated", kind="rotate_license_key")
class LicenseKeyRotated(_OfLicense):
    """A licence has a new key; the older ones end with the overlap."""

    customer: Id
    key_hash: KeyHash
    key_hint: KeyHint
    license: Id
    overlap_seconds: int

    def other_ids(self) -> tuple[tuple[str, str, str], ...]:
        """Return the key's hash, by which the licence is found."""
        return ((KEY_KIND, "", self.key_hash),)


@event("license_validated", kind="validate_license")
class LicenseValidated(Event):
    """A request was admitted, and counted, without a reservation of money."""

    customer: Id
    decision: dict[str, Any]
    facts: FactsBody | None = None
    license: Id
    license_key: KeyHash | None = None
    model: Name
    request_hash: Digest | None = None
    usage: Usage | None = None
    validation: Id

    def stream(self) -> str:
        """Return the validation's stream."""
        return f"validation-{self.validation}"


@event("seat_leased", kind="lease_seat")
class SeatLeased(Event):
    """A holder has a seat of a licence until the lease expires or is returned."""

    borrow_seconds: int | None = None
    customer: Id
    decision: dict[str, Any]
    expires_at: Instant
    facts: FactsBody | None = None
    holder: Digest
    lease: Id
    license: Id
    license_key: KeyHash | None = None
    model: Name

    def stream(self) -> str:
        """Return the lease's stream."""
        return f"lease-{self.lease}"


@event("lease_renewed", kind="renew_lease")
class LeaseRenewed(Event):
    """A live lease lives longer."""

    customer: Id
    decision: dict[str, Any]
    expires_at: Instant
    facts: FactsBody | None = None
    lease: Id
    license: Id

    def stream(self) -> str:
        """Return the lease's stream."""
        return f"lease-{self.lease}"


@event("seat_returned", kind="return_lease")
class SeatReturned(Event):
    """A seat is free again before its lease expired."""

    customer: Id
    lease: Id
    license: Id

    def stream(self) -> str:
        """Return the lease's stream."""
        return f"lease-{self.lease}"


OF_LICENSE = (
    *(LicenseIssued, LicenseActivated, LicenseDeactivated, LicenseRenewed, LicenseUpgraded),
    *(LicenseSuspended, LicenseReinstated, LicenseRevoked, LicenseExpired, LicenseKeyRotated),
)
"""The events in the stream of a licence."""


@event("policy_published", kind="publish_policy")
class PolicyPublished(Event):
    """A version of a policy template, for licences that are issued or upgraded from here on."""

    name: Id
    policy: PolicyBody
    version: Count

    def stream(self) -> str:
        """Return the template's stream."""
        return f"policy-{self.name}"

    def command_scope(self) -> str:
        """Return the empty scope: templates are the ledger's, not a customer's."""
        return ""
