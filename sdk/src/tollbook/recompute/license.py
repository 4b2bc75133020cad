"""A licence, rebuilt: its policy, standing, keys, devices, and what is used of it."""

from typing import Any

from tollbook.recompute.license_limits import Count
from tollbook.recompute.policies import ABSENT, shown_end
from tollbook.times import SECOND, format_instant

NEVER = 1 << 62
"""Later than every instant."""


class Key:
    """A key of a licence, known by its hash."""

    __slots__ = ("ends_at", "hash", "hint")

    def __init__(self, keyed: str, hint: str) -> None:
        """Take a new key; it is good until it is rotated out."""
        self.hash = keyed
        self.hint = hint
        self.ends_at = NEVER


class Lease:
    """A seat that a holder has, until it expires."""

    __slots__ = ("borrowed", "expires_at", "holder", "id", "leased_at", "model", "version")

    def __init__(self, data: dict[str, Any], leased_at: int, expires_at: int) -> None:
        """Take a lease as it was given."""
        self.id: str = data["lease"]
        self.model: str = data["model"]
        self.holder: str = data["holder"]
        self.borrowed = "borrow_seconds" in data
        self.leased_at = leased_at
        self.expires_at = expires_at
        self.version = 1

    def state(self) -> dict[str, Any]:
        """Write the lease as docs/formats/state.md does."""
        return {
            "borrowed": self.borrowed,
            "expires_at": format_instant(self.expires_at),
            "holder": self.holder,
            "id": self.id,
            "leased_at": format_instant(self.leased_at),
            "model": self.model,
            "version": self.version,
        }


class License:
    """One licence of one customer."""

    __slots__ = (
        *("customer", "deployment", "devices", "expires_at", "id", "issued_at", "keys"),
        *("maintenance_until", "policy", "provenance", "reason", "reference", "revision"),
        *("since", "starts_at", "status", "template", "template_version", "version"),
        *("counts", "leases"),
    )

    def __init__(self, customer: str, data: dict[str, Any], at: int) -> None:
        """Take what a licence was issued with, its times aside."""
        self.id: str = data["license"]
        self.customer = customer
        self.deployment: str = data["deployment"]
        self.template: str = data["template"]
        self.template_version: int = data["template_version"]
        self.revision = 0
        self.policy: dict[str, Any] = {}
        self.provenance: dict[str, str] = data["provenance"]
        self.reference: str | None = data.get("reference")
        self.issued_at = self.starts_at = self.since = at
        self.expires_at = NEVER
        self.maintenance_until = 0
        self.status = "active"
        self.reason = ""
        self.keys = [Key(data["key_hash"], data["key_hint"])]
        self.devices: list[dict[str, Any]] = []
        self.version = 1
        self.counts: list[Count] = []
        """In the order of the policy's limits."""
        self.leases: list[Lease] = []
        """In order of grant, then id; expired ones stand here until the next lease event."""
        self.put_on(data["policy"])

    def put_on(self, policy: dict[str, Any], since: int = 0) -> None:
        """Change the policy; a limit that is the same but for its bound keeps its count.

        A new one counts from `since` on.
        """
        before = {count.name: count for count in self.counts}
        self.policy = policy
        self.counts = []
        for limit in policy.get("limits", ()):
            count = Count(limit)
            count.start = since
            known = before.get(count.name)
            if known is not None:
                count.start, count.units = known.start, known.units
            self.counts.append(count)

    def say(self, field: str) -> Any:
        """Return what the policy says about a field; None where it binds to nothing."""
        return self.policy.get(field, ABSENT.get(field))

    def policy_version(self) -> str:
        """Return the name of the policy that decisions carry."""
        return f"{self.template}:{self.template_version}:{self.revision}"

    def ends_at(self) -> int:
        """Return the instant from which nothing is admitted."""
        return self.expires_at + int(self.say("grace_seconds")) * SECOND

    def become(self, status: str, at: int, reason: str = "") -> None:
        """Change the standing."""
        self.status, self.since, self.reason = status, at, reason

    def live(self, at: int) -> list[Lease]:
        """Return the leases that have not expired."""
        return [lease for lease in self.leases if lease.expires_at > at]

    def lease(self, name: str) -> Lease | None:
        """Return a lease that is not forgotten yet."""
        return next((lease for lease in self.leases if lease.id == name), None)

    def state(self) -> dict[str, Any]:
        """Write the licence as docs/formats/state.md does."""
        return {
            "customer": self.customer,
            "deployment": self.deployment,
            "devices": self.devices,
            "expires_at": shown_end(self.expires_at),
            "issued_at": format_instant(self.issued_at),
            "keys": [
                {"ends_at": shown_end(key.ends_at), "hash": key.hash, "hint": key.hint}
                for key in self.keys
            ],
            "maintenance_until": format_instant(self.maintenance_until),
            "policy": self.policy,
            "policy_version": self.policy_version(),
            "provenance": self.provenance,
            "reason": self.reason,
            "reference": self.reference,
            "since": format_instant(self.since),
            "starts_at": format_instant(self.starts_at),
            "status": self.status,
            "version": self.version,
        }

    def use_state(self) -> dict[str, Any] | None:
        """Write what is used of the licence; None when nothing is counted and no seat is taken."""
        if not self.counts and not self.leases:
            return None
        return {
            "counts": [count.state() for count in self.counts],
            "leases": [lease.state() for lease in self.leases],
        }
