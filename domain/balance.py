"""Balance: a customer's money, as a fold over every event of that customer.

    available = free money of unexpired grants + credit limit - overdraft - credit that is held

A hold or grant stops counting at the very instant it expires, on every read: the state keeps
expired ones until an event books them, and every rule asks with `now`.
"""

from typing import NamedTuple

from tollbook.amounts import format_pico
from tollbook.errors import Invalid
from tollbook.times import format_instant

from domain.activity import Activity
from domain.allocation import NEVER, Grant, available
from domain.commands import IssueGrant
from domain.customer import Customer
from domain.event import Event
from domain.events import GrantIssued, GrantsExpired, HoldsExpired
from domain.fraud_case import FraudCase
from domain.holds import Hold, Holds
from domain.license_use import Uses
from domain.metering import Meters
from domain.values import AMOUNT_MAX

EXPIRED_HOLDS_PER_EVENT = 500
"""How many holds one `holds_expired` event names, so that no event grows without bound."""


class Block(NamedTuple):
    """An account is blocked: since when, and the figures of the rule that blocked it."""

    blocked_at: int
    """When the ledger recorded it."""
    occurred_at: int
    recent: int
    total: int
    windows: int


class Balance(NamedTuple):
    """Everything that decisions about one customer's money need; amounts in 10^-12."""

    customer: Customer | None = None
    """None until the customer exists."""
    grants: tuple[Grant, ...] = ()
    """Grants with money left, in burn order."""
    holds: Holds = Holds()
    next_expiry: int = NEVER
    """No hold or grant expires before this instant (a lower bound)."""
    held: int = 0
    """Money in holds, expired but unbooked ones included."""
    credit_held: int = 0
    """The part of `held` that rests on the credit limit."""
    overdraft: int = 0
    granted: int = 0
    breakage: int = 0
    spent: int = 0
    """Charges taken from the balance."""
    receivable: int = 0
    volumes: dict[str, int] = {}  # noqa: RUF012 - never changed in place
    """`MODEL/PERIOD` to tokens charged."""
    sequence: int = 0
    """The customer's gapless event number."""
    own_version: int = 0
    """The version of the stream `customer-ID`."""
    activity: Activity = Activity()
    """What the fraud rule looks at."""
    block: Block | None = None
    cleared_at: int = 0
    """When the account was unblocked last; 0 if it never was."""
    case: FraudCase | None = None
    """The newest fraud case, whatever became of it."""
    meters: Meters = ()
    """Caps, and what counts against them."""
    uses: Uses = Uses()
    """Licences with limits or leases, and what counts against them."""

    def credit_left(self) -> int:
        """Return the credit that is neither used nor held; below zero after a lowered limit."""
        limit = self.customer.credit_limit if self.customer else 0
        return limit - self.overdraft - self.credit_held

    def credit_room(self) -> int:
        """Return how much credit can still be taken; never below zero."""
        return max(0, self.credit_left())

    def spare(self, now: int) -> int | None:
        """Return the most that may be drawn of free money in grants; None for all of it.

        Credit beyond a limit that was lowered since stands against the grants of every model, so
        that nothing that is drawn makes the available money negative.
        """
        left = self.credit_left()
        if left >= 0:
            return None
        return max(0, sum(grant.free for grant in self.grants if now < grant.expires_at) + left)

    def reach(self, model: str, now: int) -> int:
        """Return the most that a new hold for a model could take."""
        usable, spare = available(self.grants, model, now), self.spare(now)
        return (usable if spare is None else min(usable, spare)) + self.credit_room()

    def volume(self, model: str, period: str) -> int:
        """Return the tokens of a model charged in a billing period so far."""
        return self.volumes.get(f"{model}/{period}", 0)


class BalanceView(NamedTuple):
    """A balance as people see it at an instant; amounts in 10^-12."""

    available: int
    held: int
    granted: int
    spent: int
    receivable: int
    credit_limit: int
    breakage: int
    overdraft: int


