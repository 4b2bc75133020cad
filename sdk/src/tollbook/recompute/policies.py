"""Policies of licences: what they mean where they say nothing, and the templates there are.

A policy is kept as it is written: a JSON object without what it says anyway
(docs/formats/licenses.md).
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from tollbook import canonical
from tollbook.recompute.fact import Fact, Place, alike
from tollbook.recompute.registry import Registry
from tollbook.times import MAX_INSTANT, format_instant

RECORD_BYTES_MAX = 256 * 2**20
"""The longest record of a model that is hashed."""

ABSENT: dict[str, Any] = {
    "borrow_seconds": 0,
    "devices": 0,
    "features": [],
    "grace_seconds": 0,
    "lease_seconds": 300,
    "limits": [],
    "pool": "shared",
    "priority": 5,
    "provenance": {},
    "seats": 0,
    "watermark": "none",
}
"""What a field means when it is absent; one that is not here binds to nothing then."""

_RATE = {"id": "minute", "per": "minute", "unit": "requests"}

BUILT_IN: dict[str, dict[str, Any]] = {
    "free": {
        "limits": [
            {**_RATE, "limit": 10},
            {"id": "period", "limit": 1000, "per": "period", "unit": "requests"},
        ],
        "models": ["*"],
        "priority": 9,
        "watermark": "required",
    },
    "professional": {
        "devices": 5,
        "features": ["batch", "streaming"],
        "grace_seconds": 3 * 86_400,
        "limits": [{**_RATE, "limit": 3000}],
        "models": ["*"],
        "seats": 5,
    },
    "enterprise": {
        "borrow_seconds": 7 * 86_400,
        "devices": 100,
        "features": ["batch", "dedicated", "fine_tuning", "streaming"],
        "grace_seconds": 14 * 86_400,
        "models": ["*"],
        "pool": "dedicated",
        "priority": 1,
        "seats": 100,
    },
}
"""The templates of every ledger, version 0."""


def effective(template: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return a template with the fields that a licence has of its own; null is as if absent."""
    together = {**template, **overrides}
    return {
        name: value
        for name, value in together.items()
        if value is not None and not (name in ABSENT and alike(value, ABSENT[name]))
    }


def maintenance_months(policy: dict[str, Any]) -> int:
    """Return how long the maintenance window of a policy is."""
    rule: dict[str, Any] = policy.get("versions", {})
    return int(rule.get("months", 12))


def months_after(instant: int, months: int) -> int:
    """Return an instant some months later in UTC; a day that a month lacks is its last one."""
    begin = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=instant)
    years, month = divmod(begin.month - 1 + months, 12)
    if begin.year + years > 9999:
        return MAX_INSTANT
    for day in (begin.day, 30, 29, 28):
        try:
            end = begin.replace(year=begin.year + years, month=month + 1, day=day)
        except ValueError:
            continue
        return instant + (end - begin) // timedelta(microseconds=1)
    raise AssertionError("every month has 28 days")


class Catalog:
    """What licences rest on and no customer's history holds, and what of them is taken."""

    def __init__(self, registry: Registry, *, whole: bool) -> None:
        """Start without templates; `whole` says that no event of the ledger will be left out."""
        self.registry = registry
        self.whole = whole
        self.templates: dict[str, tuple[int, dict[str, Any]]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        """Each published pipeline: its newest version and stages."""
        self.licenses: set[str] = set()
        self.keys: set[str] = set()

    def publish(self, fact: Fact) -> Place:
        """Check that a template's version is the next one, and take it."""
        name, policy = fact.data["name"], fact.data["policy"]
        number = self.templates.get(name, (0, {}))[0] + 1
        fact.check("version", number)
        fact.check("policy", effective(policy, {}))
        if not isinstance(policy["models"], list):
            fact.differ("policy", "the models that it is for", policy)
        self.templates[name] = number, policy
        return f"policy-{name}", number

    def template(self, name: str, version: int) -> tuple[int, dict[str, Any]] | None:
        """Return a template as it must be now, and its version; None when that cannot be known.

        Without the ledger's own events only the built-in templates are known.
        """
        built_in = (0, BUILT_IN[name]) if name in BUILT_IN else None
        if self.whole:
            return self.templates.get(name, built_in)
        return built_in if version == 0 else None

    def provenance(self, policy: dict[str, Any]) -> dict[str, str]:
        """Return the hash of each registered model that a policy names in full."""
        known = self.registry.models
        return {name: _record_hash(name, known[name]) for name in policy["models"] if name in known}

    def states(self) -> list[tuple[str, dict[str, Any]]]:
        """Return each published template in the form of docs/formats/state.md, in order of name."""
        return [
            (name, {"policy": policy, "version": version})
            for name, (version, policy) in sorted(self.templates.items())
        ]


def _record_hash(name: str, model: dict[str, Any]) -> str:
    """Return the SHA-256 of what the registry has of a model, whether yanked or not."""
    kept = ("digest", "provenance", "released_at")
    versions = {
        number: {field: version[field] for field in kept}
        for number, version in model["versions"].items()
    }
    record = {"model": name, "versions": versions}
    return sha256(canonical.dumps(record, max_bytes=RECORD_BYTES_MAX)).hexdigest()


def shown_end(instant: int) -> str | None:
    """Write an end that may never come."""
    return None if instant > MAX_INSTANT else format_instant(instant)
