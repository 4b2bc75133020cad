"""Which versions of a model a licence admits (C10); a yanked one is admitted by none."""

from typing import Any

from domain.facts import Facts, lacking
from domain.license import License
from domain.policy import VersionRule
from domain.registry import Model, ModelVersion


def version_failure(
    license: License, facts: Facts, registered: Model | None
) -> dict[str, Any] | None:
    """Return the facts of a refusal if the version may not run, or None if it may.

    With a rule the version must be known; without one it may be left unnamed.
    """
    rule = license.policy.versions
    if rule is None and "model_version" not in facts:
        return None
    lack = lacking(facts, "model_version", license.policy.provenance)
    if lack is not None:
        return lack
    name = facts["model_version"].value
    found = None if registered is None else registered.versions.get(name)
    if found is None:
        admitted = rule is None
    else:
        admitted = found.yanked_at is None and (rule is None or _follows(rule, found, license))
    return None if admitted else {"version": name}


def _follows(rule: VersionRule, version: ModelVersion, license: License) -> bool:
    if rule.rule == "major":
        return int(version.version.split(".", 1)[0]) == rule.major
    if rule.rule == "pinned":
        return version.version == rule.version
    if rule.rule == "maintenance":
        return version.released_at <= license.maintenance_until
    return rule.rule == "rolling"
