"""Policies: how they are read and written, what is refused by its name, templates and overrides."""

import json
from typing import Any

import pytest
from hypothesis import given
from pydantic import TypeAdapter, ValidationError

from domain.places import Bounds
from domain.policy import (
    Limit,
    OverridesBody,
    Policy,
    PolicyBody,
    VersionRule,
    fits,
    merged,
    overrides_from_wire,
    policy_from_wire,
    policy_to_wire,
)
from domain.policy_schema import FIELD_SCHEMAS
from domain.tiers import TEMPLATES
from tests.domain.licensed import BOUND
from tests.model.license_inputs import override_bodies, policy_bodies

ADAPTER: TypeAdapter[Any] = TypeAdapter(PolicyBody)
OVERRIDES: TypeAdapter[Any] = TypeAdapter(OverridesBody)

PLAIN = Policy(
    models=("m",),
    features=(),
    priority=5,
    pool="shared",
    watermark="none",
    limits=(),
    seats=0,
    devices=0,
    lease_seconds=300,
    borrow_seconds=0,
    grace_seconds=0,
    versions=None,
    hardware=None,
    gpus=None,
    cloud_accounts=None,
    domains=None,
    networks=None,
    regions=None,
    countries=None,
    provenance={},
)


def in_order(value: Any) -> bool:
    """Say whether the keys of every object stand in order."""
    if isinstance(value, dict):
        return list(value) == sorted(value) and all(map(in_order, value.values()))
    return not isinstance(value, list) or all(map(in_order, value))


def test_what_is_absent_is_what_the_document_says() -> None:
    assert policy_from_wire({"models": ["m"]}) == PLAIN
    assert policy_to_wire(PLAIN) == {"models": ["m"]}


def test_defaults_that_are_written_out_are_left_out_again() -> None:
    body = {
        "models": ["m"],
        "features": [],
        "priority": 5,
        "pool": "shared",
        "watermark": "none",
        "limits": [],
        "lease_seconds": 300,
        "versions": None,
        "gpus": None,
        "provenance": {},
    }
    assert policy_to_wire(policy_from_wire(body)) == {"models": ["m"]}


def test_an_empty_list_that_binds_is_kept() -> None:
    body = {
        "models": [],
        "gpus": [],
        "domains": [],
        "countries": {},
        "regions": {"allow": [], "deny": []},
    }
    policy = policy_from_wire(body)
    assert (policy.gpus, policy.domains) == ((), ())
    assert (policy.regions, policy.countries) == (Bounds((), ()), Bounds(None, ()))
    assert policy_to_wire(policy) == {**body, "regions": {"allow": []}}


def test_fields_become_what_the_checks_look_at() -> None:
    policy = policy_from_wire(
        {
            "models": ["m"],
            "limits": [{"id": "a", "unit": "gpu_seconds", "limit": "1.5", "per": "day"}],
            "versions": {"rule": "maintenance", "months": 12},
            "hardware": {"required": 3},
            "domains": ["*.Example.COM."],
            "networks": ["2001:DB8::/32"],
        }
    )
    assert policy.limits == (Limit("a", "gpu_seconds", 1_500_000, "day", None),)
    assert policy.versions == VersionRule("maintenance", None, None, 12)
    assert policy.hardware == 3
    assert (policy.domains, policy.networks) == (("*.example.com",), ("2001:db8::/32",))


@given(policy_bodies())
def test_a_policy_is_read_as_it_was_written(body: dict[str, Any]) -> None:
    policy = policy_from_wire(body)
    written = policy_to_wire(policy)
    assert policy_from_wire(written) == policy
    assert json.dumps(policy_to_wire(policy_from_wire(written))) == json.dumps(written)
    assert in_order(written)
    assert written.keys() <= body.keys()
    assert ADAPTER.validate_json(ADAPTER.dump_json(policy)) == policy
    assert ADAPTER.validate_python(policy) is policy


@given(policy_bodies(), override_bodies())
def test_each_field_of_a_licence_replaces_that_of_its_template(
    body: dict[str, Any], changes: dict[str, Any]
) -> None:
    together = {name: each for name, each in {**body, **changes}.items() if each is not None}
    template = policy_from_wire(body)
    assert merged(template, changes) == policy_from_wire(together)
    assert template == policy_from_wire(body), "the template stays as it is"


@given(override_bodies())
def test_overrides_have_one_spelling(changes: dict[str, Any]) -> None:
    kept = overrides_from_wire(changes)
    assert kept.keys() == changes.keys()
    assert json.dumps(overrides_from_wire(kept)) == json.dumps(kept)
    assert in_order(kept)
    assert OVERRIDES.validate_json(OVERRIDES.dump_json(kept)) == kept


