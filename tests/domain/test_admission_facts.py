"""What a licence asks of facts: absent, badly known, wrong, and lists of every length."""

from typing import Any

import pytest

from domain.facts import RANKS
from domain.license import License
from tests.domain.licensed import CPU, DISK, FITTING, OPEN, asked, code, fact, licence, policy

NEEDED = {
    "channel": "license_channel_denied",
    "device": "license_not_activated",
    "features": "license_feature_denied",
    "model_version": "license_version_denied",
    "watermark": "license_watermark_required",
    "hardware": "license_hardware_mismatch",
    "gpus": "license_gpu_mismatch",
    "cloud_account": "license_cloud_mismatch",
    "domain": "license_domain_mismatch",
    "address": "license_address_mismatch",
    "region": "license_region_denied",
    "country": "license_export_denied",
}
OPTIONAL = {"channel", "device", "features"}
"""Facts that are needed only where they are given."""


@pytest.mark.parametrize("name", sorted(NEEDED.keys() - OPTIONAL))
def test_a_fact_that_is_needed_and_absent_is_a_denial(name: str) -> None:
    refusal = asked(licence(), fact(**{name: None}))
    assert refusal is not None
    assert refusal.code == NEEDED[name]
    assert refusal.facts == {
        "license": "lic",
        "policy_version": "enterprise:2:1",
        "absent": True,
        "fact": name,
    }
    assert refusal.detail.endswith(f"the fact {name} is absent")


@pytest.mark.parametrize("name", sorted(OPTIONAL))
def test_a_fact_that_asks_for_more_may_be_absent(name: str) -> None:
    assert asked(licence(), fact(**{name: None})) is None


@pytest.mark.parametrize("least", RANKS)
@pytest.mark.parametrize("given", RANKS)
@pytest.mark.parametrize("name", NEEDED)
def test_a_fact_must_be_known_as_well_as_the_policy_says(name: str, given: str, least: str) -> None:
    value = "192.0.2.7" if name == "address" else FITTING[name]
    refusal = asked(
        licence(policy(provenance={name: least})), fact(**{name: {"value": value, "from": given}})
    )
    if list(RANKS).index(given) >= list(RANKS).index(least):
        assert code(refusal) is None
        return
    assert refusal is not None
    assert refusal.code == NEEDED[name]
    told = {"fact": name, "provenance": given, "least_provenance": least}
    assert refusal.facts == {"license": "lic", "policy_version": "enterprise:2:1", **told}


def test_a_wrong_fact_that_is_badly_known_is_told_as_badly_known() -> None:
    refusal = asked(licence(policy(provenance={"region": "signed"})), fact(region="us-1"))
    assert refusal is not None
    assert refusal.facts["least_provenance"] == "signed"
    assert "region" not in refusal.facts


def test_an_address_must_be_observed_whatever_else_the_policy_says() -> None:
    for given in ({}, {"region": "declared"}):
        refusal = asked(licence(policy(provenance=given)), fact(address="192.0.2.7"))
        assert code(refusal) == "license_address_mismatch"
    trusting = licence(policy(provenance={"address": "declared"}))
    assert asked(trusting, fact(address="192.0.2.7")) is None


@pytest.mark.parametrize(
    ("named", "devices", "expected"),
    [
        ("box", 1, None),
        (None, 1, None),
        ("other", 1, "license_not_activated"),
        ("Box", 1, "license_not_activated"),
        (None, 0, "license_not_activated"),
    ],
)
def test_a_device_must_have_been_activated(
    named: str | None, devices: int, expected: str | None
) -> None:
    license = licence()
    license = license._replace(devices=license.devices[:devices])
    assert code(asked(license, fact(device=named))) == expected


def on_two_devices() -> License:
    """Return a licence with a second device, of other components."""
    license = licence()
    (box,) = license.devices
    twin = box._replace(id="twin", components={"cpu": CPU, "disk": CPU})
    return license._replace(devices=(box, twin))


