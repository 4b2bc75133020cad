"""Checks of refusals, those of whole pipelines included: that the first stage said no, and why."""

from copy import copy, deepcopy
from typing import Any

from tollbook.recompute.account import Account, Hold, Reservation
from tollbook.recompute.fact import Fact, Place
from tollbook.recompute.guarding import Why
from tollbook.recompute.holding import TTL_DEFAULT_SECONDS
from tollbook.recompute.license_use import count_admitted
from tollbook.recompute.opening import own_stream
from tollbook.recompute.parking import TOLERANCE
from tollbook.recompute.prices import quantities
from tollbook.recompute.quoting import hold_size
from tollbook.recompute.refusing import check_closed, one_refused, why_not_on, why_not_reserve
from tollbook.recompute.stages import stage_id
from tollbook.times import SECOND, format_instant, parse_instant

_WHOLE = ("reserve_pipeline", "settle_pipeline", "release_pipeline")


def command_refused(account: Account, fact: Fact) -> Place:
    """Decide the refused command again, and compare."""
    data = fact.data
    if data["kind"] not in _WHOLE or data["code"] == "already_exists":
        return one_refused(account, fact)
    fact.check("scope", account.id)
    body, stage = data["body"], data["facts"].get("stage", "")
    if data["kind"] == "reserve_pipeline":
        _check_not_reserved(account, fact, body)
    elif stage_id(body["reserved"], stage) not in account.reservations:
        check_closed(fact, stage_id(body["reserved"], stage))
    else:
        _check_not_settled(account, fact, body)
    return own_stream(account)


def _check_not_reserved(account: Account, fact: Fact, body: dict[str, Any]) -> None:
    """Reserve the stages one after another, on an account of its own, until one is refused."""
    known = account.catalog.pipelines.get(body["pipeline"])
    if known is None:
        if account.catalog.whole:
            fact.differ("body", "a published pipeline", body["pipeline"])
        return
    asked = {each["stage"]: each for each in body.get("stages", [])}
    trial = _apart(account, [each.get("license", "") for each in asked.values()])
    for stage in known["stages"]:
        wanted = {**stage, **asked.get(stage["name"], {})}
        if "ttl_seconds" in body:
            wanted["ttl_seconds"] = body["ttl_seconds"]
        why = why_not_reserve(trial, wanted, fact.at, fact.data["code"])
        if why is not None:
            _check(fact, stage["name"], why)
            return
        _hold(trial, stage_id(fact.command, stage["name"]), wanted, fact.at)
    fact.differ("code", "no refusal", fact.data["code"])


def _check(fact: Fact, stage: str, why: Why) -> None:
    assert why is not None
    fact.check("code", why[0])
    fact.check("facts", {**why[1], "stage": stage})


def _apart(account: Account, licenses: list[str]) -> Account:
    """Return a copy of what a reservation changes; the rest is the account's own."""
    trial = copy(account)
    trial.grants = [copy(grant) for grant in account.grants]
    trial.grant_of = {grant.id: grant for grant in trial.grants}
    trial.holds, trial.reservations = dict(account.holds), dict(account.reservations)
    named = {name: account.licenses[name] for name in licenses if name in account.licenses}
    trial.licenses = {**account.licenses, **deepcopy(named)}
    return trial


def _hold(trial: Account, name: str, wanted: dict[str, Any], at: int) -> None:
    """Reserve a stage on the trial account."""
    model, estimate = wanted["model"], quantities(wanted["estimate"])
    end = at + wanted.get("ttl_seconds", TTL_DEFAULT_SECONDS) * SECOND
    size = hold_size(trial, model, estimate, at, end)
    assert isinstance(size, int), "a model without a price is refused"
    draws, credit = trial.draw(model, at, size, trial.spare())
    count_admitted(trial, wanted.get("license"), model, estimate, at)
    trial.reservations[name] = Reservation(model, estimate, at, end, wanted.get("license"))
    trial.hold(name, Hold(end, {grant.id: taken for grant, taken in draws}, credit))


def _check_not_settled(account: Account, fact: Fact, body: dict[str, Any]) -> None:
    """See which of the stages that were used has no price, or was not used then, in their order."""
    run = account.runs.held.get(body["reserved"], {"stages": []})
    used = {each["stage"]: each for each in body["stages"]}
    for stage in run["stages"]:
        if stage not in used:
            continue
        one = {"reservation": stage_id(body["reserved"], stage), "usage": used[stage]["usage"]}
        if "occurred_at" in body:
            one["occurred_at"] = body["occurred_at"]
        why = _why_not_then(account, one, fact.at) or why_not_on(account, "settle", one, fact.at)
        if why is not None:
            _check(fact, stage, why)
            return
    fact.differ("code", "no refusal", fact.data["code"])


def _why_not_then(account: Account, one: dict[str, Any], at: int) -> Why:
    """Say whether usage of an open reservation lies outside the time in which it may lie."""
    reservation = account.reservations.get(one["reservation"])
    if reservation is None or "occurred_at" not in one:
        return None
    occurred_at, earliest = parse_instant(one["occurred_at"]), reservation.opened_at - TOLERANCE
    if earliest <= occurred_at <= at + TOLERANCE:
        return None
    facts = {"earliest": format_instant(max(0, earliest)), "occurred_at": one["occurred_at"]}
    return "occurred_at_out_of_range", facts
