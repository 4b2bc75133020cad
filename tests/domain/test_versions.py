"""Version rules: locked to a number, rolling, pinned, in the maintenance window; and yanked."""

from typing import Any

import pytest

from domain.outcomes import Refusal
from domain.registry import Model, unregistered
from tests.domain.examples import DAY, NOON
from tests.domain.licensed import asked, code, licence, registered, version

MODELS = registered(
    version("3.9.9", NOON - 400 * DAY),
    version("4.0.0", NOON - 1),
    version("4.1.0-rc.1", NOON),
    version("4.1.0", NOON + 1),
    version("4.2.0", NOON - DAY, yanked_at=NOON),
    version("40.0.0", NOON - DAY),
)


def run(
    rule: dict[str, Any] | None, name: Any, known: Model | None = MODELS, until: int = NOON
) -> Refusal | None:
    """Ask a licence with a rule, or none, for a version, or none."""
    policy = {"models": ["*"]} if rule is None else {"models": ["*"], "versions": rule}
    facts = {} if name is None else {"model_version": name}
    return asked(licence(policy, maintenance_until=until), facts, known=known)


MAJOR = {"rule": "major", "major": 4}
ROLLING = {"rule": "rolling"}
PINNED = {"rule": "pinned", "version": "4.1.0"}
MAINTENANCE = {"rule": "maintenance", "months": 12}


@pytest.mark.parametrize(
    ("rule", "admitted"),
    [
        (MAJOR, {"4.0.0", "4.1.0-rc.1", "4.1.0"}),
        ({"rule": "major", "major": 40}, {"40.0.0"}),
        ({"rule": "major", "major": 0}, set()),
        (ROLLING, {"3.9.9", "4.0.0", "4.1.0-rc.1", "4.1.0", "40.0.0"}),
        (PINNED, {"4.1.0"}),
        ({"rule": "pinned", "version": "4.1.0-rc.1"}, {"4.1.0-rc.1"}),
        ({"rule": "pinned", "version": "4.2.0"}, set()),
        (MAINTENANCE, {"3.9.9", "4.0.0", "4.1.0-rc.1", "40.0.0"}),
        (None, {"3.9.9", "4.0.0", "4.1.0-rc.1", "4.1.0", "40.0.0", "9.9.9"}),
    ],
)
def test_a_rule_admits_these_versions_and_no_other(
    rule: dict[str, Any] | None, admitted: set[str]
) -> None:
    names = {*MODELS.versions, "9.9.9"}
    assert {name for name in names if run(rule, name) is None} == admitted


@pytest.mark.parametrize("rule", [MAJOR, ROLLING, PINNED, MAINTENANCE])
def test_with_a_rule_the_version_must_be_named_and_known(rule: dict[str, Any]) -> None:
    unnamed = run(rule, None)
    assert unnamed is not None
    assert unnamed.code == "license_version_denied"
    assert unnamed.facts["fact"] == "model_version"
    for known in (None, unregistered("gpt-4"), registered()):
        refusal = run(rule, "4.1.0", known)
        assert refusal is not None
        assert refusal.facts["version"] == "4.1.0"


def test_without_a_rule_only_a_yanked_version_is_refused() -> None:
    assert run(None, None) is None
    assert run(None, "9.9.9", None) is None
    assert run(None, "9.9.9", unregistered("gpt-4")) is None
    assert code(run(None, "4.2.0")) == "license_version_denied"


@pytest.mark.parametrize(
    ("until", "expected"), [(NOON, "license_version_denied"), (NOON + 1, None)]
)
def test_the_maintenance_window_includes_its_last_instant(until: int, expected: str | None) -> None:
    assert code(run(MAINTENANCE, "4.1.0", until=until)) == expected


def test_a_version_without_a_rule_must_be_known_as_well_as_the_policy_says() -> None:
    license = licence({"models": ["*"], "provenance": {"model_version": "attested"}})
    assert asked(license, {}) is None
    assert code(asked(license, {"model_version": "4.1.0"})) == "license_version_denied"
    attested = {"model_version": {"value": "4.1.0", "from": "attested"}}
    assert asked(license, attested) is None
