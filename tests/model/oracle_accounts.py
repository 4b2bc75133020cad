"""The oracle's accounts: lists of what was granted, held and taken, added up at every question."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.model.oracle_guards import Guards

CREDIT = "credit limit"
"""Stands beside grant ids as a source of money (a blank keeps it from being one)."""

ZERO = Fraction(0)
Part = tuple[str, Fraction]


def share(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return what one of several inferences takes of a reservation; None where it is for one."""
    return {"requests": 1, **body["estimate"]} if "inferences" in body else None


def in_all(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a reservation expects in all."""
    each = share(body)
    if each is None:
        return dict(body["estimate"])
    return {unit: count * body["inferences"] for unit, count in each.items()}


def plus(one: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return the sum of two usages."""
    return {unit: one.get(unit, 0) + more.get(unit, 0) for unit in {**one, **more}}


@dataclass
class Grant:
    """Money that was put at a customer's disposal."""

    id: str
    kind: str
    priority: int
    expires_at: int | None
    models: list[str] | None
    amount: Fraction
    repaid: Fraction
    """What of it repaid an overdraft, at once."""

    def rank(self) -> tuple[int, bool, int, bool, str]:
        """Return the place in the burn order."""
        never = self.expires_at is None
        return self.priority, never, self.expires_at or 0, self.kind != "promotional", self.id

    def expired(self, at: int) -> bool:
        """Say whether the grant has ended."""
        return self.expires_at is not None and self.expires_at <= at


@dataclass
class Hold:
    """A reservation, with the money it took and what its parts have used of that."""

    id: str
    model: str
    estimate: dict[str, Any]
    opened_at: int
    expires_at: int
    parts: list[Part]
    used_parts: list[Part] = field(default_factory=list)
    charged: list[tuple[dict[str, Any], Fraction]] = field(default_factory=list)
    outcome: dict[str, Any] | None = None
    several: bool = False
    """Whether each of its parts is an inference of its own."""

    def active(self, at: int) -> bool:
        """Say whether it still holds money."""
        return self.outcome is None and at < self.expires_at

    def left(self, source: str) -> Fraction:
        """Return what it holds of one source."""
        taken = sum((amount for name, amount in self.parts if name == source), ZERO)
        return taken - sum((amount for name, amount in self.used_parts if name == source), ZERO)

    def amount(self) -> Fraction:
        """Return all that it holds."""
        return sum((self.left(source) for source in {name for name, _ in self.parts}), ZERO)

    def rest(self) -> dict[str, Any]:
        """Return the part of its estimate that has not been charged."""
        rest = dict(self.estimate)
        for usage, _ in self.charged:
            for unit in rest:
                rest[unit] -= usage.get(unit, 0)
        return {unit: max(count, 0) for unit, count in rest.items()}


class Account:
    """One customer: terms, and lists of everything that happened."""

    def __init__(self, terms: dict[str, Any]) -> None:
        self.id: str = terms["id"]
        self.terms = terms
        self.grants: list[Grant] = []
        self.holds: list[Hold] = []
        self.debits: list[Part] = []
        self.receivables: list[Fraction] = []
        self.volumes: list[tuple[str, tuple[int, int], int]] = []
        """(model, month, tokens) of every charge."""
        self.guards = Guards()

    def open_at(self, at: int) -> list[tuple[str, str]]:
        """Return (id, model) of the reservations that still hold money."""
        return [(hold.id, hold.model) for hold in self.holds if hold.active(at)]

    # --- adding up --------------------------------------------------------------------------

    def limit(self) -> Fraction:
        """Return the credit limit."""
        return Fraction(self.terms.get("credit_limit", 0))

    def debited(self, source: str) -> Fraction:
        """Return what charges have taken of a source."""
        return sum((amount for name, amount in self.debits if name == source), ZERO)

    def held(self, source: str, at: int) -> Fraction:
        """Return what open holds have of a source."""
        return sum((hold.left(source) for hold in self.holds if hold.active(at)), ZERO)

    def unheld(self, grant: Grant, at: int) -> Fraction:
        """Return what is in a grant and in no hold, expired or not."""
        return grant.amount - grant.repaid - self.debited(grant.id) - self.held(grant.id, at)

    def free(self, grant: Grant, model: str, at: int) -> Fraction:
        """Return what a grant can give for a model."""
        serves = grant.models is None or model in grant.models
        return self.unheld(grant, at) if serves and not grant.expired(at) else ZERO

    def overdraft(self) -> Fraction:
        """Return the credit that is used up and not repaid."""
        return self.debited(CREDIT) - sum((grant.repaid for grant in self.grants), ZERO)

    def room(self, at: int) -> Fraction:
        """Return the credit that is neither used nor held; below zero after a lowered limit."""
        return self.limit() - self.overdraft() - self.held(CREDIT, at)

    def volume(self, model: str, month: tuple[int, int]) -> int:
        """Return the tokens of a model that were charged in a month."""
        return sum(count for name, when, count in self.volumes if (name, when) == (model, month))

    def available(self, at: int) -> Fraction:
        """Return what is neither spent nor held, of every grant and of the credit limit."""
        alive = [grant for grant in self.grants if not grant.expired(at)]
        return sum((self.unheld(grant, at) for grant in alive), ZERO) + self.room(at)

    def balance(self, at: int) -> dict[str, Fraction]:
        """Return the balance as people see it at an instant."""
        dead = [grant for grant in self.grants if grant.expired(at)]
        sources = [CREDIT, *(grant.id for grant in self.grants)]
        return {
            "available": self.available(at),
            "held": sum((self.held(source, at) for source in sources), ZERO),
            "granted": sum((grant.amount for grant in self.grants), ZERO),
            "spent": sum((amount for _, amount in self.debits), ZERO),
            "receivable": sum(self.receivables, ZERO),
            "credit_limit": self.limit(),
            "breakage": sum((self.unheld(grant, at) for grant in dead), ZERO),
            "overdraft": self.overdraft(),
        }

    # --- taking -----------------------------------------------------------------------------

    def burn_order(self) -> list[Grant]:
        """Return the grants in the order in which they pay."""
        return sorted(self.grants, key=Grant.rank)

    def reach(self, model: str, at: int) -> Fraction:
        """Return all that a new hold for a model could take."""
        grants = sum((self.free(grant, model, at) for grant in self.grants), ZERO)
        return max(ZERO, min(grants + max(ZERO, self.room(at)), self.available(at)))

    def take(self, model: str, amount: Fraction, at: int) -> list[Part]:
        """Return the parts of an amount that is within reach: grants first, then credit."""
        parts = []
        for grant in self.burn_order():
            part = min(amount, self.free(grant, model, at))
            if part > 0:
                parts.append((grant.id, part))
                amount -= part
        return [*parts, (CREDIT, amount)] if amount else parts

    def pay(
        self, model: str, amount: Fraction, at: int, hold: Hold | None, final: bool
    ) -> list[Part]:
        """Take a charge as far as money goes, book it, and return the parts in burn order.

        A final charge gives its hold back first, and what was held stays good for it; a part uses
        what it holds before anything else. Whatever is not held for it is taken out of what is
        available.
        """
        floor = max(ZERO, self.available(at))
        taken: dict[str, Fraction] = {}
        if hold is not None and not final:
            for name in [*(grant.id for grant in self.burn_order()), CREDIT]:
                part = min(amount, hold.left(name))
                if part:
                    taken[name] = part
                    amount -= part
            own = list(taken.items())
            hold.used_parts.extend(own)
            self.debits.extend(own)
        given_back = hold if hold is not None and final else None
        for grant in self.burn_order():
            mine = given_back.left(grant.id) if given_back else ZERO
            part = min(amount, mine + min(self.free(grant, model, at), floor))
            if part > 0:
                taken[grant.id] = taken.get(grant.id, ZERO) + part
                self.debits.append((grant.id, part))
                amount -= part
                floor -= max(ZERO, part - mine)
        own_credit = given_back.left(CREDIT) if given_back else ZERO
        part = min(amount, max(self.room(at) + own_credit, own_credit))
        if part > 0:
            taken[CREDIT] = taken.get(CREDIT, ZERO) + part
            self.debits.append((CREDIT, part))
            amount -= part
        self.receivables.append(amount)
        order = [*(grant.id for grant in self.burn_order()), CREDIT]
        return [(name, taken[name]) for name in order if name in taken]
