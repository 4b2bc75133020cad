"""Which rule decides a command about a fraud case, and whose case it is."""

from collections.abc import Callable
from typing import Any

from tollbook.errors import NotFound

from application.draft import Draft
from domain.balance import Balance
from domain.command import Command
from domain.fraud_case import named
from domain.fraud_commands import ClearCase, ConfirmCase, FlagCustomer
from domain.fraud_review import decide_clear, decide_confirm, decide_flag, is_known
from domain.outcomes import Decision

ON_CASES = (ClearCase, ConfirmCase)
"""Commands on a case that there is."""


def customer_of_case(draft: Draft, case: str) -> str:
    """Return whose case it is; raises NotFound when there is no such case."""
    customer, number = named(case)
    if not is_known(draft.balance(customer).case, number):
        raise NotFound(f"there is no fraud case {case}", field="case", value=case)
    return customer


def _flag(_draft: Draft, balance: Balance, command: FlagCustomer, now: int) -> Decision:
    return decide_flag(balance, command, now)


def _clear(_draft: Draft, balance: Balance, command: ClearCase, _now: int) -> Decision:
    return decide_clear(balance, command)


def _confirm(_draft: Draft, balance: Balance, command: ConfirmCase, _now: int) -> Decision:
    return decide_confirm(balance, command)


FRAUD_RULES: dict[type[Command], Callable[[Draft, Balance, Any, int], Decision]] = {
    FlagCustomer: _flag,
    ClearCase: _clear,
    ConfirmCase: _confirm,
}
