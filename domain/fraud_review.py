"""Reviewing fraud cases: who may be flagged, and which verdicts may follow which.

flagged -> cleared      the account reserves again; a later flag opens another case
flagged -> confirmed    nothing new is admitted until the case is cleared after all
confirmed -> cleared    the reviewer was wrong, or was told more
"""

from tollbook.errors import Invalid

from domain.balance import Balance
from domain.fraud_case import CLEARED, CONFIRMED, FLAGGED, FraudCase, case_id, flagged, named
from domain.fraud_commands import ClearCase, ConfirmCase, FlagCustomer
from domain.fraud_events import FraudCleared, FraudConfirmed, FraudFlagged
from domain.outcomes import Decision, Refusal

SCORE_MAX = 100


def decide_flag(balance: Balance, command: FlagCustomer, now: int) -> Decision:
    """Flag a customer: open a case, or add to the one that stands."""
    _check_reason(command.reason)
    _check_score(command)
    case = case_id(command.customer, flagged(balance.case, now))
    return (
        FraudFlagged(
            case=case,
            customer=command.customer,
            reason=command.reason,
            rule=command.rule,
            score=command.score,
            seen=command.seen,
            signs=command.signs,
        ),
    )


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise Invalid.because("reason", reason, "a reason in words")


def _check_score(command: FlagCustomer) -> None:
    """Refuse a score without its signs, or one that is not what they come to."""
    if command.signs is None:
        for field in ("score", "rule", "seen"):
            if getattr(command, field) is not None:
                rule = "absent where there are no signs"
                raise Invalid.because(field, getattr(command, field), rule)
        return
    codes = [code for code, _ in command.signs]
    if codes != sorted(set(codes)):
        raise Invalid.because("signs", codes, "each code once, in order")
    total = min(SCORE_MAX, sum(points for _, points in command.signs))
    if command.score != total:
        raise Invalid.because("score", command.score, f"{total}, which the signs come to")
    if command.rule is None or command.seen is None:
        field = "rule" if command.rule is None else "seen"
        raise Invalid.because(field, None, "given together with signs")


def decide_clear(balance: Balance, command: ClearCase) -> Decision:
    """Clear a case; a block of the hard rule ends in the same step."""
    _check_reason(command.reason)
    customer, number = named(command.case)
    if _status(balance.case, number) == CLEARED:
        return case_refusal(CLEARED, command.case)
    return (
        FraudCleared(
            case=command.case,
            customer=customer,
            reason=command.reason,
            unblocked=balance.block is not None,
        ),
    )


def decide_confirm(balance: Balance, command: ConfirmCase) -> Decision:
    """Confirm a case that is flagged; a block that stands goes on."""
    _check_reason(command.reason)
    customer, number = named(command.case)
    status = _status(balance.case, number)
    if status != FLAGGED:
        return case_refusal(status, command.case)
    return (FraudConfirmed(case=command.case, customer=customer, reason=command.reason),)


def _status(case: FraudCase | None, number: int) -> str:
    """Return how a case stands; each but the newest was cleared."""
    assert case is not None
    return case.status if case.number == number else CLEARED


def case_refusal(status: str, case: str) -> Refusal:
    """Return the refusal for a case that has had its verdict."""
    what = "was cleared" if status == CLEARED else "is confirmed as fraud, until it is cleared"
    return Refusal(f"case_{status}", f"the fraud case {case} {what}", {"case": case})


def is_known(case: FraudCase | None, number: int) -> bool:
    """Say whether a customer has had a case of this number."""
    return case is not None and 1 <= number <= case.number


def confirmed_case(balance: Balance) -> FraudCase | None:
    """Return the case that is confirmed, if one is."""
    case = balance.case
    return case if case is not None and case.status == CONFIRMED else None
