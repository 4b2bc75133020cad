"""A customer's account, rebuilt: grants in burn order, holds, credit, and who pays for what.

The rules are those of docs/formats/events.md. Amounts are integers of 10^-12.
"""

from bisect import insort
from collections.abc import Iterable, Mapping
from typing import Any

from tollbook.recompute.caps import Cap
from tollbook.recompute.license import License
from tollbook.recompute.policies import Catalog
from tollbook.recompute.prices import Book, Quantities
from tollbook.recompute.stages import Runs
from tollbook.recompute.timeline import Figures, Timeline

NEVER = 1 << 62
"""Later than every instant."""

NOTHING: Mapping[str, int] = {}


class Grant:
    """What is left of a grant: free to draw on, and in holds."""

    __slots__ = ("burn_key", "expires_at", "free", "held", "id", "kind", "models", "priority")

    def __init__(
        self, name: str, kind: str, priority: int, expires_at: int, models: list[str] | None
    ) -> None:
        """Describe a grant without money in it."""
        self.id = name
        self.kind = kind
        self.priority = priority
        self.expires_at = expires_at
        self.models = models
        self.free = 0
        self.held = 0
        # Lower priority, then earlier expiry, then promotional, then id.
        self.burn_key = (priority, expires_at, 1 if kind == "paid" else 0, name)

    def usable(self, model: str, at: int) -> int:
        """Return how much of the free money can pay for a model now."""
        if at >= self.expires_at or (self.models is not None and model not in self.models):
            return 0
        return self.free


class Hold:
    """Money set aside by a reservation: parts of grants, and a share of the credit limit."""

    __slots__ = ("amount", "credit", "expires_at", "parts")

    def __init__(self, expires_at: int, parts: dict[str, int], credit: int) -> None:
        """Set parts aside; they stand in burn order."""
        self.expires_at = expires_at
        self.parts = parts
        self.credit = credit
        self.amount = sum(parts.values()) + credit


def in_all(estimate: Quantities, inferences: int | None) -> Quantities:
    """Return what several inferences may use together; each is a request unless it says more."""
    if inferences is None:
        return estimate
    summed = {unit: quantity * inferences for unit, quantity in estimate.items()}
    return summed if "requests" in summed else {**summed, "requests": inferences}


class Reservation:
    """A reservation that has no final outcome yet; its hold may have expired."""

    __slots__ = (
        *("charged", "each", "estimate", "expires_at", "inferences", "left", "license", "model"),
        *("opened_at", "used", "version"),
    )

    def __init__(
        self,
        model: str,
        estimate: Quantities,
        opened_at: int,
        expires_at: int,
        license: str | None = None,
        inferences: int | None = None,
    ) -> None:
        """Open a reservation; several inferences are so many times the estimate of each."""
        self.model = model
        self.inferences = inferences
        self.each: Quantities | None = None if inferences is None else in_all(estimate, 1)
        self.estimate = in_all(estimate, inferences)
        self.used: Quantities = {}
        self.left = self.estimate
        """What caps still expect: the estimates, less what each part had used by then, or less
        one of them for each part of several."""
        self.opened_at = opened_at
        self.expires_at = expires_at
        self.license = license
        self.charged = 0
        self.version = 1


class ParkedRecord:
    """A usage record that was parked: what it says, and whether it was charged since."""

    __slots__ = ("body", "charged", "id", "outcome")

    def __init__(self, id: str, body: dict[str, Any]) -> None:
        """Take what the record says, without its source."""
        self.id = id
        self.body = body
        self.charged = False
        self.outcome: dict[str, Any] | None = None

    def release(self, outcome: dict[str, Any]) -> None:
        """Take how it was released; what it said is needed no longer."""
        self.outcome = outcome
        self.body = {}


class ParkedRecords:
    """Every usage record that was parked, by its id; the whole ledger's."""

    def __init__(self, *, whole: bool) -> None:
        """Start with none; `whole` says that no event of the ledger will be left out."""
        self.records: dict[str, ParkedRecord] = {}
        self.whole = whole


Draws = list[tuple[Grant, int]]