def view(balance: Balance, now: int) -> BalanceView:
    """Return the balance at an instant: what has expired by then counts nowhere (A7)."""
    expired = [hold for _, hold in _expired_holds(balance, now)]
    held = balance.held - sum(hold.amount for hold in expired)
    lapsed = sum(grant.free for grant in balance.grants if grant.expires_at <= now)
    for hold in expired:
        lapsed += sum(part for name, part in hold.parts if _lapsed(balance, name, now))
    limit = balance.customer.credit_limit if balance.customer else 0
    breakage = balance.breakage + lapsed
    return BalanceView(
        balance.granted - balance.spent - breakage - held + limit,
        held,
        balance.granted,
        balance.spent,
        balance.receivable,
        limit,
        breakage,
        balance.overdraft,
    )


def _lapsed(balance: Balance, grant_id: str, now: int) -> bool:
    return any(grant.id == grant_id and grant.expires_at <= now for grant in balance.grants)


def _expired_holds(balance: Balance, now: int) -> list[tuple[str, Hold]]:
    if now < balance.next_expiry:
        return []
    return sorted(item for item in balance.holds.items() if item[1].expires_at <= now)


def due(balance: Balance, now: int) -> tuple[Event, ...]:
    """Return the events that time alone has made true: expired holds, then expired grants.

    They are appended before any decision about the customer, so no sweeper is needed.
    """
    if now < balance.next_expiry or balance.customer is None:
        return ()
    customer = balance.customer.id
    expired = _expired_holds(balance, now)
    events: list[Event] = [
        HoldsExpired(
            customer=customer,
            holds=tuple(
                (name, hold.amount)
                for name, hold in expired[start : start + EXPIRED_HOLDS_PER_EVENT]
            ),
        )
        for start in range(0, len(expired), EXPIRED_HOLDS_PER_EVENT)
    ]
    returned: dict[str, int] = {}
    for _, hold in expired:
        for name, part in hold.parts:
            returned[name] = returned.get(name, 0) + part
    lapsed = tuple(
        (grant.id, free)
        for grant in balance.grants
        if grant.expires_at <= now and (free := grant.free + returned.get(grant.id, 0))
    )
    if lapsed:
        events.append(GrantsExpired(customer=customer, grants=lapsed))
    return tuple(events)


def earliest_expiry(balance: Balance) -> int:
    """Return the earliest instant at which a hold or a grant with free money expires."""
    first = min((hold.expires_at for _, hold in balance.holds.items()), default=NEVER)
    for grant in balance.grants:
        if grant.free and grant.expires_at < first:
            first = grant.expires_at
    return first


def decide_grant(balance: Balance, command: IssueGrant, now: int) -> tuple[GrantIssued]:
    """Issue a grant; paid money that serves every model repays an overdraft first."""
    check_currency(balance, command.currency)
    if not 0 < command.amount <= AMOUNT_MAX:
        raise Invalid.because("amount", format_pico(command.amount), "above 0, at most 10^15 units")
    if command.expires_at is not None and command.expires_at <= now:
        raise Invalid.because("expires_at", format_instant(command.expires_at), "in the future")
    unrestricted = command.kind == "paid" and command.models is None
    return (
        GrantIssued(
            amount=command.amount,
            customer=command.customer,
            expires_at=command.expires_at,
            grant=command.id,
            kind=command.kind,
            models=command.models,
            overdraft_repaid=min(balance.overdraft, command.amount) if unrestricted else 0,
            priority=command.priority,
        ),
    )


def check_currency(balance: Balance, named: str | None) -> None:
    """Refuse an amount that names another currency than the customer's; raises Invalid."""
    customer = balance.customer
    if named is not None and customer is not None and named != customer.currency:
        raise Invalid.because("currency", named, f"{customer.currency}, which the customer has")