def test_an_override_to_the_default_is_not_lost() -> None:
    template = policy_from_wire({"models": ["m"], "priority": 1, "features": ["a"], "gpus": ["g"]})
    changes = {"priority": 5, "features": [], "gpus": None}
    assert overrides_from_wire(changes) == changes
    assert merged(template, changes) == PLAIN
    assert merged(template, {}) == template


IDS = [f"id-{number}" for number in range(101)]
LIMIT: dict[str, Any] = {"id": "a", "unit": "requests", "limit": 1, "per": "day"}

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"planet": 1}, "a policy has no field 'planet'"),
    ({"Models": ["*"]}, "a policy has no field 'Models'"),
    ({"models": "m"}, "a policy's models must be a list of 0 to 100"),
    ({"models": IDS}, "a policy's models must be a list of 0 to 100"),
    ({"models": ["a*b"]}, "a policy's models must be a list in which each must be the name"),
    ({"models": ["**"]}, "models must be a list in which each"),
    ({"models": ["m\n"]}, "models must be a list in which each"),
    ({"features": IDS}, "a policy's features must be a list of 0 to 100"),
    ({"features": ["a b"]}, "a policy's features must be a list in which each"),
    ({"priority": 0}, "a policy's priority must be a whole number between 1 and 9"),
    ({"priority": 10}, "a policy's priority must be"),
    ({"priority": True}, "a policy's priority must be"),
    ({"priority": 5.0}, "a policy's priority must be"),
    ({"priority": "5"}, "a policy's priority must be"),
    ({"pool": ""}, "a policy's pool must be 1 to 128"),
    ({"watermark": "maybe"}, "a policy's watermark must be one of none, required"),
    ({"limits": [LIMIT] * 2}, "a policy's limits must name each id once"),
    ({"limits": [{**LIMIT, "id": each} for each in IDS[:21]]}, "limits must be a list of 0 to 20"),
    ({"limits": [7]}, "a limit must be an object"),
    ({"limits": [{}]}, "a limit's id must be"),
    ({"limits": [{**LIMIT, "cap": 1}]}, "a limit has no field 'cap'"),
    ({"limits": [{**LIMIT, "unit": "words"}]}, "a limit's unit must be one of"),
    ({"limits": [{**LIMIT, "limit": -1}]}, "a limit's limit of requests must lie between"),
    ({"limits": [{**LIMIT, "limit": 1.5}]}, "a limit's limit of requests must be a whole number"),
    ({"limits": [{**LIMIT, "limit": None}]}, "a limit's limit of requests must be"),
    ({"limits": [{**LIMIT, "limit": 10**15 + 1}]}, "a limit's limit of requests must lie between"),
    ({"limits": [{**LIMIT, "unit": "gpu_seconds"}]}, "a limit's limit of gpu_seconds must be"),
    ({"limits": [{**LIMIT, "per": "month"}]}, "a limit's per must be one of second, minute, day"),
    ({"limits": [{**LIMIT, "models": []}]}, "a limit's models must be a list of 1 to 100"),
    ({"limits": [{**LIMIT, "models": ["a b"]}]}, "a limit's models must be a list in which"),
    ({"seats": 1_001}, "a policy's seats must be a whole number between 0 and 1000"),
    ({"devices": 1_001}, "a policy's devices must be a whole number between 0 and 1000"),
    ({"lease_seconds": 59}, "a policy's lease_seconds must be a whole number between 60 and 300"),
    ({"lease_seconds": 301}, "a policy's lease_seconds must be"),
    ({"borrow_seconds": 2_678_401}, "a policy's borrow_seconds must be"),
    ({"grace_seconds": 31_536_001}, "a policy's grace_seconds must be"),
    ({"versions": "rolling"}, "versions must be an object"),
    ({"versions": {}}, "versions.rule must be one of"),
    ({"versions": {"rule": "newest"}}, "versions.rule must be one of"),
    ({"versions": {"rule": "rolling", "major": 1}}, "versions must be without major"),
    ({"versions": {"rule": "major", "major": 1, "months": 1}}, "versions must be without months"),
    ({"versions": {"rule": "major"}}, "versions.major must be"),
    ({"versions": {"rule": "major", "major": -1}}, "versions.major must be"),
    ({"versions": {"rule": "major", "major": "4"}}, "versions.major must be"),
    ({"versions": {"rule": "pinned", "version": "4"}}, "versions.version must be a version"),
    ({"versions": {"rule": "maintenance", "months": 0}}, "versions.months must be"),
    ({"versions": {"rule": "maintenance", "months": 121}}, "versions.months must be"),
    ({"versions": {"rule": "rolling", "x": 1}}, "versions has no field 'x'"),
    ({"hardware": 2}, "hardware must be an object"),
    ({"hardware": {}}, "hardware.required must be"),
    ({"hardware": {"required": 0}}, "hardware.required must be"),
    ({"hardware": {"required": 17}}, "hardware.required must be"),
    ({"gpus": IDS}, "a policy's gpus must be a list of 0 to 100"),
    ({"gpus": "GPU-1"}, "a policy's gpus must be a list"),
    ({"cloud_accounts": [111122223333]}, "a policy's cloud_accounts must be a list in which"),
    ({"domains": ["*"]}, "a policy's domains must be a list in which each must be a domain"),
    ({"networks": ["10.0.0.1/8"]}, "a policy's networks must be a list in which each must be a"),
    ({"regions": ["eu"]}, "regions must be an object"),
    ({"regions": {"only": ["eu"]}}, "regions has no field 'only'"),
    ({"regions": {"allow": ["e*u"]}}, "regions.allow must be a list in which each"),
    ({"regions": {"deny": [f"r{number}" for number in range(301)]}}, "regions.deny must be a list"),
    ({"countries": {"allow": ["Germany"]}}, "countries.allow must be a list in which each"),
    ({"countries": {"deny": ["de"]}}, "countries.deny must be a list in which each"),
    ({"countries": {"deny": ["D*"]}}, "countries.deny must be a list in which each"),
    ({"provenance": {"planet": "signed"}}, "provenance has no field 'planet'"),
    ({"provenance": {"region": "proven"}}, "provenance.region must be one of declared"),
    ({"provenance": "signed"}, "provenance must be an object"),
]


