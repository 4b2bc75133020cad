"""Checks of refusals: that the rule really said no, and that its figures are right."""

from typing import Any

from tollbook.amounts import format_pico
from tollbook.recompute.account import Account, in_all
from tollbook.recompute.fact import Fact, Place
from tollbook.recompute.fraud import why_not_review, why_not_unblock
from tollbook.recompute.guarding import over_cap, stopped
from tollbook.recompute.holding import TTL_DEFAULT_SECONDS, wanted
from tollbook.recompute.license_refusals import KINDS, why_not_on_license
from tollbook.recompute.license_seats import asked, decide, decide_more
from tollbook.recompute.opening import own_stream
from tollbook.recompute.parking import CLOSED, Why, check_release_refused
from tollbook.recompute.prices import Unpriced, quantities
from tollbook.recompute.quoting import hold_size, price_of
from tollbook.times import SECOND, format_instant, parse_instant


def one_refused(account: Account, fact: Fact) -> Place:
    """Decide the refused command again, and compare."""
    data = fact.data
    code, kind, body = data["code"], data["kind"], data["body"]
    fact.check("scope", account.id)
    if body.get("customer", account.id) != account.id:
        fact.differ("body", f"customer {account.id}", body)
    if code == "already_exists":
        fact.check("facts", {"field": "id", "value": fact.command})
        return own_stream(account)
    if kind == "release_usage":
        check_release_refused(account, fact)
        return own_stream(account)
    if kind in KINDS:
        why = why_not_on_license(account, fact)
    else:
        why = _why(account, kind, body, fact.at, code)
    if why is None:
        fact.differ("code", "no refusal", code)
    elif why[0] == "closed":
        check_closed(fact, body["reservation"])
    else:
        fact.check("code", why[0])
        fact.check("facts", why[1])
    return own_stream(account)


def check_closed(fact: Fact, reservation: str) -> None:
    """Check the form alone: what closed a reservation is not kept once it is closed."""
    code, facts = fact.data["code"], fact.data["facts"]
    if code not in CLOSED:
        fact.differ("code", " or ".join(CLOSED), code)
    elif facts["reservation"] != reservation or facts["first_outcome"]["kind"] != CLOSED[code]:
        fact.differ("facts", f"the outcome of reservation {reservation}", facts)


def _why(account: Account, kind: str, body: dict[str, Any], at: int, code: str) -> Why:
    if kind == "reserve":
        return why_not_reserve(account, body, at, code)
    if kind == "unblock":
        return why_not_unblock(account)
    if kind in ("clear_case", "confirm_case"):
        return why_not_review(account, kind, body)
    if kind in ("extend", "settle", "release"):
        return why_not_on(account, kind, body, at)
    return None


def why_not_reserve(account: Account, body: dict[str, Any], at: int, code: str) -> Why:
    """Decide a reservation again: blocked, licence, without a price, above a cap, no money."""
    model, estimate, several = body["model"], quantities(body["estimate"]), body.get("inferences")
    units = in_all(estimate, several)
    license = account.licenses.get(body.get("license", ""))
    ask = asked(body, "api", at, code)
    unlicensed = None if license is None else decide(account, license, ask, units)[0]
    end = at + body.get("ttl_seconds", TTL_DEFAULT_SECONDS) * SECOND
    size = hold_size(account, model, estimate, at, end, several or 1)
    capped = over_cap(account, model, units, at, new=True) if isinstance(size, int) else None
    too_little = _too_little(account, model, at, size, 0)
    return stopped(account) or unlicensed or capped or too_little


def why_not_on(account: Account, kind: str, body: dict[str, Any], at: int) -> Why:
    """Decide a command on a reservation again."""
    reservation = account.reservations.get(body["reservation"])
    if reservation is None:
        return "closed", {}
    if kind == "release":
        return None
    if kind != "extend":
        occurred_at = parse_instant(body["occurred_at"]) if "occurred_at" in body else at
        return _no_price(account, reservation.model, body["usage"], occurred_at)
    if reservation.inferences is not None:
        return None  # it is not extended at all, and that is no refusal
    hold = account.holds.get(body["reservation"])
    if hold is None or at >= reservation.expires_at:
        when = format_instant(reservation.expires_at)
        return "expired", {"expired_at": when, "reservation": body["reservation"]}
    more = quantities(body.get("estimate", {}))
    estimate, end = wanted(reservation, more, body.get("ttl_seconds"), at)
    size = hold_size(account, reservation.model, estimate, at, end)
    capped = unlicensed = None
    license = account.licenses.get(reservation.license or "")
    if license is not None:
        unlicensed = decide_more(account, license, reservation.model, more, at)[0]
    if isinstance(size, int) and "estimate" in body:
        capped = over_cap(account, reservation.model, more, at, new=False)
    too_little = _too_little(account, reservation.model, at, size, hold.amount)
    return stopped(account) or unlicensed or capped or too_little


def _no_price(account: Account, model: str, usage: object, occurred_at: int) -> Why:
    price = price_of(account, model, quantities(usage), occurred_at)
    return (price.code, price.facts) if isinstance(price, Unpriced) else None


def _too_little(account: Account, model: str, at: int, size: int | Unpriced, has: int) -> Why:
    """Say what is missing for a hold of a size, of which it has a part already."""
    if isinstance(size, Unpriced):
        return size.code, size.facts
    required = max(0, size - has)
    _, uncovered = account.draw(model, at, required, account.spare())
    room = max(0, account.credit_left())
    if uncovered <= room:
        return None
    available = required - uncovered + (room if uncovered else 0)
    currency = account.term("currency")
    return "insufficient_balance", {
        "available": {"amount": format_pico(available), "currency": currency},
        "required": {"amount": format_pico(required), "currency": currency},
    }
