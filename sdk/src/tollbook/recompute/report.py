"""The outcome of a recomputation: what differs, and what each customer has and owes."""

from collections.abc import Iterable
from typing import NamedTuple

from tollbook.recompute.account import Account
from tollbook.recompute.envelope import Event
from tollbook.recompute.fact import Difference
from tollbook.recompute.ledger import Recomputation

DIFFERENCES_MAX = 1000
"""How many differences a report lists; the rest is counted."""


class Totals(NamedTuple):
    """A customer's recomputed totals; amounts in 10^-12 of the currency unit."""

    currency: str
    charged: int
    from_balance: int
    receivable: int
    balance: int
    """Available money: granted - spent - breakage - held + credit limit."""
    held: int
    input_tokens: int
    """Cached ones included."""
    output_tokens: int


class Report(NamedTuple):
    """What the events come to, and where they contradict the rules."""

    events: int
    position: int
    differences: list[Difference]
    differences_total: int
    customers: dict[str, Totals]

    @property
    def ok(self) -> bool:
        """Say whether nothing differs."""
        return self.differences_total == 0


def recompute(events: Iterable[Event], *, whole: bool = False) -> Report:
    """Recompute every number in these events, given in order of position.

    `whole` says that the list is a whole ledger, so that positions must have no gaps; without it
    a customer's own events and the price books are enough.
    """
    listed: list[Difference] = []
    counted = 0

    def differ(difference: Difference) -> None:
        nonlocal counted
        counted += 1
        if len(listed) < DIFFERENCES_MAX:
            listed.append(difference)

    recomputation = Recomputation(differ, whole=whole)
    for event in events:
        recomputation.add(event)
    recomputation.finish()
    customers = {name: totals(account) for name, account in recomputation.accounts.items()}
    return Report(recomputation.events, recomputation.position, listed, counted, customers)


def totals(account: Account) -> Totals:
    """Sum an account up."""
    return Totals(
        currency=account.term("currency"),
        charged=account.charged,
        from_balance=account.spent,
        receivable=account.receivable,
        balance=account.balance(),
        held=account.held,
        input_tokens=account.tokens_in,
        output_tokens=account.tokens_out,
    )
