"""What `tollbook customers` prints: documents for programs, tables for people."""

from typing import Any

from tollbook.times import format_instant

from domain.allocation import NEVER, Grant
from domain.balance import Balance, BalanceView, view
from domain.capping import view as caps_view
from domain.fraud_case import FraudCase, case_id
from domain.outcomes import money
from entrypoints.cli.tables import amount, facts, instant, number, table

FIGURES = ("available", "held", "granted", "spent", "receivable", "credit_limit")
"""What the contract shows of a balance, in its order; more comes behind them."""


def figures(balance: BalanceView, currency: str) -> dict[str, Any]:
    """Return a balance as it travels."""
    parts = balance._asdict()
    order = [*FIGURES, *(name for name in parts if name not in FIGURES)]
    return {name: money(parts[name], currency) for name in order}


def balance_text(document: dict[str, Any]) -> str:
    """Show a balance, with the exact amounts beside the rounded ones."""
    rows = [
        (name.replace("_", " "), amount(value), value["amount"])
        for name, value in document.items()
        if isinstance(value, dict) and "amount" in value
    ]
    head = f"Balance of {document['customer']} at position {document['position']:,}"
    if document.get("at"):
        head += f" ({instant(document['at'])})"
    return f"{head}\n\n{table(('', 'amount', 'exactly'), rows, right=('amount', 'exactly'))}"


def customer_document(state: Balance, name: str | None, now: int) -> dict[str, Any]:
    """Return everything about a customer; a name whose key was destroyed is null."""
    terms = state.customer
    assert terms is not None
    block = state.block
    return {
        "id": terms.id,
        "name": name,
        "currency": terms.currency,
        "credit_limit": money(terms.credit_limit, terms.currency),
        "time_zone": terms.time_zone,
        "price_book": terms.price_book,
        "plan": terms.plan,
        "blocked": None
        if block is None
        else {
            "blocked_at": format_instant(block.blocked_at),
            "occurred_at": format_instant(block.occurred_at),
            "recent": block.recent,
            "total": block.total,
            "windows": block.windows,
        },
        "fraud_case": _case(state.case, terms.id),
        "balance": figures(view(state, now), terms.currency),
        "grants": [_grant(each, terms.currency) for each in state.grants if each.expires_at > now],
        "caps": caps_view(state, now),
    }


def _case(case: FraudCase | None, customer: str) -> dict[str, Any] | None:
    if case is None:
        return None
    since = format_instant(case.since)
    return {"case": case_id(customer, case), "status": case.status, "since": since}


def _grant(grant: Grant, currency: str) -> dict[str, Any]:
    return {
        "id": grant.id,
        "kind": grant.kind,
        "priority": grant.priority,
        "expires_at": None if grant.expires_at >= NEVER else format_instant(grant.expires_at),
        "models": None if grant.models is None else list(grant.models),
        "free": money(grant.free, currency),
        "held": money(grant.held, currency),
    }


def customer_text(document: dict[str, Any]) -> str:
    """Show a customer on one page."""
    name, blocked, case = document["name"], document["blocked"], document["fraud_case"]
    head = facts(
        (
            ("customer", document["id"]),
            ("name", "(erased)" if name is None else name),
            ("currency", document["currency"]),
            ("time zone", document["time_zone"]),
            ("price book", document["price_book"]),
            ("plan", document["plan"]),
            ("blocked", _block_line(blocked) if blocked else "no"),
            ("fraud case", f"{case['case']}, {case['status']}" if case else "none"),
            ("position", f"{document['position']:,}"),
        )
    )
    rows = [(name.replace("_", " "), amount(value)) for name, value in document["balance"].items()]
    parts = [head, table(("balance", "amount"), rows, right=("amount",))]
    parts += [grants_text(document["grants"]), caps_text(document["caps"])]
    return "\n\n".join(parts)


def _block_line(block: dict[str, Any]) -> str:
    return (
        f"since {instant(block['blocked_at'])}: {block['recent']:,} requests in 5 minutes, against"
        f" {block['total']:,} in the {block['windows']:,} windows before"
    )


def grants_text(grants: list[dict[str, Any]]) -> str:
    """Show what is left of grants, in the order in which they are drawn on."""
    if not grants:
        return "No grant has money left."
    headings = ("grant", "kind", "priority", "expires", "models", "free", "held")
    rows = [
        (
            each["id"],
            each["kind"],
            str(each["priority"]),
            instant(each["expires_at"]) or "never",
            ", ".join(each["models"]) if each["models"] else "all",
            amount(each["free"]),
            amount(each["held"]),
        )
        for each in grants
    ]
    return table(headings, rows, right=("priority", "free", "held"))


def caps_text(caps: list[dict[str, Any]]) -> str:
    """Show caps, and what counts against each now."""
    if not caps:
        return "No caps."
    headings = ("cap", "unit", "limit", "window", "models", "used", "held", "resets")
    rows = [
        (
            each["id"],
            each["unit"],
            number(each["limit"]),
            each.get("calendar") or f"rolling {each['rolling_seconds']:,} s",
            ", ".join(each["models"]) if "models" in each else "all",
            number(each["used"]),
            number(each["held"]),
            instant(each["resets_at"]),
        )
        for each in caps
    ]
    return table(headings, rows, right=("limit", "used", "held"))


def list_text(document: dict[str, Any]) -> str:
    """Show the list of customers."""
    items = document["customers"]
    if not items:
        return "No customers: see `tollbook customers create --help`."
    headings = ("customer", "plan", "price book", "blocked", *FIGURES[:2], *FIGURES[3:5])
    rows = [
        (
            each["id"],
            each["plan"],
            each["price_book"],
            instant(each["blocked_at"]),
            *(amount(each[name]) for name in headings[4:]),
        )
        for each in items
    ]
    parts = [table(headings, rows, right=headings[4:])]
    parts.append(f"Each as of the customer's newest event, at position {document['position']:,}.")
    if document["next"] is not None:
        parts.append(f"There are more: go on with --after {document['next']}")
    return "\n\n".join(parts)
