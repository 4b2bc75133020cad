"""Checks of a licence's life: issue, activation, renewal, upgrade, standing, keys.

What each change demands is in docs/formats/licenses.md.
"""

from typing import Any

from tollbook.recompute.account import Account
from tollbook.recompute.fact import Fact, Place
from tollbook.recompute.license import NEVER, Key, License
from tollbook.recompute.license_checks import Why, no, standing
from tollbook.recompute.policies import effective, maintenance_months, months_after
from tollbook.times import SECOND, format_instant, parse_instant

DEPLOYMENTS = ("saas", "on_premise", "hybrid")
KEYS_MAX = 10
OVERLAP_MAX_SECONDS = 90 * 86_400


def license_of(account: Account, fact: Fact, name: str) -> License | None:
    """Return a licence that a fact names; it must be one of the customer's."""
    found = account.licenses.get(name)
    if found is None:
        fact.differ("license", f"a licence of {account.id}", name)
    return found


def license_issued(account: Account, fact: Fact) -> Place:
    """Take a new licence: its policy is a template's, with what it has of its own."""
    data, catalog = fact.data, account.catalog
    license = License(account.id, data, fact.at)
    if fact.command != license.id:
        fact.differ("command", license.id, fact.command)
    if license.id in catalog.licenses:
        fact.differ("license", "an id that is new", license.id)
    if license.deployment not in DEPLOYMENTS:
        fact.differ("deployment", " or ".join(DEPLOYMENTS), license.deployment)
    license.starts_at = parse_instant(data.get("starts_at", format_instant(fact.at)))
    if "expires_at" in data:
        license.expires_at = parse_instant(data["expires_at"])
        if license.expires_at <= max(fact.at, license.starts_at):
            earliest = format_instant(max(fact.at, license.starts_at))
            fact.differ("expires_at", f"after {earliest}", data["expires_at"])
    _check_policy(account, fact, data["template"])
    until = months_after(license.starts_at, maintenance_months(license.policy))
    fact.check("maintenance_until", format_instant(until))
    license.maintenance_until = parse_instant(data["maintenance_until"])
    _check_key(account, fact)
    catalog.licenses.add(license.id)
    account.licenses[license.id] = license
    return f"license-{license.id}", 1


def _check_policy(account: Account, fact: Fact, template: str) -> None:
    """See that a policy is the template of now with the overrides, and what the registry has."""
    data, catalog = fact.data, account.catalog
    known = catalog.template(template, data["template_version"])
    if known is not None:
        fact.check("template_version", known[0])
        fact.check("policy", effective(known[1], data.get("overrides", {})))
    elif catalog.whole:
        fact.differ("template", "a template that was published", template)
    else:
        own = effective(data["policy"], data.get("overrides", {}))
        fact.check("policy", own)
    if catalog.whole:
        fact.check("provenance", catalog.provenance(data["policy"]))


def _check_key(account: Account, fact: Fact) -> None:
    """See that a key leads to one licence alone."""
    keyed, keys = fact.data["key_hash"], account.catalog.keys
    if keyed in keys:
        fact.differ("key_hash", "that of a new key", keyed)
    keys.add(keyed)


def license_activated(account: Account, fact: Fact) -> Place:
    """Take a device, for which there is a place."""
    data = fact.data
    license = license_of(account, fact, data["license"])
    if license is None:
        return _nowhere(fact)
    device = data["device"]
    components = data.get("components", {})
    if fact.command != device:
        fact.differ("command", device, fact.command)
    if any(known["id"] == device for known in license.devices):
        fact.differ("device", "an id that is new", device)
    _check_allowed(fact, why_not_activate(license, fact.at))
    bound = license.say("hardware")
    if bound is not None and len(components) < bound["required"]:
        fact.differ("components", f"at least {bound['required']}", len(components))
    holder = data.get("holder")
    license.devices.append({"components": components, "holder": holder, "id": device})
    return _next(license)


def why_not_activate(license: License, at: int) -> Why:
    """Say why no further device may be activated."""
    why = standing(license, at)
    if why is not None:
        return why
    if license.deployment == "saas":
        return no(license, "license_channel_denied", {"channel": "on_premise"})
    places = license.say("devices")
    if len(license.devices) >= places:
        return no(license, "license_devices_taken", {"devices": places})
    return None


def license_deactivated(account: Account, fact: Fact) -> Place:
    """Let a device go."""
    license = license_of(account, fact, fact.data["license"])
    if license is None:
        return _nowhere(fact)
    device = fact.data["device"]
    _check_allowed(fact, why_not_deactivate(license, device))
    license.devices = [known for known in license.devices if known["id"] != device]
    return _next(license)


def why_not_deactivate(license: License, device: str) -> Why:
    """Say that a device is not there to be let go."""
    if any(known["id"] == device for known in license.devices):
        return None
    return no(license, "license_device_unknown", {"device": device})


