"""Checks of charges: the price, who pays it, what becomes a receivable, what goes back."""

from typing import NamedTuple

from tollbook.recompute.account import Account, Hold, Reservation
from tollbook.recompute.fact import Fact, Place
from tollbook.recompute.guarding import count_usage
from tollbook.recompute.holding import less, total
from tollbook.recompute.license_limits import Use
from tollbook.recompute.license_use import count_ended, count_settled, count_used
from tollbook.recompute.opening import own_stream
from tollbook.recompute.parking import DIRECT_USAGE_PLANS, TOLERANCE, check_record
from tollbook.recompute.prices import Quantities, Unpriced, quantities, tokens_of
from tollbook.recompute.quoting import price_of
from tollbook.recompute.stages import Outcome
from tollbook.times import format_instant, parse_instant


class Payment(NamedTuple):
    """Who pays a charge."""

    parts: dict[str, int]
    """Grant to amount, in burn order."""
    credit: int
    receivable: int


def reservation_settled(account: Account, fact: Fact) -> Place:
    """Charge usage against a reservation, in part or for good."""
    data = fact.data
    name, usage = data["reservation"], quantities(data["usage"])
    reservation = account.reservations.get(name)
    if reservation is None:
        fact.differ("reservation", "one without a final outcome", name)
        reservation = Reservation(data["model"], {}, fact.at, fact.at)
        reservation.version = 0
    fact.check("model", reservation.model)
    check_record(account, fact)
    occurred_at = parse_instant(data["occurred_at"]) if "occurred_at" in data else fact.at
    if not reservation.opened_at - TOLERANCE <= occurred_at <= fact.at + TOLERANCE:
        fact.differ("occurred_at", "between the reservation and the receipt", data["occurred_at"])
    amount = _charged(account, fact, reservation.model, usage, occurred_at)
    hold = account.holds.get(name)
    several = reservation.inferences is not None and data["final"] is not True
    fact.check("inference", True if several else None)
    _count_licensed(account, fact, reservation, usage, hold)
    if data["final"] is True:
        released = max(0, hold.amount - amount) if hold else 0
        payment = pay_for_good(account, name, reservation.model, fact.at, amount)
        account.reservations.pop(name, None)
        outcome = Outcome(fact.command, fact.name, data)
        account.runs.end(name, outcome, fact.at, account.reservations)
    else:
        released = 0
        payment = pay_in_part(account, name, reservation.model, fact.at, amount)
        reservation.used = total(reservation.used, usage)
        reservation.left = _left(reservation, usage)
        reservation.charged += amount
    reservation.version += 1
    fact.check_money("released", released)
    _check_payment(account, fact, amount, payment)
    return f"reservation-{name}", reservation.version


def _count_licensed(
    account: Account, fact: Fact, reservation: Reservation, usage: Quantities, hold: Hold | None
) -> None:
    """Count a settlement under the reservation's licence, which it names where the hold is gone."""
    if fact.data.get("license", reservation.license) != reservation.license:
        fact.differ("license", reservation.license, fact.data["license"])
    final = fact.data["final"] is True
    use = Use(usage, whole=final or reservation.inferences is not None)
    fact.check("licensed", reservation.license if hold is None else None)
    if hold is None:
        count_used(account, fact.data.get("licensed"), reservation.model, use, fact.at)
        return
    if final and reservation.inferences is None:
        count_settled(account, reservation, None, use, fact.at)
        return
    left = _left(reservation, usage)
    count_settled(account, reservation, left, use, fact.at)
    if final:  # the last of several: what the others would have used is given back after it
        reservation.left = left
        count_ended(account, fact.data["reservation"], fact.at)


def _left(reservation: Reservation, usage: Quantities) -> Quantities:
    """Return what is still expected after a part: of several inferences, one is done."""
    return less(reservation.left, usage if reservation.each is None else reservation.each)


