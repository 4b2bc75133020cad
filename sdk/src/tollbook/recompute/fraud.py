"""Checks of fraud cases: one at a time, with verdicts in an order that makes sense."""

from typing import Any

from tollbook.recompute.account import Account
from tollbook.recompute.fact import Fact, Place
from tollbook.recompute.opening import own_stream
from tollbook.times import format_instant

SCORE_MAX = 100

Why = tuple[str, dict[str, Any]] | None


def flag(account: Account, at: int) -> None:
    """Open a case, unless one stands that was not cleared."""
    case = account.case
    if case is not None and case["status"] != "cleared":
        return
    number = 1 if case is None else case["number"] + 1
    when = format_instant(at)
    account.case = {"number": number, "opened_at": when, "since": when, "status": "flagged"}


def fraud_flagged(account: Account, fact: Fact) -> Place:
    """Take a flag; a score is what its signs come to."""
    flag(account, fact.at)
    assert account.case is not None
    fact.check("case", f"{account.id}.{account.case['number']}")
    _check_reason(fact)
    signs = fact.data.get("signs")
    if signs is None:
        for field in ("rule", "score", "seen"):
            fact.check(field, None)
        return own_stream(account)
    codes = [code for code, _ in signs]
    if codes != sorted(set(codes)):
        fact.differ("signs", "each code once, in order", codes)
    fact.check("score", min(SCORE_MAX, sum(points for _, points in signs)))
    seen = fact.data.get("seen")
    if type(seen) is not int or seen < 1:
        fact.differ("seen", "a position", seen)
    return own_stream(account)


def fraud_cleared(account: Account, fact: Fact) -> Place:
    """Close a case that stands; a block ends with it."""
    _check_verdict(account, fact, ("flagged", "confirmed"))
    fact.check("unblocked", account.blocked_at is not None)
    if account.blocked_at is not None:
        account.blocked_at = account.block = None
        account.cleared_at = fact.at
    return _now(account, fact, "cleared")


def fraud_confirmed(account: Account, fact: Fact) -> Place:
    """Confirm a case that is flagged."""
    _check_verdict(account, fact, ("flagged",))
    return _now(account, fact, "confirmed")


def _check_verdict(account: Account, fact: Fact, before: tuple[str, ...]) -> None:
    _check_reason(fact)
    case = account.case
    if case is None or case["status"] not in before:
        found = "none" if case is None else f"a case that is {case['status']}"
        fact.differ("case", f"a case that is {' or '.join(before)}", found)
    else:
        fact.check("case", f"{account.id}.{case['number']}")


def _check_reason(fact: Fact) -> None:
    if not fact.data["reason"].strip():
        fact.differ("reason", "a reason", fact.data["reason"])


def _now(account: Account, fact: Fact, status: str) -> Place:
    if account.case is not None:
        account.case = {**account.case, "since": format_instant(fact.at), "status": status}
    return own_stream(account)


def confirmed_since(account: Account) -> str | None:
    """Return since when a case is confirmed, as it is written; None when none is."""
    case = account.case
    return case["since"] if case is not None and case["status"] == "confirmed" else None


def why_not_review(account: Account, kind: str, body: dict[str, Any]) -> Why:
    """Decide a refused verdict again."""
    name = body["case"]
    number = int(name.rpartition(".")[2])
    case = account.case
    if case is None or number > case["number"]:
        return None
    status = case["status"] if number == case["number"] else "cleared"
    allowed = ("flagged",) if kind == "confirm_case" else ("flagged", "confirmed")
    return None if status in allowed else (f"case_{status}", {"case": name})


def why_not_unblock(account: Account) -> Why:
    """Decide a refused unblocking again: a confirmed case comes first."""
    if confirmed_since(account) is not None and account.case is not None:
        return "case_confirmed", {"case": f"{account.id}.{account.case['number']}"}
    return ("not_blocked", {"customer": account.id}) if account.blocked_at is None else None