def license_renewed(account: Account, fact: Fact) -> Place:
    """Give a licence a later end; one whose end was booked is active again."""
    data = fact.data
    license = license_of(account, fact, data["license"])
    if license is None:
        return _nowhere(fact)
    _check_allowed(fact, why_not_any_more(license))
    expires_at = parse_instant(data["expires_at"])
    earliest = fact.at if license.expires_at == NEVER else max(fact.at, license.expires_at)
    if expires_at <= earliest:
        fact.differ("expires_at", f"after {format_instant(earliest)}", data["expires_at"])
    license.expires_at = expires_at
    license.maintenance_until = parse_instant(data["maintenance_until"])
    license.reference = data.get("reference", license.reference)
    if license.status == "expired":
        license.become("active", fact.at)
    return _next(license)


def why_not_any_more(license: License) -> Why:
    """Say that a licence was revoked: nothing becomes of it any more."""
    if license.status != "revoked":
        return None
    return no(license, "license_revoked", {"revoked_at": format_instant(license.since)})


def license_upgraded(account: Account, fact: Fact) -> Place:
    """Put a licence on a template as it is now, with new overrides."""
    data = fact.data
    license = license_of(account, fact, data["license"])
    if license is None:
        return _nowhere(fact)
    _check_allowed(fact, why_not_any_more(license))
    license.template = data.get("template", license.template)
    _check_policy(account, fact, license.template)
    license.deployment = data.get("deployment", license.deployment)
    if license.deployment not in DEPLOYMENTS:
        fact.differ("deployment", " or ".join(DEPLOYMENTS), license.deployment)
    license.template_version = data["template_version"]
    license.revision += 1
    license.provenance = data["provenance"]
    license.put_on(data["policy"], fact.at + 1)
    return _next(license)


def license_suspended(account: Account, fact: Fact) -> Place:
    """Stop a licence."""
    return _stand(account, fact, "suspended")


def license_reinstated(account: Account, fact: Fact) -> Place:
    """Let a suspended licence admit again."""
    return _stand(account, fact, "active")


def license_revoked(account: Account, fact: Fact) -> Place:
    """End a licence for ever: what was counted and leased is forgotten."""
    place = _stand(account, fact, "revoked")
    license = account.licenses.get(fact.data["license"])
    if license is not None:
        license.counts, license.leases = [], []
    return place


def license_expired(account: Account, fact: Fact) -> Place:
    """Book the end of a licence."""
    return _stand(account, fact, "expired")


def _stand(account: Account, fact: Fact, status: str) -> Place:
    license = license_of(account, fact, fact.data["license"])
    if license is None:
        return _nowhere(fact)
    _check_allowed(fact, why_not_become(license, status, fact.at))
    keeps = status in ("suspended", "revoked")
    license.become(status, fact.at, fact.data["reason"] if keeps else "")
    return _next(license)


def why_not_become(license: License, status: str, at: int) -> Why:
    """Say why a licence cannot have another standing."""
    if status == "expired":
        due = license.status == "active" and at >= license.ends_at()
        return None if due else no(license, "license_not_expired", {})
    if license.status == "revoked" or (license.status == status == "suspended"):
        return standing(license, at)
    if status == "active" and license.status != "suspended":
        return no(license, "license_not_suspended", {})
    return None


def license_key_rotated(account: Account, fact: Fact) -> Place:
    """Take a new key; the older ones are good for the overlap, and no longer than they were."""
    data, at = fact.data, fact.at
    license = license_of(account, fact, data["license"])
    if license is None:
        return _nowhere(fact)
    _check_allowed(fact, why_not_any_more(license))
    overlap, good = data["overlap_seconds"], [key for key in license.keys if key.ends_at > at]
    if not 0 <= overlap <= OVERLAP_MAX_SECONDS:
        fact.differ("overlap_seconds", f"0 to {OVERLAP_MAX_SECONDS}", overlap)
    if overlap and len(good) >= KEYS_MAX:
        fact.differ("overlap_seconds", f"0 while {KEYS_MAX} keys are good", overlap)
    _check_key(account, fact)
    for key in good:
        key.ends_at = min(key.ends_at, at + overlap * SECOND)
    kept = [key for key in good if key.ends_at > at]
    license.keys = [*kept, Key(data["key_hash"], data["key_hint"])]
    return _next(license)


def _check_allowed(fact: Fact, why: Why) -> None:
    if why is not None:
        fact.differ("license", f"refused: {why[0]}", fact.data["license"])


def _next(license: License) -> Place:
    license.version += 1
    return f"license-{license.id}", license.version


def _nowhere(fact: Fact) -> Place:
    return f"license-{fact.data['license']}", 0


def license_states(accounts: dict[str, Account]) -> list[tuple[str, dict[str, Any]]]:
    """Return each licence in the form of docs/formats/state.md, in order of id."""
    every = [
        (name, license.state())
        for account in accounts.values()
        for name, license in account.licenses.items()
    ]
    return sorted(every, key=lambda each: each[0])
