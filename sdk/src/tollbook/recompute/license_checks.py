"""The checks 1 to 18 of a licence, in their order (docs/formats/licenses.md).

The registry and the export list belong to no customer. Where the ledger's own events are not all
there, what a check would find in them is taken from the event that claims to have looked.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tollbook.recompute.license import License
from tollbook.recompute.license_limits import fits
from tollbook.recompute.places import address_fits, country_fits, domain_fits, region_fits
from tollbook.recompute.policies import Catalog
from tollbook.times import format_instant, parse_instant

Why = tuple[str, dict[str, Any]] | None
"""The code and the facts of the refusal that the rules demand; None when they allow."""

Failure = dict[str, Any] | None
"""What a refusal by one check says; None when the check passes."""

LEVELS = ("declared", "observed", "signed", "attested")


class Ask(NamedTuple):
    """A request for a licence, as an event or a refused command has it."""

    model: str
    facts: dict[str, Any]
    key: str | None
    channel: str
    """Where the model runs when no fact says so."""
    at: int
    claimed: str = ""
    """The code of the refusal that is decided again."""


def no(license: License, code: str, facts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a refusal of a licence, with what all of them say."""
    return code, {"license": license.id, "policy_version": license.policy_version(), **facts}


def denied(license: License, ask: Ask, catalog: Catalog) -> Why:
    """Return the first of the checks 1 to 18 that fails."""
    for code, failure in _checks(_Request(license, ask, catalog)):
        if failure is not None:
            return no(license, code, failure)
    return None


def standing(license: License, at: int) -> Why:
    """Return the first of the checks 2, 3 and 5 that fails."""
    for code, failure in _standing(license, at, started=True):
        if failure is not None:
            return no(license, code, failure)
    return None


class _Request:
    """A request beside the licence that must allow it."""

    def __init__(self, license: License, ask: Ask, catalog: Catalog) -> None:
        self.license = license
        self.ask = ask
        self.catalog = catalog
        self.channel = self.value("channel") if "channel" in ask.facts else ask.channel

    def _given(self, name: str) -> tuple[Any, str]:
        """Return a fact's value, and how it is known."""
        given = self.ask.facts[name]
        plain = type(given) is not dict
        if plain or (name == "hardware" and type(given.get("value")) is not dict):
            return given, LEVELS[0]
        return given["value"], given["from"]

    def value(self, name: str) -> Any:
        """Return what a fact says."""
        return self._given(name)[0]

    def least(self, name: str) -> str:
        """Return the least provenance that the policy accepts for a fact."""
        usual = "observed" if name == "address" else LEVELS[0]
        return str(self.license.say("provenance").get(name, usual))

    def lacks(self, name: str) -> Failure:
        """Say why a fact cannot be used: it is absent, or not known well enough."""
        if name not in self.ask.facts:
            return {"absent": True, "fact": name}
        _, known = self._given(name)
        least = self.least(name)
        if LEVELS.index(known) < LEVELS.index(least):
            return {"fact": name, "least_provenance": least, "provenance": known}
        return None


def _checks(request: _Request) -> Iterator[tuple[str, Failure]]:
    """Yield each check's code with what it finds, in the order of precedence."""
    license, ask = request.license, request.ask
    yield "license_key_invalid", None if _opens(license, ask) else {}
    yield from _standing(license, ask.at, started=False)
    yield "license_channel_denied", _channel(request)
    there = request.channel == "on_premise" and license.say("hardware") is not None
    if there:
        yield "license_not_activated", _activated(request)
    allowed = fits(license.policy["models"], ask.model)
    yield "license_model_denied", None if allowed else {"model": ask.model}
    yield "license_feature_denied", _features(request)
    yield "license_version_denied", _version(request)
    yield "license_watermark_required", _watermark(request)
    if there:
        yield "license_hardware_mismatch", _hardware(request)
    for field, fact, code, within, told in _BINDINGS:
        bound = license.say(field)
        if bound is None:
            continue
        failure = request.lacks(fact)
        if failure is None and not within(bound, request.value(fact), request):
            failure = {fact: request.value(fact)} if told else {}
        yield code, failure


def _opens(license: License, ask: Ask) -> bool:
    """Say whether no key was shown, or one that is good now."""
    return ask.key is None or any(
        key.hash == ask.key and ask.at < key.ends_at for key in license.keys
    )


def _standing(license: License, at: int, *, started: bool) -> Iterator[tuple[str, Failure]]:
    status, since = license.status, format_instant(license.since)
    yield "license_revoked", {"revoked_at": since} if status == "revoked" else None
    suspended = {"reason": license.reason, "suspended_at": since}
    yield "license_suspended", suspended if status == "suspended" else None
    early = not started and at < license.starts_at
    starts_at = format_instant(license.starts_at)
    yield "license_not_started", {"starts_at": starts_at} if early else None
    if status == "expired" or at >= license.ends_at():
        yield "license_expired", {"expired_at": format_instant(license.expires_at)}