@pytest.mark.parametrize(("fields", "sentence"), WRONG)
def test_what_is_no_policy_is_refused_by_its_name(fields: dict[str, Any], sentence: str) -> None:
    for read, body in (
        (policy_from_wire, {"models": ["*"], **fields}),
        (overrides_from_wire, fields),
    ):
        with pytest.raises(ValueError) as refused:
            read(body)
        assert sentence in str(refused.value)


def test_every_field_has_its_row_of_wrong_values() -> None:
    assert {name for fields, _ in WRONG for name in fields} >= set(Policy._fields)


@pytest.mark.parametrize("body", [None, [], "enterprise", 7, True])
def test_a_policy_is_an_object(body: Any) -> None:
    for read in (policy_from_wire, overrides_from_wire):
        with pytest.raises(ValueError, match="a policy must be an object"):
            read(body)


@pytest.mark.parametrize("body", [{}, {"models": None}, {"priority": 1}])
def test_a_policy_names_its_models(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a policy must name its models"):
        policy_from_wire(body)
    if "models" in body:
        with pytest.raises(ValueError, match="a policy must name its models"):
            overrides_from_wire(body)


def test_pydantic_says_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match="a policy's seats must be a whole number"):
        ADAPTER.validate_json('{"models": ["*"], "seats": "many"}')
    with pytest.raises(ValidationError, match="a policy has no field 'x'"):
        OVERRIDES.validate_json('{"x": null}')


@pytest.mark.parametrize(
    ("names", "model", "expected"),
    [
        (("*",), "anything", True),
        (("gpt-4",), "gpt-4", True),
        (("gpt-4",), "gpt-4o", False),
        (("gpt-4",), "GPT-4", False),
        (("gpt-*",), "gpt-", True),
        (("gpt-*",), "gpt", False),
        (("gpt-*",), "my/gpt-4", False),
        (("org/*",), "org/a/b@1", True),
        (("ocr", "gpt-*", "x"), "gpt-4", True),
        ((), "gpt-4", False),
        (None, "gpt-4", True),
    ],
)
def test_a_name_fits_itself_and_what_its_star_ends(
    names: tuple[str, ...] | None, model: str, expected: bool
) -> None:
    assert fits(names, model) is expected


def test_the_schema_names_the_same_fields() -> None:
    assert tuple(FIELD_SCHEMAS) == Policy._fields
    assert set(BOUND) <= set(FIELD_SCHEMAS)


def test_the_three_tiers_go_from_less_to_more() -> None:
    free, professional, enterprise = TEMPLATES.values()
    assert list(TEMPLATES) == ["free", "professional", "enterprise"]
    assert free.priority > professional.priority > enterprise.priority
    assert free.seats < professional.seats < enterprise.seats
    assert free.watermark == "required"
    assert set(free.features) < set(professional.features) < set(enterprise.features)
    for policy in TEMPLATES.values():
        assert policy_from_wire(policy_to_wire(policy)) == policy