class Account:
    """Everything about one customer that a number in an event can depend on."""

    def __init__(
        self, name: str, books: dict[str, Book], parked: ParkedRecords, catalog: Catalog
    ) -> None:
        """Start an account about which nothing is known yet."""
        self.id = name
        self.catalog = catalog
        self.licenses: dict[str, License] = {}
        self.books = books
        self.parked = parked
        self.releasing: dict[str, Any] | None = None
        """The charge of a parked record whose release has to come next."""
        self.terms: dict[str, str] | None = None
        """currency, time_zone, price_book, plan, name_sealed; None before the creation."""
        self.credit_limit = 0
        self.grants: list[Grant] = []
        self.grant_of: dict[str, Grant] = {}
        self.holds: dict[str, Hold] = {}
        self.reservations: dict[str, Reservation] = {}
        self.volumes: dict[str, int] = {}
        self.held = self.credit_held = self.overdraft = 0
        self.granted = self.breakage = self.spent = self.receivable = self.charged = 0
        self.tokens_in = self.tokens_out = 0
        self.sequence = self.own_version = 0
        self.due_from = NEVER
        """Nothing expires before this instant."""
        self.timeline = Timeline()
        self.crossing: Figures | None = None
        """The line that the last charge crossed; the block has to come next."""
        self.block: dict[str, Any] | None = None
        self.blocked_at: int | None = None
        self.cleared_at = 0
        self.case: dict[str, Any] | None = None
        """The newest fraud case, as the state format has it."""
        self.caps: list[Cap] = []
        self.runs = Runs()

    def term(self, name: str) -> str:
        """Return a term of the customer; empty when it is not known."""
        return "" if self.terms is None else self.terms[name]

    def move_windows(self, before: str, at: int) -> None:
        """Follow a change of the time zone."""
        after = self.term("time_zone")
        if after != before:
            for cap in self.caps:
                cap.move(at, before, after)
            for license in self.licenses.values():
                for count in license.counts:
                    count.rezone(at, before, after)

    def credit_left(self) -> int:
        """Return what is left of the credit limit; below zero after the limit was lowered."""
        return self.credit_limit - self.overdraft - self.credit_held

    def spare(self) -> int:
        """Return the most that free grants may give: never more than the balance has."""
        return max(0, self.balance())

    def balance(self) -> int:
        """Return the money that is available: free grants and the credit limit, less its use."""
        return self.granted - self.spent - self.breakage - self.held + self.credit_limit

    def add_grant(self, grant: Grant, amount: int) -> None:
        """Put a grant with money in it where the burn order wants it."""
        if amount and grant.id not in self.grant_of:
            grant.free = amount
            insort(self.grants, grant, key=lambda each: each.burn_key)
            self.grant_of[grant.id] = grant
            self.due_from = min(self.due_from, grant.expires_at)

    def draw(
        self, model: str, at: int, amount: int, spare: int, own: Mapping[str, int] = NOTHING
    ) -> tuple[Draws, int]:
        """Say what each grant gives towards an amount, and what is left uncovered.

        `own` is what the charge's own hold has given back just now: it can be drawn even when
        its grant has expired since. All else that is drawn is `spare` at most.
        """
        draws: Draws = []
        for grant in self.grants:
            if not amount:
                break
            mine = min(amount, own.get(grant.id, 0))
            others = min(amount - mine, max(0, grant.usable(model, at) - mine), spare)
            if mine or others:
                draws.append((grant, mine + others))
                amount -= mine + others
                spare -= others
        return draws, amount

    def hold(self, reservation: str, hold: Hold) -> None:
        """Set money aside; what an older hold of the reservation had must be returned before."""
        for name, part in hold.parts.items():
            grant = self.grant_of[name]
            grant.free -= part
            grant.held += part
        self.holds[reservation] = hold
        self.held += hold.amount
        self.credit_held += hold.credit
        self.due_from = min(self.due_from, hold.expires_at)

    def give_back(self, reservation: str) -> Hold | None:
        """End a hold: its money goes back to where it came from."""
        hold = self.holds.pop(reservation, None)
        if hold is None:
            return None
        for name, part in hold.parts.items():
            grant = self.grant_of[name]
            grant.free += part
            grant.held -= part
            self.due_from = min(self.due_from, grant.expires_at)
        self.held -= hold.amount
        self.credit_held -= hold.credit
        return hold

    def debit(self, draws: Iterable[tuple[Grant, int]], credit: int) -> None:
        """Take money for good."""
        for grant, taken in draws:
            grant.free -= taken
        self.overdraft += credit

    def sweep(self, names: Iterable[str]) -> None:
        """Let go of those of these grants in which nothing is left, neither free nor held."""
        for name in names:
            grant = self.grant_of.get(name)
            if grant is not None and not grant.free and not grant.held:
                del self.grant_of[name]
                self.grants.remove(grant)

    def expired(self, at: int) -> tuple[list[str], list[Grant]]:
        """Return the holds, by id, and the grants with free money that have expired by now."""
        if at < self.due_from:
            return [], []
        holds = sorted(name for name, hold in self.holds.items() if hold.expires_at <= at)
        grants = [grant for grant in self.grants if grant.expires_at <= at and grant.free]
        if not holds and not grants:
            ends = [hold.expires_at for hold in self.holds.values()]
            ends += [grant.expires_at for grant in self.grants if grant.free]
            self.due_from = min(ends, default=NEVER)
        return holds, grants
