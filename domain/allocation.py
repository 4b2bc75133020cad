"""Which grants pay: the one total burn order, and drawing an amount along it (A14).

Burn order: priority (lower first), then earlier expiry (none last), then promotional before
paid, then id.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

NEVER = 2**62
"""Stands for no expiry, later than every instant."""

Parts = tuple[tuple[str, int], ...]
"""(grant id, amount) pairs in burn order; amounts are above zero."""


class Grant(NamedTuple):
    """What is left of a grant: `free` to draw on, and `held` by open holds."""

    id: str
    kind: str
    priority: int
    expires_at: int
    models: tuple[str, ...] | None
    free: int
    held: int

    def serves(self, model: str, now: int) -> bool:
        """Say whether the grant can pay for this model at this instant."""
        return now < self.expires_at and (self.models is None or model in self.models)


def burn_key(grant: Grant) -> tuple[int, int, bool, str]:
    """Return the key that sorts grants into burn order."""
    return grant.priority, grant.expires_at, grant.kind == "paid", grant.id


def in_burn_order(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """Return grants in burn order."""
    return tuple(sorted(grants, key=burn_key))


def available(grants: Iterable[Grant], model: str, now: int) -> int:
    """Return the free money of the grants that can pay for a model now."""
    return sum(grant.free for grant in grants if grant.serves(model, now))


def draw(
    grants: Iterable[Grant],
    model: str,
    now: int,
    amount: int,
    own: Mapping[str, int] | None = None,
    spare: int | None = None,
) -> tuple[Parts, int]:
    """Draw an amount along the burn order; return the parts and what no grant covered.

    `own` is what a hold of the caller's has in each grant already: it may be drawn even when the
    grant has expired since, because money held before the expiry stays good for its hold. `spare`
    is the most that may be drawn of free money in all; without it, that is all there is.
    """
    parts = []
    for grant in grants:
        if amount <= 0:
            break
        has = own.get(grant.id, 0) if own else 0
        free = grant.free if grant.serves(model, now) else 0
        if spare is not None and free > spare:
            free = spare
        taken = min(has + free, amount)
        if taken > 0:
            parts.append((grant.id, taken))
            amount -= taken
            if spare is not None and taken > has:
                spare -= taken - has
    return tuple(parts), amount


def moved(
    grants: tuple[Grant, ...], free: Mapping[str, int], held: Mapping[str, int]
) -> tuple[Grant, ...]:
    """Return grants with these changes to their free and held money; empty ones leave."""
    changed = []
    for grant in grants:
        name = grant.id
        if name in free or name in held:
            rest = Grant(
                name,
                grant.kind,
                grant.priority,
                grant.expires_at,
                grant.models,
                grant.free + free.get(name, 0),
                grant.held + held.get(name, 0),
            )
            if rest.free or rest.held:
                changed.append(rest)
        else:
            changed.append(grant)
    return tuple(changed)
