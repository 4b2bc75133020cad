"""How the use of licences is written in the state format: counts of limits, and leases."""

from typing import Any

from tollbook.times import format_instant, parse_instant

from domain.license_use import Count, Lease, Use, Uses
from domain.policy import limit_from_wire, limit_to_wire


def uses_to_wire(uses: Uses) -> dict[str, Any]:
    """Write what is used of each licence; units in strings, because a sum may pass 2^53."""
    return {
        name: {
            "counts": [_count_to_wire(count) for count in use.counts],
            "leases": [_lease_to_wire(lease) for lease in use.leases],
        }
        for name, use in sorted(uses.items())
    }


def _count_to_wire(count: Count) -> dict[str, Any]:
    return {
        "limit": limit_to_wire(count.limit),
        "start": format_instant(count.start),
        "units": str(count.units),
    }


def _lease_to_wire(lease: Lease) -> dict[str, Any]:
    return {
        "borrowed": lease.is_borrowed,
        "expires_at": format_instant(lease.expires_at),
        "holder": lease.holder,
        "id": lease.id,
        "leased_at": format_instant(lease.leased_at),
        "model": lease.model,
        "version": lease.version,
    }


def uses_from_wire(wire: dict[str, Any]) -> Uses:
    """Read what `uses_to_wire` wrote."""
    uses = Uses()
    for name, use in wire.items():
        counts = tuple(
            Count(
                limit_from_wire(count["limit"]), parse_instant(count["start"]), int(count["units"])
            )
            for count in use["counts"]
        )
        leases = tuple(_lease_from_wire(lease) for lease in use["leases"])
        uses = uses.put(name, Use(counts, leases))
    return uses


def _lease_from_wire(wire: dict[str, Any]) -> Lease:
    return Lease(
        wire["id"],
        wire["model"],
        wire["holder"],
        parse_instant(wire["leased_at"]),
        parse_instant(wire["expires_at"]),
        wire["borrowed"],
        wire["version"],
    )
