"""Checks of what opens accounts: customers and their terms, grants, what expires of them."""

from tollbook.recompute.account import NEVER, Account, Grant
from tollbook.recompute.fact import Fact, Place
from tollbook.recompute.license_use import count_ended
from tollbook.times import parse_instant

HOLDS_PER_EVENT = 500
"""How many expired holds one event names at most."""

_TERMS = ("currency", "name_sealed", "plan", "price_book", "time_zone")


def own_stream(account: Account) -> Place:
    """Return the next place in the customer's own stream."""
    account.own_version += 1
    return f"customer-{account.id}", account.own_version


def customer_created(account: Account, fact: Fact) -> Place:
    """Take the terms of a new customer."""
    if account.terms is not None:
        fact.differ("customer", "an id that is new", account.id)
    if fact.command != account.id:
        fact.differ("command", account.id, fact.command)
    account.terms = {name: fact.data[name] for name in _TERMS}
    account.credit_limit = fact.money("credit_limit")
    return own_stream(account)


def customer_changed(account: Account, fact: Fact) -> Place:
    """Change the terms that are given."""
    if account.terms is not None:
        before = account.term("time_zone")
        account.terms |= {name: fact.data[name] for name in _TERMS if name in fact.data}
        account.move_windows(before, fact.at)
    if "credit_limit" in fact.data:
        account.credit_limit = fact.money("credit_limit")
    return own_stream(account)


def grant_issued(account: Account, fact: Fact) -> Place:
    """Take a grant; paid money for every model repays an overdraft first."""
    data = fact.data
    name, amount = data["grant"], fact.money("amount")
    expires_at = parse_instant(data["expires_at"]) if "expires_at" in data else NEVER
    if fact.command != name:
        fact.differ("command", name, fact.command)
    if name in account.grant_of:
        fact.differ("grant", "an id that is new", name)
    if data["kind"] not in ("paid", "promotional"):
        fact.differ("kind", "paid or promotional", data["kind"])
    if amount <= 0:
        fact.differ("amount", "above zero", data["amount"])
    if expires_at <= fact.at:
        fact.differ("expires_at", "after recorded_at", data["expires_at"])
    repays = data["kind"] == "paid" and data.get("models") is None
    repaid = min(account.overdraft, amount) if repays else 0
    fact.check_money("overdraft_repaid", repaid)
    account.granted += amount
    account.overdraft -= repaid
    grant = Grant(name, data["kind"], data["priority"], expires_at, data.get("models"))
    account.add_grant(grant, amount - repaid)
    return f"grant-{name}", 1


def holds_expired(account: Account, fact: Fact) -> Place:
    """End exactly the holds that have run out, in order of id, at most 500 an event."""
    names, _ = account.expired(fact.at)
    names = names[:HOLDS_PER_EVENT]
    fact.check_parts("holds", [(name, account.holds[name].amount) for name in names])
    if not names:
        fact.differ("holds", "a hold that has expired", "none")
    for name in names:
        count_ended(account, name, fact.at)
        hold = account.give_back(name)
        account.sweep(() if hold is None else hold.parts)
    return own_stream(account)


def grants_expired(account: Account, fact: Fact) -> Place:
    """Write off exactly what is left free in grants that have expired."""
    holds, grants = account.expired(fact.at)
    if holds:
        fact.differ("grants", "expired holds to be booked before", ", ".join(holds[:5]))
    lapsed = [(grant, grant.free) for grant in grants]
    fact.check_parts("grants", [(grant.id, free) for grant, free in lapsed])
    if not lapsed:
        fact.differ("grants", "a grant that has expired", "none")
    account.breakage += sum(free for _, free in lapsed)
    account.debit(lapsed, 0)
    account.sweep([grant.id for grant, _ in lapsed])
    return own_stream(account)


def check_nothing_is_due(account: Account, fact: Fact) -> None:
    """See that what had expired was booked before anything else was decided."""
    holds, grants = account.expired(fact.at)
    if holds or grants:
        waiting = [*holds[:5], *(grant.id for grant in grants[:5])]
        fact.differ("order", "everything that had expired booked before", ", ".join(waiting))