@pytest.mark.parametrize(
    ("hardware", "device", "expected"),
    [
        ({"cpu": CPU, "disk": DISK}, None, None),
        ({"cpu": CPU, "disk": DISK, "nic": "9" * 32}, None, None),
        ({"cpu": CPU}, None, "license_hardware_mismatch"),
        ({}, None, "license_hardware_mismatch"),
        ({"disk": CPU, "cpu": DISK}, None, "license_hardware_mismatch"),
        ({"cpu": CPU, "disk": CPU}, None, None),
        ({"cpu": CPU, "disk": CPU}, "twin", None),
        ({"cpu": CPU, "disk": CPU}, "box", "license_hardware_mismatch"),
        # One component of each of two devices is not two of one.
        ({"disk": CPU, "board": "3" * 32}, None, "license_hardware_mismatch"),
    ],
)
def test_enough_components_of_one_device_must_be_the_same(
    hardware: dict[str, str], device: str | None, expected: str | None
) -> None:
    assert code(asked(on_two_devices(), fact(hardware=hardware, device=device))) == expected


def test_the_hardware_means_nothing_to_the_api() -> None:
    license = licence(policy(grace_seconds=None), deployment="saas", devices=())
    assert asked(license, fact(channel="api", hardware=None, device="none")) is None


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (["GPU-1"], None),
        (["GPU-2", "GPU-1", "GPU-1"], None),
        ([], "license_gpu_mismatch"),
        (["gpu-1"], "license_gpu_mismatch"),
        (["GPU-1", "GPU-9"], "license_gpu_mismatch"),
    ],
)
def test_every_gpu_in_use_must_be_in_the_list(gpus: list[str], expected: str | None) -> None:
    assert code(asked(licence(), fact(gpus=gpus))) == expected


@pytest.mark.parametrize(
    ("features", "expected"), [([], None), (["batch", "batch"], None), (["Batch"], "Batch")]
)
def test_no_feature_is_asked_for_that_the_policy_does_not_have(
    features: list[str], expected: str | None
) -> None:
    refusal = asked(licence(), fact(features=features))
    assert (None if refusal is None else refusal.facts["feature"]) == expected


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("models", [], "license_model_denied"),
        ("features", [], "license_feature_denied"),
        ("gpus", [], "license_gpu_mismatch"),
        ("cloud_accounts", [], "license_cloud_mismatch"),
        ("domains", [], "license_domain_mismatch"),
        ("networks", [], "license_address_mismatch"),
        ("regions", {"allow": []}, "license_region_denied"),
        ("countries", {"allow": []}, "license_export_denied"),
    ],
)
def test_an_empty_list_fits_nothing(field: str, value: Any, expected: str) -> None:
    assert code(asked(licence(policy(**{field: value})))) == expected


@pytest.mark.parametrize(
    "field", ["gpus", "cloud_accounts", "domains", "networks", "regions", "countries", "hardware"]
)
def test_what_a_policy_does_not_bind_needs_no_fact(field: str) -> None:
    facts = {"gpus": "gpus", "hardware": "hardware", "networks": "address", "countries": "country"}
    name = facts.get(field, field.removesuffix("s"))
    assert asked(licence(), fact(**{name: None})) is not None
    assert asked(licence(policy(**{field: None})), fact(**{name: None})) is None


def test_the_lists_may_be_as_long_as_they_can_be() -> None:
    many = policy(
        models=[f"m{number}-*" for number in range(99)] + ["gpt-*"],
        gpus=[f"GPU-{number}" for number in range(100)],
        domains=[f"*.n{number}.example" for number in range(99)] + ["app.example.com"],
        networks=[f"10.{number}.0.0/16" for number in range(99)] + ["192.0.2.0/24"],
        regions={"allow": [f"r{number}*" for number in range(299)] + ["eu-*"]},
    )
    facts = fact(gpus=[f"GPU-{number}" for number in range(100)])
    assert asked(licence(many), facts) is None
    assert code(asked(licence(many), fact(region="us"))) == "license_region_denied"


def test_the_export_list_holds_for_who_is_bound_to_countries() -> None:
    listed = frozenset({"DE"})
    assert code(asked(licence(), export_denied=listed)) == "license_export_denied"
    assert code(asked(licence(policy(countries={})), export_denied=listed)) is not None
    assert code(asked(licence(policy(countries={"allow": ["DE"]})), export_denied=listed))
    assert asked(licence(policy(countries=None)), export_denied=listed) is None


def test_a_policy_without_bindings_needs_no_fact() -> None:
    assert asked(licence(OPEN, deployment="saas"), {}, channel="api") is None
