"""Licences and requests for the tables of the licence tests: one that binds to everything."""

from typing import Any

from domain.admission import Around, Request, denial
from domain.allocation import NEVER
from domain.facts import facts_from_wire
from domain.license import Device, License, LicenseKey
from domain.outcomes import Refusal
from domain.policy import policy_from_wire
from domain.registry import Model, ModelVersion
from tests.domain.examples import DAY, NOON

KEY, OTHER_KEY = "a" * 32, "b" * 32
CPU, DISK, BOARD = "1" * 32, "2" * 32, "3" * 32
OPEN: dict[str, Any] = {"models": ["*"]}
"""A policy that binds to nothing."""

BOUND: dict[str, Any] = {
    "models": ["gpt-*", "ocr"],
    "features": ["batch"],
    "watermark": "required",
    "versions": {"rule": "major", "major": 4},
    "hardware": {"required": 2},
    "gpus": ["GPU-1", "GPU-2"],
    "cloud_accounts": ["111122223333"],
    "domains": ["app.example.com", "*.example.org"],
    "networks": ["192.0.2.0/24", "2001:db8::/32"],
    "regions": {"allow": ["eu-*"], "deny": ["eu-north-1"]},
    "countries": {"deny": ["KP"]},
    "grace_seconds": 60,
}
"""A policy that looks at everything."""

FITTING: dict[str, Any] = {
    "channel": "on_premise",
    "features": ["batch"],
    "model_version": "4.1.0",
    "watermark": "applied",
    "hardware": {"cpu": CPU, "disk": DISK},
    "device": "box",
    "gpus": ["GPU-1"],
    "cloud_account": "111122223333",
    "domain": "app.example.com",
    "address": {"value": "192.0.2.7", "from": "observed"},
    "region": "eu-west-1",
    "country": "DE",
}
"""Facts with which it admits."""

DEVICE = Device("box", {"cpu": CPU, "disk": DISK, "board": BOARD}, None)
RELEASED = NOON - 30 * DAY


def licence(policy: dict[str, Any] | None = None, **fields: Any) -> License:
    """Return a licence with a policy as it travels; fields replace those of the example."""
    example = License(
        id="lic",
        customer="acme",
        deployment="on_premise",
        template="enterprise",
        template_version=2,
        revision=1,
        policy=policy_from_wire(BOUND if policy is None else policy),
        reference=None,
        issued_at=NOON - DAY,
        starts_at=NOON - DAY,
        expires_at=NOON + DAY,
        maintenance_until=NOON,
        status="active",
        since=NOON - DAY,
        reason="",
        keys=(LicenseKey(KEY, "abcd", NEVER),),
        devices=(DEVICE,),
        provenance={},
        version=1,
    )
    return example._replace(**fields)


def version(name: str, released_at: int = RELEASED, yanked_at: int | None = None) -> ModelVersion:
    """Return a version in the registry."""
    return ModelVersion(name, released_at, None, yanked_at, None, ())


def registered(*versions: ModelVersion) -> Model:
    """Return the registry's entry of the model that the examples ask for."""
    return Model("gpt-4", {each.version: each for each in versions}, 1 + len(versions))


KNOWN = registered(version("4.1.0"), version("4.2.0", yanked_at=NOON - 1), version("5.0.0"))


def asked(
    license: License,
    facts: dict[str, Any] | None = None,
    *,
    model: str = "gpt-4",
    key: str | None = KEY,
    now: int = NOON,
    channel: str = "on_premise",
    known: Model | None = KNOWN,
    export_denied: frozenset[str] = frozenset(),
) -> Refusal | None:
    """Ask a licence for a request with facts as they travel."""
    given = facts_from_wire(FITTING if facts is None else facts)
    request = Request(model, given, key, now, channel)
    return denial(license, request, Around(known, export_denied))


def code(refusal: Refusal | None) -> str | None:
    """Return the code of a refusal, if it is one."""
    return None if refusal is None else refusal.code


def fact(**facts: Any) -> dict[str, Any]:
    """Return the fitting facts with others; None leaves one out."""
    return {name: each for name, each in {**FITTING, **facts}.items() if each is not None}


def policy(**fields: Any) -> dict[str, Any]:
    """Return the policy that looks at everything with other fields; None gives one up."""
    return {name: each for name, each in {**BOUND, **fields}.items() if each is not None}
