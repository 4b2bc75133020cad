"""Checks of usage records that were parked: rightly, and charged once when they were released."""

import hashlib
import re
from typing import Any

from tollbook.recompute.account import Account, ParkedRecord, Reservation
from tollbook.recompute.fact import Fact, Place
from tollbook.recompute.prices import Unpriced, quantities, tokens_of
from tollbook.recompute.quoting import price_of
from tollbook.times import SECOND, format_instant, parse_instant

TOLERANCE = 5 * SECOND
"""How far a usage may seem to lie outside its reservation or its receipt."""

DIRECT_USAGE_PLANS = ("standard",)
"""The plans that allow usage without a reservation."""

BY_HAND = "parked_by_hand"
VOLUME_MAX = 2**53 - 1
"""The most tokens of a model in a period: JSON carries no larger whole number."""

_ASIDE = re.compile(r"~[0-9a-f]{16}\Z")
"""How the id of a record ends that was told under another's id, by a hash of what it says."""

CLOSED = {"already_settled": "settle", "already_released": "release"}
"""The refusals of a reservation that has its final outcome, and the kind of that outcome."""

Why = tuple[str, dict[str, Any]] | None
"""The code and the facts of the refusal that the rules demand; None when they allow."""

_SAME_AS_CHARGE = (
    *("charged", "customer", "from_balance", "grants", "price_book", "price_version"),
    *("receivable", "record", "released", "source"),
)


def parked_id(source: str, record: str) -> str:
    """Return the id of a parked record: 32 hex digits over its key."""
    return hashlib.sha256(f"{source}\0{record}".encode()).hexdigest()[:32]


def usage_parked(account: Account, fact: Fact) -> Place:
    """Take a record that was not charged; see that a rule forbade it, or somebody's hand."""
    data = fact.data
    source, record = data["source"], data["record"]
    name = parked_id(source, record)
    fact.check("parked", name)
    if fact.command != record:
        fact.differ("command", record, fact.command)
    if name in account.parked.records:
        fact.differ("record", "one that was not parked before", record)
    body = data["body"]
    parked = ParkedRecord(record, {**body, "customer": data["customer"]})
    account.parked.records[name] = parked
    if data["code"] == BY_HAND:
        fact.check("facts", {})
    else:
        check_reason(account, fact, parked.body)
    return f"usage-{name}", 1


def usage_released(account: Account, fact: Fact) -> Place:
    """See that a parked record was charged right before, and by exactly this."""
    data = fact.data
    name = parked_id(data["source"], data["record"])
    fact.check("parked", name)
    charge, account.releasing = account.releasing, None
    if charge is None:
        fact.differ("charged", "a charge right before", "none")
    else:
        for field in _SAME_AS_CHARGE:
            fact.check(field, charge.get(field))
    parked = account.parked.records.get(name)
    if parked is not None:
        outcome = {"charged": data["charged"], "id": fact.command, "kind": "release_usage"}
        parked.release(outcome)
    return f"usage-{name}", 2


def check_record(account: Account, fact: Fact) -> None:
    """See that a charge of a usage record is the only one of its (source, record)."""
    data = fact.data
    source, record = data.get("source"), data.get("record")
    if source is None:
        fact.check("record", None)
        return
    records = account.parked.records
    if record is None:
        if records and parked_id(source, fact.command) in records:
            fact.differ("command", "a record that was not parked", fact.command)
        return
    account.releasing = data
    parked = records.get(parked_id(source, record))
    if parked is None:
        if account.parked.whole:
            fact.differ("record", "one that was parked", record)
    elif parked.charged:
        fact.differ("record", "one that was not charged before", record)
    else:
        parked.charged = True
        for field in (*parked.body, "reservation", "license", "request_hash", "response_hash"):
            fact.check(field, parked.body.get(field))


