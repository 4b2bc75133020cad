"""Checks of decisions under a licence: requests, running inferences, and leases of seats.

The rules are those of docs/formats/licenses.md.
"""

from typing import Any

from tollbook.recompute.account import Account, Reservation
from tollbook.recompute.fact import Fact, Place
from tollbook.recompute.license import Lease, License
from tollbook.recompute.license_checks import Ask, Why, denied, no, standing
from tollbook.recompute.license_limits import room_for
from tollbook.recompute.license_use import count_admitted
from tollbook.recompute.licenses import license_of
from tollbook.recompute.prices import Quantities, quantities
from tollbook.times import MAX_INSTANT, SECOND, format_instant, parse_instant

ONE_REQUEST: Quantities = {"requests": 1}

Decided = tuple[Why, dict[str, Any]]
"""Why a request is refused, or None and the decision that admits it."""


def decide(account: Account, license: License, ask: Ask, units: Quantities) -> Decided:
    """Decide a request: the checks 1 to 19."""
    why = denied(license, ask, account.catalog)
    if why is not None:
        return why, {}
    return _decide_limits(account, license, ask.model, units, ask.at, new=True)


def decide_more(
    account: Account, license: License, model: str, more: Quantities, at: int
) -> Decided:
    """Decide a running inference that goes on: its standing, and the limits."""
    why = standing(license, at)
    if why is not None:
        return why, {}
    return _decide_limits(account, license, model, more, at, new=False)


def _decide_limits(
    account: Account, license: License, model: str, units: Quantities, at: int, *, new: bool
) -> Decided:
    room = room_for(license.counts, model, units, at, account.term("time_zone"), new=new)
    if room.full is not None:
        return no(license, "license_limit_reached", room.full), {}
    return None, _decision(license, at, room.remaining)


def _decision(license: License, at: int, remaining: list[list[Any]]) -> dict[str, Any]:
    decision: dict[str, Any] = {"policy": license.policy_version()}
    if remaining:
        decision["remaining"] = remaining
    if at >= license.expires_at:
        decision["grace"] = True
    return decision


def asked(data: dict[str, Any], channel: str, at: int, claimed: str = "") -> Ask:
    """Read what is asked of a licence out of an event or a refused command."""
    facts, key = data.get("facts", {}), data.get("license_key")
    return Ask(data["model"], facts, key, channel, at, claimed)


def check_held(account: Account, fact: Fact, estimate: Quantities) -> None:
    """See that the licence of a new reservation admits it, and count it."""
    data = fact.data
    if "license" not in data:
        fact.check("decision", None)
        return
    license = license_of(account, fact, data["license"])
    if license is not None:
        ask = asked(data, "api", fact.at)
        _check_decision(fact, decide(account, license, ask, estimate))
        count_admitted(account, license.id, data["model"], estimate, fact.at)


def check_more(account: Account, fact: Fact, reservation: Reservation, more: Quantities) -> None:
    """See that the licence of an extended reservation admits what is added, and count it."""
    license = account.licenses.get(reservation.license or "")
    if license is None:
        fact.check("decision", None)
        return
    model, at = reservation.model, fact.at
    _check_decision(fact, decide_more(account, license, model, more, at))
    count_admitted(account, license.id, model, more, at, new=False)


def _check_decision(fact: Fact, decided: Decided) -> None:
    why, decision = decided
    if why is None:
        fact.check("decision", decision)
    else:
        fact.differ("decision", f"refused: {why[0]}", fact.data.get("decision"))


def license_validated(account: Account, fact: Fact) -> Place:
    """Check an admission without money, and count it."""
    data = fact.data
    name, license = data["validation"], license_of(account, fact, data["license"])
    if fact.command != name:
        fact.differ("command", name, fact.command)
    if license is not None:
        units = quantities(data["usage"]) if "usage" in data else ONE_REQUEST
        _check_decision(fact, decide(account, license, asked(data, "api", fact.at), units))
        count_admitted(account, license.id, data["model"], units, fact.at)
    return f"validation-{name}", 1


