"""Snapshots: which balances are worth keeping after a batch, so that loading them stays short."""

from collections.abc import Mapping

from application.deciding import Plan
from application.ports import Snapshot
from domain.inferences import weight


def due_snapshots(plan: Plan, before: Mapping[str, int], every: int) -> list[Snapshot]:
    """Return the balances of a committed plan that are due, one in so many facts or fewer.

    `before` has each customer's number of events before it. Of a customer whose events tell many
    facts each, so many fewer events are counted.
    """
    heaviest: dict[str | None, int] = {}
    for recorded in plan.events:
        facts = weight(recorded.event)
        if facts > heaviest.get(recorded.customer, 1):
            heaviest[recorded.customer] = facts
    return [
        Snapshot(balance, plan.draft.position)
        for customer, balance in plan.draft.balances.items()
        if balance.sequence // (step := max(1, every // heaviest.get(customer, 1)))
        > before[customer] // step
    ]
