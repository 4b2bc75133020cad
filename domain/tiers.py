"""Tiers: the three templates that every ledger has, as version 0; a seller may publish others."""

from domain.policy import Policy, policy_from_wire

TEMPLATES: dict[str, Policy] = {
    name: policy_from_wire(policy)
    for name, policy in {
        # To try things out: few requests, last in every queue, outputs marked.
        "free": {
            "models": ["*"],
            "priority": 9,
            "watermark": "required",
            "limits": [
                {"id": "minute", "unit": "requests", "limit": 10, "per": "minute"},
                {"id": "period", "unit": "requests", "limit": 1_000, "per": "period"},
            ],
        },
        # For one team: a rate that a person never reaches, a few machines, three days of grace.
        "professional": {
            "models": ["*"],
            "features": ["batch", "streaming"],
            "limits": [{"id": "minute", "unit": "requests", "limit": 3_000, "per": "minute"}],
            "seats": 5,
            "devices": 5,
            "grace_seconds": 259_200,
        },
        # For a company: GPUs of its own, first in every queue, leases to take along for a week.
        "enterprise": {
            "models": ["*"],
            "features": ["batch", "dedicated", "fine_tuning", "streaming"],
            "priority": 1,
            "pool": "dedicated",
            "seats": 100,
            "devices": 100,
            "borrow_seconds": 604_800,
            "grace_seconds": 1_209_600,
        },
    }.items()
}
"""Name to policy. They change with no release: a version of the same name comes after them."""
