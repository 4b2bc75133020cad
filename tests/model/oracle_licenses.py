"""The oracle of licences: every check of docs/formats/licenses.md, from JSON alone.

A licence and a request are objects as they travel, with instants in microseconds; nothing of the
program is used.
"""

import socket
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from tests.model.wire import SECOND, written

Body = dict[str, Any]

STRENGTH = {"declared": 1, "observed": 2, "signed": 3, "attested": 4}
COUNTRIES = {"DE", "FR", "KP", "SY", "US"}
"""The countries among the codes that the inputs are made of."""

LETTERS = set("abcdefghijklmnopqrstuvwxyz")
DIGITS = set("0123456789")
WHITE = "\n\t "


class DeniedError(Exception):
    """A check fails, and the refusal says so with these facts."""

    def __init__(self, facts: Body) -> None:
        super().__init__(facts)
        self.facts = facts


def denial(license: Body, request: Body) -> tuple[str, Body] | None:
    """Return the code and facts of the first check that fails, or None."""
    for code, check in CHECKS.items():
        try:
            check(license, request)
        except DeniedError as denied:
            common = {"license": license["id"], "policy_version": license["policy_version"]}
            return code, {**common, **denied.facts}
    return None


def _deny(*, when: bool, **facts: Any) -> None:
    if when:
        raise DeniedError(facts)


def _plain(request: Body, name: str) -> Any:
    """Return the value of a fact, however it is wrapped; None when it is absent."""
    given = request["facts"].get(name)
    return given["value"] if _is_wrapped(name, given) else given


def _is_wrapped(name: str, given: Any) -> bool:
    return isinstance(given, dict) and (name != "hardware" or isinstance(given.get("value"), dict))


def _needed(license: Body, request: Body, name: str) -> Any:
    """Return the value of a fact that a check needs, if it is there and known well enough."""
    given = request["facts"].get(name)
    _deny(when=given is None, fact=name, absent=True)
    how = given["from"] if _is_wrapped(name, given) else "declared"
    least = _least(license, name)
    too_low = STRENGTH[how] < STRENGTH[least]
    _deny(when=too_low, fact=name, provenance=how, least_provenance=least)
    return _plain(request, name)


def _least(license: Body, name: str) -> str:
    default = "observed" if name == "address" else "declared"
    return str((license["policy"].get("provenance") or {}).get(name, default))


def _channel(request: Body) -> str:
    return str(_plain(request, "channel") or request["channel"])


def _key(license: Body, request: Body) -> None:
    if request["key"] is not None:
        ends = license["keys"].get(request["key"], 0)
        _deny(when=ends is not None and request["now"] >= ends)


def _revoked(license: Body, _: Body) -> None:
    _deny(when=license["status"] == "revoked", revoked_at=written(license["since"]))


def _suspended(license: Body, _: Body) -> None:
    at = written(license["since"])
    _deny(when=license["status"] == "suspended", suspended_at=at, reason=license["reason"])


def _not_started(license: Body, request: Body) -> None:
    starts = license["starts_at"]
    _deny(when=request["now"] < starts, starts_at=written(starts))


def _expired(license: Body, request: Body) -> None:
    end = license["expires_at"]
    if end is not None:
        grace = (license["policy"].get("grace_seconds") or 0) * SECOND
        over = license["status"] == "expired" or request["now"] - end >= grace
        _deny(when=over, expired_at=written(end))


def _elsewhere(license: Body, request: Body) -> None:
    where, sold = _channel(request), license["deployment"]
    if "channel" in request["facts"] or _least(license, "channel") != "declared":
        _needed(license, request, "channel")
    if where == "on_premise":
        _deny(when=sold == "saas", channel=where)
    elif sold == "hybrid":
        environment = _needed(license, request, "environment")
        _deny(when=environment != "development", channel=where)
    else:
        _deny(when=sold == "on_premise", channel=where)


def _not_activated(license: Body, request: Body) -> None:
    if license["policy"].get("hardware") and _channel(request) == "on_premise":
        if "device" in request["facts"]:
            _needed(license, request, "device")
        _deny(when=not _machines(license, request))


def _machines(license: Body, request: Body) -> list[Body]:
    named = _plain(request, "device")
    devices: Body = license["devices"]
    return [parts for name, parts in devices.items() if named in (None, name)]


def _model(license: Body, request: Body) -> None:
    model = request["model"]
    _deny(when=not _any_like(model, license["policy"]["models"]), model=model)


