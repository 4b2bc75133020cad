"""The journal: which accounts every event debits and credits, in sums that come to zero (F5).

What a customer's own accounts hold is a function of the folded balance, so their postings are the
difference between the balance before an event and after it, and cannot drift from it. The other
side follows from the event itself; if the two do not meet, nothing is posted and it is an error.
The accounts and a worked example stand in docs/journal.md.
"""

from collections.abc import Callable
from typing import Any

from tollbook.amounts import format_pico
from tollbook.errors import TollbookError

from domain.allocation import Grant
from domain.balance import Balance
from domain.event import Event
from domain.events import GrantIssued, GrantsExpired, ReservationSettled, UsageCharged
from domain.inferences import InferencesSettled

Postings = tuple[tuple[str, int], ...]
"""(account, amount) pairs in order of account; debits are above zero, credits below."""

PROVIDER = "manual"
"""Who takes the payments behind grants that were issued by hand."""


class Unbalanced(TollbookError):
    """The postings of an event do not sum to zero: a rule and the journal disagree."""

    title = "Journal out of balance"
    default_code = "unbalanced"


def postings(before: Balance | None, event: Event, after: Balance | None) -> Postings:
    """Return what an event posts, given its customer's balance before and after it.

    Raises Unbalanced when the sum is not zero.
    """
    if before is None or after is None or after.customer is None:
        return ()
    customer = after.customer.id
    outside = _OUTSIDE.get(type(event))
    entries: list[tuple[str, int]] = [] if outside is None else outside(before, event)
    owed = after.receivable + after.overdraft - before.receivable - before.overdraft
    if owed:
        entries.append((f"assets:receivable:{customer}", owed))
    if before.grants is not after.grants:
        held, prepaid, promotional = _grant_money(after.grants)
        held_before, prepaid_before, promotional_before = _grant_money(before.grants)
        if held != held_before:
            entries.append((f"liabilities:held:{customer}", held_before - held))
        if prepaid != prepaid_before:
            entries.append((f"liabilities:prepaid:{customer}", prepaid_before - prepaid))
        if promotional != promotional_before:
            moved = promotional_before - promotional
            entries.append((f"liabilities:promotional:{customer}", moved))
    total = 0
    for _, amount in entries:
        total += amount
    if total:
        raise Unbalanced(f"{event.NAME} of {customer} is out by {format_pico(total)}")
    entries.sort()
    return tuple(entries)


def _grant_money(grants: tuple[Grant, ...]) -> tuple[int, int, int]:
    """Return what is held, and what is free in paid and in promotional grants."""
    held = prepaid = promotional = 0
    for _, kind, _, _, _, free, own in grants:
        held += own
        if kind == "paid":
            prepaid += free
        else:
            promotional += free
    return held, prepaid, promotional


def _issued(_before: Balance, event: GrantIssued) -> list[tuple[str, int]]:
    if event.kind == "paid":
        return [(f"assets:payments:{PROVIDER}", event.amount)]
    return [("expenses:promotional", event.amount)]


def _used(_before: Balance, event: ReservationSettled | UsageCharged) -> list[tuple[str, int]]:
    return [(f"revenue:usage:{event.model}", -event.charged)] if event.charged else []


def _used_together(_before: Balance, event: InferencesSettled) -> list[tuple[str, int]]:
    charged = sum(line.charged for line in event.lines)
    return [(f"revenue:usage:{event.model}", -charged)] if charged else []


def _lapsed(before: Balance, event: GrantsExpired) -> list[tuple[str, int]]:
    """Book what lapsed: paid money was earned after all, promotional money was never spent."""
    kinds = {grant.id: grant.kind for grant in before.grants}
    paid = promotional = 0
    for name, amount in event.grants:
        if kinds.get(name) == "paid":
            paid += amount
        else:
            promotional += amount
    lapsed = (("expenses:promotional", -promotional), ("revenue:breakage", -paid))
    return [(account, amount) for account, amount in lapsed if amount]


_OUTSIDE: dict[type[Event], Callable[[Balance, Any], list[tuple[str, int]]]] = {
    GrantIssued: _issued,
    GrantsExpired: _lapsed,
    ReservationSettled: _used,
    UsageCharged: _used,
    InferencesSettled: _used_together,
}
"""What leaves a customer's own accounts, or comes into them; other events only move money there."""
