"""Checks of what guards an account: the fraud rule's blocks, unblocking, and caps on usage."""

from typing import Any

from tollbook.recompute.account import Account
from tollbook.recompute.caps import Cap
from tollbook.recompute.fact import Fact, Place
from tollbook.recompute.fraud import confirmed_since, flag
from tollbook.recompute.opening import own_stream
from tollbook.recompute.prices import Quantities
from tollbook.times import format_instant

Why = tuple[str, dict[str, Any]] | None
"""The code and the facts of the refusal that the rules demand; None when they allow."""


def count_usage(
    account: Account, fact: Fact, model: str, usage: Quantities, occurred_at: int
) -> None:
    """Count a charge, and say whether the account must be blocked right after it."""
    whole = fact.data.get("final", True) is True or fact.data.get("inference") is True
    requests = usage.get("requests", 1 if whole else 0)
    account.timeline.add(occurred_at, requests, account.sequence)
    zone = account.term("time_zone")
    for cap in account.caps:
        if cap.concerns(model):
            cap.count(usage, requests, occurred_at, fact.at, zone)
    if account.blocked_at is None and occurred_at - 300_000_000 >= account.cleared_at:
        account.crossing = account.timeline.judge(occurred_at)


def check_blocked(account: Account, fact: Fact) -> None:
    """See that a settlement which crossed the line was followed by the block."""
    if account.crossing is not None and fact.name != "account_blocked":
        expected = f"account_blocked after usage at {format_instant(account.crossing.at)}"
        fact.differ("order", expected, fact.name)
        account.crossing = None


def account_blocked(account: Account, fact: Fact) -> Place:
    """Block an account whose last settlement crossed the line, with the figures that did it."""
    crossing = account.crossing
    account.crossing = None
    if crossing is None:
        fact.differ("recent", "no block", fact.data["recent"])
    else:
        fact.check("occurred_at", format_instant(crossing.at))
        fact.check("recent", crossing.recent)
        fact.check("rule", 1)
        fact.check("total", crossing.total)
        fact.check("windows", crossing.windows)
    account.blocked_at = fact.at
    flag(account, fact.at)
    figures = ("occurred_at", "recent", "total", "windows")
    account.block = {name: fact.data[name] for name in figures}
    return own_stream(account)


def account_unblocked(account: Account, fact: Fact) -> Place:
    """Let a blocked account reserve again."""
    if account.blocked_at is None:
        fact.differ("customer", "an account that is blocked", account.id)
    if confirmed_since(account) is not None:
        fact.differ("customer", "an account whose fraud case is not confirmed", account.id)
    if not fact.data["reason"].strip():
        fact.differ("reason", "a reason", fact.data["reason"])
    account.blocked_at = account.block = None
    account.cleared_at = fact.at
    return own_stream(account)


def caps_set(account: Account, fact: Fact) -> Place:
    """Replace the caps; one that is the same but for its limit keeps its count."""
    before = account.caps
    account.caps = [Cap(body) for body in fact.data["caps"]]
    names = [cap.body["id"] for cap in account.caps]
    if len(names) > 20 or len(set(names)) < len(names):
        fact.differ("caps", "at most 20, each with its own id", names)
    for cap in account.caps:
        for other in before:
            if other.rule() == cap.rule():
                cap.counts = dict(other.counts)
    return own_stream(account)


def stopped(account: Account) -> Why:
    """Say why a blocked account is refused."""
    since = confirmed_since(account)
    if account.blocked_at is not None:
        since = format_instant(account.blocked_at)
    return None if since is None else ("account_blocked", {"blocked_at": since})


def over_cap(account: Account, model: str, estimate: Quantities, at: int, *, new: bool) -> Why:
    """Say which cap leaves no room for an estimate: used + held + asked is above its limit."""
    zone = account.term("time_zone")
    for cap in account.caps:
        if not cap.concerns(model):
            continue
        requested = cap.asked(estimate) if new else estimate.get(cap.unit, 0)
        used, held = cap.used(at, zone), _held(account, cap)
        if used + held + requested > cap.limit:
            return "usage_capped", {
                "cap": cap.body["id"],
                "held": cap.shown(held),
                "limit": cap.shown(cap.limit),
                "requested": cap.shown(requested),
                "resets_at": format_instant(cap.resets(at, zone)),
                "unit": cap.unit,
                "used": cap.shown(used),
            }
    return None


def _held(account: Account, cap: Cap) -> int:
    """Sum what open holds may still use; what had expired was booked before."""
    reservations = (account.reservations.get(name) for name in account.holds)
    return sum(cap.asked(each.left) for each in reservations if each and cap.concerns(each.model))


def check_admitted(
    account: Account, fact: Fact, model: str, estimate: Quantities | None, *, new: bool
) -> None:
    """See that nothing was admitted that a block or a cap forbids."""
    why = stopped(account)
    if why is None and estimate is not None:
        why = over_cap(account, model, estimate, fact.at, new=new)
    if why is not None:
        fact.differ("held", f"refused: {why[0]}", fact.data.get("held"))


def guard_state(account: Account) -> dict[str, Any]:
    """Write what guards the account as docs/formats/state.md does."""
    block = None
    if account.blocked_at is not None and account.block is not None:
        block = {"blocked_at": format_instant(account.blocked_at), **account.block}
    return {
        "activity": account.timeline.state(),
        "block": block,
        "caps": [cap.state() for cap in account.caps],
        "case": account.case,
        "cleared_at": format_instant(account.cleared_at) if account.cleared_at else None,
    }