def _any_like(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _features(license: Body, request: Body) -> None:
    if "features" in request["facts"]:
        sold = license["policy"].get("features") or []
        for feature in sorted(_needed(license, request, "features")):
            _deny(when=feature not in sold, feature=feature)


def _version(license: Body, request: Body) -> None:
    rule = license["policy"].get("versions")
    if rule is None and "model_version" not in request["facts"]:
        return
    name = _needed(license, request, "model_version")
    entry = (request["registry"] or {}).get(name)
    if entry is None:
        _deny(when=rule is not None, version=name)
        return
    _deny(when=entry["yanked"], version=name)
    if rule is not None:
        right = {
            "major": name.startswith(f"{rule.get('major')}."),
            "pinned": name == rule.get("version"),
            "maintenance": entry["released_at"] <= license["maintenance_until"],
            "rolling": True,
        }
        _deny(when=not right[rule["rule"]], version=name)


def _watermark(license: Body, request: Body) -> None:
    if license["policy"].get("watermark") == "required":
        _deny(when=_needed(license, request, "watermark") != "applied")


def _hardware(license: Body, request: Body) -> None:
    rule = license["policy"].get("hardware")
    if rule and _channel(request) == "on_premise":
        present = _needed(license, request, "hardware")
        alike = [
            sum(present.get(name) == keyed for name, keyed in parts.items())
            for parts in _machines(license, request)
        ]
        _deny(when=max(alike, default=0) < rule["required"])


def _bound(field: str, fact: str, fits: Callable[[Any, Any, Body], bool]) -> Any:
    """Return the check of one binding; regions and countries are told."""

    def check(license: Body, request: Body) -> None:
        bounds = license["policy"].get(field)
        if bounds is not None:
            given = _needed(license, request, fact)
            told = {fact: given} if fact in ("region", "country") else {}
            _deny(when=not fits(bounds, given, request), **told)

    return check


def _in_use(bounds: list[str], given: list[str], _: Body) -> bool:
    return given != [] and all(each in bounds for each in given)


def _labels(domain: str) -> list[str] | None:
    if not domain.isascii() or len(domain) > 253:
        return None
    labels = domain.removesuffix(".").lower().split(".")
    inner = LETTERS | DIGITS | {"_"}
    for label in labels:
        if not 1 <= len(label) <= 63 or not set(label) <= inner | {"-"}:
            return None
        if label[0] not in inner or label[-1] not in inner:
            return None
    return labels


def _domain(bounds: list[str], given: str, _: Body) -> bool:
    labels = _labels(given)
    if labels is None:
        return False
    for each in bounds:
        wanted = each.lower().rstrip(".").split(".")
        if wanted[0] == "*":
            below = len(labels) - len(wanted[1:])
            if below > 0 and labels[below:] == wanted[1:]:
                return True
        elif labels == wanted:
            return True
    return False


def _number(text: str) -> int | None:
    """Return an address as a number of 128 bits, IPv4 as in ::ffff:0:0/96."""
    for family, prefix in ((socket.AF_INET, bytes(10) + b"\xff\xff"), (socket.AF_INET6, b"")):
        try:
            return int.from_bytes(prefix + socket.inet_pton(family, text))
        except (OSError, UnicodeEncodeError):
            continue
    return None


def _address(bounds: list[str], given: str, _: Body) -> bool:
    address = _number(given)
    if address is None or given != given.strip(WHITE):
        return False
    for each in bounds:
        base, length = each.split("/")
        first = _number(base)
        assert first is not None
        bits = int(length) + (0 if ":" in base else 96)
        # Zero bits of IPv6 hold every IPv6 address, and no IPv4 one inside it.
        of_four = address >> 32 == 0xFFFF
        if (
            of_four == (bits >= 96 and first >> 32 == 0xFFFF)
            and not (address ^ first) >> 128 - bits
        ):
            return True
    return False


def _region(bounds: Body, given: str, _: Body) -> bool:
    name = given.lower()
    if not given.isascii() or len(name) > 64 or not set(name) <= LETTERS | DIGITS | set("._:-"):
        return False
    small = {side: [each.lower() for each in names] for side, names in bounds.items()}
    if _any_like(name, small.get("deny", [])):
        return False
    return "allow" not in small or _any_like(name, small["allow"])


def _country(bounds: Body, given: str, request: Body) -> bool:
    if not given.isascii() or len(given) != 2:
        return False
    name = given.upper()
    if name in bounds.get("deny", []) or name in request["export"]:
        return False
    return name in bounds.get("allow", COUNTRIES)


CHECKS: dict[str, Callable[[Body, Body], None]] = {
    "license_key_invalid": _key,
    "license_revoked": _revoked,
    "license_suspended": _suspended,
    "license_not_started": _not_started,
    "license_expired": _expired,
    "license_channel_denied": _elsewhere,
    "license_not_activated": _not_activated,
    "license_model_denied": _model,
    "license_feature_denied": _features,
    "license_version_denied": _version,
    "license_watermark_required": _watermark,
    "license_hardware_mismatch": _hardware,
    "license_gpu_mismatch": _bound("gpus", "gpus", _in_use),
    "license_cloud_mismatch": _bound(
        "cloud_accounts", "cloud_account", lambda bounds, given, _: given in bounds
    ),
    "license_domain_mismatch": _bound("domains", "domain", _domain),
    "license_address_mismatch": _bound("networks", "address", _address),
    "license_region_denied": _bound("regions", "region", _region),
    "license_export_denied": _bound("countries", "country", _country),
}
"""Code to check, in the order of the document."""