def usage_charged(account: Account, fact: Fact) -> Place:
    """Charge usage that has no reservation."""
    data = fact.data
    occurred_at = parse_instant(data["occurred_at"])
    latest = fact.at + TOLERANCE
    if occurred_at > latest:
        fact.differ("occurred_at", f"not after {format_instant(latest)}", data["occurred_at"])
    if account.term("plan") not in DIRECT_USAGE_PLANS:
        fact.differ("usage", "refused: plan_forbids", account.term("plan"))
    check_record(account, fact)
    amount = _charged(account, fact, data["model"], quantities(data["usage"]), occurred_at)
    under = data.get("license")
    if under is not None and under not in account.licenses:
        fact.differ("license", f"a licence of {account.id}", under)
    use = Use(quantities(data["usage"]), whole=True)
    count_used(account, under, data["model"], use, fact.at)
    payment = pay_for_good(account, "", data["model"], fact.at, amount)
    _check_payment(account, fact, amount, payment)
    return own_stream(account)


def _charged(account: Account, fact: Fact, model: str, usage: Quantities, occurred_at: int) -> int:
    """Check the price of usage and what it was computed from; count its tokens."""
    data = fact.data
    count_usage(account, fact, model, usage, occurred_at)
    price = price_of(account, model, usage, occurred_at)
    if isinstance(price, Unpriced):
        fact.differ("charged", f"refused: {price.code}", data.get("charged"))
        return fact.as_found("charged")
    fact.check_money("charged", price.amount)
    fact.check("period", price.period)
    fact.check("price_book", account.term("price_book"))
    fact.check("price_version", price.version)
    fact.check("volume", price.volume)
    tokens = tokens_of(usage)
    account.volumes[f"{model}/{price.period}"] = price.volume + tokens
    output = usage.get("output_tokens", 0)
    account.tokens_in += tokens - output
    account.tokens_out += output
    return price.amount


def pay_for_good(account: Account, reservation: str, model: str, at: int, amount: int) -> Payment:
    """Give the hold back, then draw from everything available, then from credit.

    What the hold had stays usable for its own charge, even when its grant has expired or the
    credit limit was lowered since. All else comes out of what was available beside the hold.
    """
    spare = account.spare()
    hold = account.give_back(reservation) or Hold(0, {}, 0)
    draws, uncovered = account.draw(model, at, amount, spare, hold.parts)
    credit = min(uncovered, max(0, account.credit_left(), hold.credit))
    account.debit(draws, credit)
    parts = {grant.id: taken for grant, taken in draws}
    account.sweep([*hold.parts, *parts])
    return Payment(parts, credit, uncovered - credit)


def pay_in_part(account: Account, reservation: str, model: str, at: int, amount: int) -> Payment:
    """Use the hold's own grants, then its own credit, then free grants, then free credit."""
    spare = account.spare()
    hold = account.give_back(reservation)
    if hold is None:
        return pay_for_good(account, reservation, model, at, amount)
    draws: dict[str, int] = {}
    for name, part in hold.parts.items():
        if taken := min(part, amount):
            draws[name] = taken
            amount -= taken
    kept = {name: left for name, part in hold.parts.items() if (left := part - draws.get(name, 0))}
    account.debit([(account.grant_of[name], taken) for name, taken in draws.items()], 0)
    own_credit = min(hold.credit, amount)
    account.overdraft += own_credit
    account.hold(reservation, Hold(hold.expires_at, kept, hold.credit - own_credit))
    beyond, uncovered = account.draw(model, at, amount - own_credit, spare)
    credit = min(uncovered, max(0, account.credit_left()))
    account.debit(beyond, credit)
    for grant, taken in beyond:
        draws[grant.id] = draws.get(grant.id, 0) + taken
    ordered = {grant.id: draws[grant.id] for grant in account.grants if grant.id in draws}
    account.sweep(ordered)
    return Payment(ordered, own_credit + credit, uncovered - credit)


def _check_payment(account: Account, fact: Fact, amount: int, payment: Payment) -> None:
    """Check who pays: charged = grants + credit + receivable, and count it."""
    from_balance = amount - payment.receivable
    fact.check_parts("grants", payment.parts.items())
    fact.check_money("credit", payment.credit)
    fact.check_money("receivable", payment.receivable)
    fact.check_money("from_balance", from_balance)
    account.charged += amount
    account.spent += from_balance
    account.receivable += payment.receivable