def decide_lease(account: Account, license: License, ask: Ask, data: dict[str, Any]) -> Decided:
    """Decide a lease: the checks 1 to 18, its holder, how long it may be lent, and a free seat."""
    why = denied(license, ask, account.catalog) or _of_another(license, ask, data["holder"])
    borrow = data.get("borrow_seconds")
    longest = license.say("borrow_seconds")
    if why is None and borrow is not None and borrow > longest:
        why = no(license, "license_borrow_denied", {"borrow_seconds": longest})
    leases = license.live(ask.at)
    if why is None and len(leases) >= license.say("seats"):
        why = _taken(license, leases)
    return why, _decision(license, ask.at, [])


def _of_another(license: License, ask: Ask, holder: str) -> Why:
    """Say that the device that is named was activated for another holder."""
    named = ask.facts.get("device")
    named = named["value"] if isinstance(named, dict) else named
    for device in license.devices:
        if device["id"] == named and device["holder"] not in (None, holder):
            return no(license, "license_hardware_mismatch", {"device": named})
    return None


def _taken(license: License, leases: list[Lease]) -> tuple[str, dict[str, Any]]:
    facts: dict[str, Any] = {"seats": license.say("seats")}
    if leases:
        facts["resets_at"] = format_instant(min(lease.expires_at for lease in leases))
    return no(license, "license_seats_taken", facts)


def why_not_renew(account: Account, license: License, lease: str, ask: Ask) -> Why:
    """Say why a lease cannot be renewed; `ask` is for the model of the lease."""
    why = why_ended(license, lease, ask.at) or denied(license, ask, account.catalog)
    known = license.lease(lease)
    if why is None and known is not None:
        why = _of_another(license, ask, known.holder)
    leases = license.live(ask.at)
    renewable = [each.id for each in leases[: license.say("seats")]]
    return _taken(license, leases) if why is None and lease not in renewable else why


def why_ended(license: License, lease: str, at: int) -> Why:
    """Say that a lease is not live."""
    known = license.lease(lease)
    if known is None:
        return no(license, "license_lease_ended", {"lease": lease})
    if known.expires_at > at:
        return None
    ended = {"expired_at": format_instant(known.expires_at), "lease": lease}
    return no(license, "license_lease_ended", ended)


def _lives_until(license: License, at: int, seconds: int) -> int:
    return min(at + seconds * SECOND, license.ends_at(), MAX_INSTANT)


def seat_leased(account: Account, fact: Fact) -> Place:
    """Give a seat to a holder, until the lease expires."""
    data, at = fact.data, fact.at
    license = license_of(account, fact, data["license"])
    name, borrow = data["lease"], data.get("borrow_seconds")
    if fact.command != name:
        fact.differ("command", name, fact.command)
    if license is not None:
        ask = asked(data, "on_premise", at)
        _check_decision(fact, decide_lease(account, license, ask, data))
        until = _lives_until(license, at, borrow or license.say("lease_seconds"))
        fact.check("expires_at", format_instant(until))
        lease = Lease(data, at, parse_instant(data["expires_at"]))
        license.leases = [*license.live(at), lease]
        license.leases.sort(key=lambda each: (each.leased_at, each.id))
    return f"lease-{name}", 1


def lease_renewed(account: Account, fact: Fact) -> Place:
    """Let a lease live longer, and never shorter."""
    data, at = fact.data, fact.at
    license = license_of(account, fact, data["license"])
    name = data["lease"]
    lease = None if license is None else license.lease(name)
    if license is None or lease is None:
        fact.differ("lease", "one that is live", name)
        return f"lease-{name}", 0
    ask = asked({**data, "model": lease.model}, "on_premise", at)
    _check_decision(fact, (why_not_renew(account, license, name, ask), _decision(license, at, [])))
    until = max(lease.expires_at, _lives_until(license, at, license.say("lease_seconds")))
    fact.check("expires_at", format_instant(until))
    license.leases = license.live(at)
    lease.expires_at = parse_instant(data["expires_at"])
    lease.version += 1
    return f"lease-{name}", lease.version


def seat_returned(account: Account, fact: Fact) -> Place:
    """Free a seat before its lease expires."""
    name, license = fact.data["lease"], license_of(account, fact, fact.data["license"])
    lease = None if license is None else license.lease(name)
    if license is None or lease is None or lease.expires_at <= fact.at:
        fact.differ("lease", "one that is live", name)
        return f"lease-{name}", 0
    license.leases = [each for each in license.live(fact.at) if each is not lease]
    return f"lease-{name}", lease.version + 1
