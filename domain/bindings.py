"""What a licence is bound to: machines, GPUs, accounts, places (C8, C11).

Each check looks for its fact, then at how well it is known, then at what it says.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from domain.facts import Facts, lacking
from domain.license import Device, License
from domain.places import address_fits, country_within, domain_fits, region_within
from domain.policy import Policy

Failure = tuple[str, dict[str, Any]]
"""The code of a check that fails, and the facts of its refusal."""


def activation_failure(license: License, facts: Facts) -> Failure | None:
    """Check that there is a device, and the one that is named."""
    if license.policy.hardware is None:
        return None
    lack = lacking(facts, "device", license.policy.provenance) if "device" in facts else None
    if lack is None and _devices(license, facts):
        return None
    return "license_not_activated", lack or {}


def _devices(license: License, facts: Facts) -> tuple[Device, ...]:
    named = facts.get("device")
    if named is None:
        return license.devices
    return tuple(device for device in license.devices if device.id == named.value)


def hardware_failure(license: License, facts: Facts) -> Failure | None:
    """Check that enough components of one device are those of its activation."""
    required = license.policy.hardware
    if required is None:
        return None
    lack = lacking(facts, "hardware", license.policy.provenance)
    if lack is None:
        present = facts["hardware"].value.items()
        for device in _devices(license, facts):
            if len(present & device.components.items()) >= required:
                return None
    return "license_hardware_mismatch", lack or {}


def binding_failure(policy: Policy, facts: Facts, export_denied: frozenset[str]) -> Failure | None:
    """Check GPUs, cloud account, domain, address, region and country, in this order."""
    for binding in _BINDINGS:
        allowed = getattr(policy, binding.field)
        if allowed is None:
            continue
        lack = lacking(facts, binding.fact, policy.provenance)
        if lack is not None:
            return binding.code, lack
        value = facts[binding.fact].value
        if not binding.admits(allowed, value, export_denied):
            return binding.code, {binding.fact: value} if binding.shown else {}
    return None


def bound_facts(policy: Policy) -> frozenset[str]:
    """Return the facts that a policy's bindings look at wherever a model runs."""
    bound = (each for each in _BINDINGS if getattr(policy, each.field) is not None)
    return frozenset(each.fact for each in bound)


class _Binding(NamedTuple):
    """A field of a policy that binds, the fact that it looks at, and what fits."""

    field: str
    fact: str
    code: str
    admits: Callable[[Any, Any, frozenset[str]], bool]
    shown: bool
    """Whether the refusal says what the fact was."""


def _all_among(allowed: tuple[str, ...], used: tuple[str, ...]) -> bool:
    return bool(used) and set(used).issubset(allowed)


_BINDINGS = (
    _Binding(
        *("gpus", "gpus", "license_gpu_mismatch"),
        lambda allowed, used, _: _all_among(allowed, used),
        shown=False,
    ),
    _Binding(
        *("cloud_accounts", "cloud_account", "license_cloud_mismatch"),
        lambda allowed, given, _: given in allowed,
        shown=False,
    ),
    _Binding(
        *("domains", "domain", "license_domain_mismatch"),
        lambda allowed, given, _: domain_fits(allowed, given),
        shown=False,
    ),
    _Binding(
        *("networks", "address", "license_address_mismatch"),
        lambda allowed, given, _: address_fits(allowed, given),
        shown=False,
    ),
    _Binding(
        *("regions", "region", "license_region_denied"),
        lambda allowed, given, _: region_within(allowed, given),
        shown=True,
    ),
    _Binding(
        *("countries", "country", "license_export_denied"),
        country_within,
        shown=True,
    ),
)
"""In the order of the checks."""