def check_release_refused(account: Account, fact: Fact) -> None:
    """Decide the refused release of a parked record again, and compare."""
    name = fact.data["body"]["parked"]
    parked = account.parked.records.get(name)
    if parked is None:
        if account.parked.whole:
            fact.differ("body", "a record that was parked", name)
    elif parked.outcome is not None:
        fact.check("code", "already_released")
        fact.check("facts", {"first_outcome": parked.outcome, "parked": name})
    else:
        check_reason(account, fact, parked.body, _told_before(account, name, parked))


def _told_before(account: Account, name: str, parked: ParkedRecord) -> Why:
    """Say whether a record has another's id, and nothing keeps both from being charged."""
    if not _ASIDE.search(parked.id):
        return None
    reservation = account.reservations.get(parked.body.get("reservation", ""))
    if reservation is not None and reservation.inferences is None and "final" not in parked.body:
        return None
    return "told_before", {"parked": name, "record": parked.id}


def check_reason(account: Account, fact: Fact, body: dict[str, Any], last: Why = None) -> None:
    """Decide a usage record again, and compare the code and the facts of the refusal.

    `last` is what forbids it where no other rule does.
    """
    why = _why(account, body, fact.at) or last
    if why is None:
        fact.differ("code", "no refusal", fact.data["code"])
    elif why[0] == "closed":
        _check_not_open(fact, body["reservation"])
    else:
        fact.check("code", why[0])
        fact.check("facts", why[1])


def _check_not_open(fact: Fact, reservation: str) -> None:
    """Check the form alone: reservations of others, and closed ones, are not known here."""
    code, facts = fact.data["code"], fact.data["facts"]
    if facts.get("reservation") != reservation:
        fact.differ("facts", f"reservation {reservation}", facts)
    elif code == "unknown_reservation":
        fact.check("facts", {"reservation": reservation})
    elif code == "reservation_mismatch":
        fact.check("facts", {"field": "customer", "reservation": reservation})
    elif code not in CLOSED:
        fact.differ("code", f"not the one for an open reservation {reservation}", code)
    elif facts["first_outcome"]["kind"] != CLOSED[code]:
        fact.differ("facts", f"the outcome of reservation {reservation}", facts)


def _why(account: Account, body: dict[str, Any], at: int) -> Why:
    """Decide a usage record again."""
    if account.terms is None:
        return "unknown_customer", {"customer": body["customer"]}
    if "license" in body and body["license"] not in account.licenses:
        return "unknown_license", {"license": body["license"]}
    model, occurred_at = body["model"], parse_instant(body["occurred_at"])
    earliest, latest, reservation = None, at + TOLERANCE, None
    if "reservation" in body:
        reservation = account.reservations.get(body["reservation"])
        if reservation is None:
            return "closed", {}
        for field, right in (("model", reservation.model), ("license", reservation.license)):
            if body.get(field, right) != right:
                facts = {"field": field, "reservation": body["reservation"]}
                return "reservation_mismatch", facts
        earliest = reservation.opened_at - TOLERANCE
    if occurred_at > latest or (earliest is not None and occurred_at < earliest):
        facts = {"latest": format_instant(latest), "occurred_at": format_instant(occurred_at)}
        if earliest is not None:
            facts["earliest"] = format_instant(max(0, earliest))
        return "occurred_at_out_of_range", facts
    return _why_not_priced(account, model, body["usage"], occurred_at, reservation)


def _why_not_priced(
    account: Account, model: str, used: Any, occurred_at: int, reservation: Reservation | None
) -> Why:
    plan, usage = account.term("plan"), quantities(used)
    if reservation is None and plan not in DIRECT_USAGE_PLANS:
        return "plan_forbids", {"plan": plan}
    price = price_of(account, model, usage, occurred_at)
    if isinstance(price, Unpriced):
        return price.code, price.facts
    if price.volume + tokens_of(usage) > VOLUME_MAX:
        return "volume_exceeded", {"model": model, "volume_max": VOLUME_MAX}
    return None