def _channel(request: _Request) -> Failure:
    """Check where the model runs against how the licence is deployed."""
    deployment, channel = request.license.deployment, request.channel
    named = "channel" in request.ask.facts or request.least("channel") != LEVELS[0]
    failure = request.lacks("channel") if named else None
    if failure is not None:
        return failure
    if deployment == "hybrid" and channel == "api":
        failure = request.lacks("environment")
        if failure is None and request.value("environment") != "development":
            failure = {"channel": channel}
        return failure
    right = channel == "api" if deployment == "saas" else channel == "on_premise"
    return None if right else {"channel": channel}


def _devices(request: _Request) -> list[dict[str, Any]]:
    """Return the device that is named, or all when none is."""
    devices = request.license.devices
    if "device" not in request.ask.facts:
        return devices
    return [device for device in devices if device["id"] == request.value("device")]


def _activated(request: _Request) -> Failure:
    failure = request.lacks("device") if "device" in request.ask.facts else None
    if failure is None and not _devices(request):
        return {}
    return failure


def _features(request: _Request) -> Failure:
    if "features" not in request.ask.facts:
        return None
    failure = request.lacks("features")
    if failure is not None:
        return failure
    has = request.license.say("features")
    missing = sorted(each for each in request.value("features") if each not in has)
    return {"feature": missing[0]} if missing else None


def _version(request: _Request) -> Failure:
    """Check the version of the model by the rule that there is, and that it is not yanked."""
    rule, ask, catalog = request.license.say("versions"), request.ask, request.catalog
    if rule is None and "model_version" not in ask.facts:
        return None
    failure = request.lacks("model_version")
    if failure is not None:
        return failure
    number = request.value("model_version")
    if not catalog.whole:
        right = ask.claimed != "license_version_denied"
        return None if right and _has_number(rule, number) else {"version": number}
    model = catalog.registry.models.get(ask.model, {"versions": {}})
    entry = model["versions"].get(number)
    if entry is None:
        return None if rule is None else {"version": number}
    right = entry["yanked_at"] is None and _has_number(rule, number)
    if right and rule is not None and rule["rule"] == "maintenance":
        right = parse_instant(entry["released_at"]) <= request.license.maintenance_until
    return None if right else {"version": number}


def _has_number(rule: dict[str, Any] | None, number: str) -> bool:
    """Say whether a rule about numbers alone admits a version."""
    if rule is not None and rule["rule"] == "major":
        return int(number.partition(".")[0]) == int(rule["major"])
    return rule is None or rule["rule"] != "pinned" or number == rule["version"]


def _watermark(request: _Request) -> Failure:
    if request.license.say("watermark") != "required":
        return None
    failure = request.lacks("watermark")
    if failure is None and request.value("watermark") != "applied":
        return {}
    return failure


def _hardware(request: _Request) -> Failure:
    """Check that enough components of one device are what they were at its activation."""
    failure = request.lacks("hardware")
    if failure is not None:
        return failure
    present, needed = request.value("hardware"), request.license.say("hardware")["required"]
    for device in _devices(request):
        known = device["components"]
        if sum(known.get(name) == keyed for name, keyed in present.items()) >= needed:
            return None
    return {}


def _country(bounds: dict[str, Any], given: str, request: _Request) -> bool:
    """Say whether a country may be, by the policy and by the export list in force."""
    if not country_fits(bounds, given):
        return False
    if not request.catalog.whole:
        return request.ask.claimed != "license_export_denied"
    return given.upper() not in request.catalog.registry.denied


_Binding = tuple[str, str, str, Callable[[Any, Any, _Request], bool], bool]

_BINDINGS: tuple[_Binding, ...] = (
    (
        *("gpus", "gpus", "license_gpu_mismatch"),
        lambda names, given, _: bool(given) and all(each in names for each in given),
        False,
    ),
    (
        *("cloud_accounts", "cloud_account", "license_cloud_mismatch"),
        lambda names, given, _: given in names,
        False,
    ),
    (
        *("domains", "domain", "license_domain_mismatch"),
        lambda names, given, _: domain_fits(names, given),
        False,
    ),
    (
        *("networks", "address", "license_address_mismatch"),
        lambda networks, given, _: address_fits(networks, given),
        False,
    ),
    (
        *("regions", "region", "license_region_denied"),
        lambda bounds, given, _: region_fits(bounds, given),
        True,
    ),
    ("countries", "country", "license_export_denied", _country, True),
)
"""Field of the policy, fact, code, what fits, and whether the refusal says what the fact was."""
