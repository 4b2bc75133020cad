"""Admission: may this licence be used for this request (C3, C5)?

The checks run in the order of `DENIALS`, and the first that fails is the answer. Limits and seats,
the last two, depend on what was used and are decided where that is kept.
"""

from typing import Any, NamedTuple

from tollbook.times import format_instant

from domain.bindings import (
    activation_failure,
    binding_failure,
    bound_facts,
    hardware_failure,
)
from domain.denials import DENIALS
from domain.facts import PROVENANCES, Facts, lacking, least_of
from domain.license import License
from domain.outcomes import Refusal
from domain.policy import fits
from domain.registry import Model
from domain.versions import version_failure


class Request(NamedTuple):
    """What is asked of a licence."""

    model: str
    facts: Facts
    key: str | None
    """The hash of the key that was shown, if one was."""
    now: int
    channel: str
    """Where the model runs when no fact says so."""


class Around(NamedTuple):
    """What else a decision looks at."""

    registered: Model | None
    export_denied: frozenset[str]
    """The countries of the export list in force."""


def denied(license: License, code: str, facts: dict[str, Any]) -> Refusal:
    """Return the refusal of a licence under a code, as all of them are told."""
    known = {"license": license.id, "policy_version": license.policy_version()}
    return Refusal(code, f"licence {license.id}: {_told(code, facts)}", {**known, **facts})


def _told(code: str, facts: dict[str, Any]) -> str:
    if "fact" not in facts:
        return DENIALS[code]
    if "absent" in facts:
        return f"{DENIALS[code]}: the fact {facts['fact']} is absent"
    how, least = facts["provenance"], facts["least_provenance"]
    return f"{DENIALS[code]}: the fact {facts['fact']} is {how}, and must be {least} at least"


def denial(license: License, request: Request, around: Around) -> Refusal | None:
    """Return the refusal by the first check that fails, up to the country, or None."""
    key = request.key
    if key is not None and not _opens(license, key, request.now):
        return denied(license, "license_key_invalid", {})
    return (
        standing(license, request.now, started=False)
        or _allowed(license, request, around)
        or _bound(license, request, around)
    )


def facts_asked(license: License) -> frozenset[str]:
    """Return the facts without which a licence admits nothing on the API.

    Whoever serves a model sends these alone: what nobody asks for need not be written down.
    """
    asked = set(bound_facts(license.policy))
    if license.deployment == "hybrid":
        asked.add("environment")
    if license.policy.versions is not None:
        asked.add("model_version")
    if license.policy.watermark == "required":
        asked.add("watermark")
    return frozenset(asked)


def _opens(license: License, key: str, now: int) -> bool:
    return any(each.hash == key and now < each.ends_at for each in license.keys)


def standing(license: License, now: int, *, started: bool = True) -> Refusal | None:
    """Return the refusal of a licence that is revoked, suspended or over, or None.

    Whether it has begun is asked too where that is not known yet.
    """
    if license.status == "revoked":
        return denied(license, "license_revoked", {"revoked_at": format_instant(license.since)})
    if license.status == "suspended":
        known = {"reason": license.reason, "suspended_at": format_instant(license.since)}
        return denied(license, "license_suspended", known)
    if not started and now < license.starts_at:
        at = format_instant(license.starts_at)
        return denied(license, "license_not_started", {"starts_at": at})
    if license.status == "expired" or now >= license.ends_at():
        at = format_instant(license.expires_at)
        return denied(license, "license_expired", {"expired_at": at})
    return None


def _allowed(license: License, request: Request, around: Around) -> Refusal | None:
    """Check where the model runs, then the model, features, version and mark."""
    policy, facts = license.policy, request.facts
    channel = _channel(request)
    failure = _channel_failure(license, facts, channel)
    if failure is not None:
        return denied(license, "license_channel_denied", failure)
    if channel == "on_premise":
        unready = activation_failure(license, facts)
        if unready is not None:
            return denied(license, *unready)
    if not fits(policy.models, request.model):
        return denied(license, "license_model_denied", {"model": request.model})
    if "features" in facts:
        failure = _feature_failure(license, facts)
        if failure is not None:
            return denied(license, "license_feature_denied", failure)
    if policy.versions is not None or "model_version" in facts:
        failure = version_failure(license, facts, around.registered)
        if failure is not None:
            return denied(license, "license_version_denied", failure)
    if policy.watermark == "required":
        failure = lacking(facts, "watermark", policy.provenance)
        if failure is not None:
            return denied(license, "license_watermark_required", failure)
    return None


def _channel(request: Request) -> str:
    fact = request.facts.get("channel")
    return request.channel if fact is None else str(fact.value)


def _channel_failure(license: License, facts: Facts, channel: str) -> dict[str, Any] | None:
    """Return what a refusal says of the channel, or None; the default is as good as declared."""
    least = license.policy.provenance
    if "channel" in facts or least_of(least, "channel") != PROVENANCES[0]:
        lack = lacking(facts, "channel", least)
        if lack is not None:
            return lack
    if license.deployment == "saas":
        return None if channel == "api" else {"channel": channel}
    if channel == "on_premise":
        return None
    if license.deployment == "on_premise":
        return {"channel": channel}
    lack = lacking(facts, "environment", least)
    if lack is not None:
        return lack
    return None if facts["environment"].value == "development" else {"channel": channel}


def _feature_failure(license: License, facts: Facts) -> dict[str, Any] | None:
    lack = lacking(facts, "features", license.policy.provenance)
    if lack is not None:
        return lack
    missing = set(facts["features"].value).difference(license.policy.features)
    return {"feature": min(missing)} if missing else None


def _bound(license: License, request: Request, around: Around) -> Refusal | None:
    """Check what the licence is bound to: hardware first, where customers run the model."""
    failure = None
    if license.policy.hardware is not None and _channel(request) == "on_premise":
        failure = hardware_failure(license, request.facts)
    if failure is None:
        failure = binding_failure(license.policy, request.facts, around.export_denied)
    return None if failure is None else denied(license, *failure)
