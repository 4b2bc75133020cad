"""How blocks and fraud cases change a balance: one fact may do both."""

from collections.abc import Callable
from typing import Any

from domain.balance import Balance, Block
from domain.event import Event
from domain.fraud_case import evolve
from domain.fraud_events import FraudCleared, FraudConfirmed, FraudFlagged
from domain.guard_events import AccountBlocked, AccountUnblocked

Changes = dict[str, Any]


def _blocked(balance: Balance, event: AccountBlocked, at: int) -> Changes:
    """Block the account, which is a flag as well."""
    block = Block(at, event.occurred_at, event.recent, event.total, event.windows)
    return {"block": block, "case": evolve(balance.case, event, at)}


def _unblocked(_balance: Balance, _event: AccountUnblocked, at: int) -> Changes:
    return {"block": None, "cleared_at": at}


def _cleared(balance: Balance, event: FraudCleared, at: int) -> Changes:
    """Close the case; a block that stood ends, and its burst does not block once more."""
    changes: Changes = {"case": evolve(balance.case, event, at)}
    return {**changes, "block": None, "cleared_at": at} if event.unblocked else changes


def _moved_on(balance: Balance, event: Event, at: int) -> Changes:
    return {"case": evolve(balance.case, event, at)}


FRAUD_FOLDS: dict[type[Event], Callable[[Balance, Any, int], Changes]] = {
    AccountBlocked: _blocked,
    AccountUnblocked: _unblocked,
    FraudFlagged: _moved_on,
    FraudCleared: _cleared,
    FraudConfirmed: _moved_on,
}
"""What each of these facts changes; all of them stand in the customer's own stream."""
