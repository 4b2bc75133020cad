"""Which rule decides a command about a licence, and what its checks look at besides."""

from collections.abc import Callable
from typing import Any

from tollbook.errors import NotFound

from application.draft import Draft
from domain import leasing, license_life
from domain.admission import Around
from domain.balance import Balance
from domain.command import Command
from domain.facts import Facts
from domain.license import License
from domain.license_commands import (
    LICENSE_COMMANDS,
    ActivateLicense,
    DeactivateLicense,
    ExpireLicense,
    IssueLicense,
    LeaseSeat,
    PublishPolicy,
    ReinstateLicense,
    RenewLease,
    RenewLicense,
    ReturnLease,
    RevokeLicense,
    RotateLicenseKey,
    SuspendLicense,
    UpgradeLicense,
    ValidateLicense,
)
from domain.license_events import PolicyPublished
from domain.license_life import Template
from domain.licensing import Licensed, decide_validate
from domain.outcomes import Decision
from domain.policy import Policy
from domain.registry import provenance_hash

ON_LICENSES: tuple[Any, ...] = tuple(
    command for command in LICENSE_COMMANDS if command not in (IssueLicense, PublishPolicy)
)
"""Commands on a licence that there is."""

_NO_EXPORTS: frozenset[str] = frozenset()


def license_of(draft: Draft, name: str, customer: str | None = None) -> License:
    """Return a licence, of a customer if one is given; raises NotFound."""
    found = draft.license(name)
    if found is None or customer not in (None, found.customer):
        raise NotFound(f"there is no licence {name}", field="license", value=name)
    return found


def has_license(draft: Draft, name: str | None, customer: str) -> bool:
    """Say whether a usage record names no licence, or one of the customer's."""
    if name is None:
        return True
    found = draft.license(name)
    return found is not None and found.customer == customer


def licensed(
    draft: Draft, balance: Balance, license: License, model: str, facts: Facts | None
) -> Licensed:
    """Gather what a decision under a licence looks at; only what its policy asks for is loaded."""
    policy = license.policy
    registered = None
    if policy.versions is not None or (facts is not None and "model_version" in facts):
        registered = draft.model(model)
    denied = _NO_EXPORTS if policy.countries is None else draft.export_list().countries
    assert balance.customer is not None
    zone = balance.customer.time_zone
    return Licensed(license, balance.uses.get(license.id), Around(registered, denied), zone)


def _template(draft: Draft, name: str) -> Template:
    found = draft.template(name)
    if found is None:
        raise NotFound(f"there is no policy template {name}", field="template", value=name)
    return found


def _provenance(draft: Draft, policy: Policy) -> dict[str, str]:
    """Return the registry's hash of each registered model that a policy names in full."""
    models = (draft.model(name) for name in sorted(policy.models) if not name.endswith("*"))
    return {model.name: provenance_hash(model) for model in models if model.version}


def _issue(draft: Draft, _balance: Balance, command: IssueLicense, now: int) -> Decision:
    template = _template(draft, command.template)
    policy = license_life.effective(template, command.overrides)
    return license_life.decide_issue(command, template, policy, _provenance(draft, policy), now)


def _upgrade(draft: Draft, _balance: Balance, command: UpgradeLicense, now: int) -> Decision:
    license = license_of(draft, command.license)
    template = _template(draft, command.template or license.template)
    policy = license_life.effective(template, command.overrides)
    provenance = _provenance(draft, policy)
    return license_life.decide_upgrade(license, command, template, policy, provenance, now)


def _validate(draft: Draft, balance: Balance, command: ValidateLicense, now: int) -> Decision:
    license = license_of(draft, command.license)
    found = licensed(draft, balance, license, command.model, command.facts)
    return decide_validate(found, command, now)


def _lease(draft: Draft, balance: Balance, command: LeaseSeat, now: int) -> Decision:
    license = license_of(draft, command.license)
    found = licensed(draft, balance, license, command.model, command.facts)
    return leasing.decide_lease(found, command, now)


def _renew_lease(draft: Draft, balance: Balance, command: RenewLease, now: int) -> Decision:
    license = license_of(draft, command.license)
    model = leasing.model_of(balance.uses.get(license.id), command.lease)
    found = licensed(draft, balance, license, model, command.facts)
    return leasing.decide_renew_lease(found, command, now)


def _return_lease(draft: Draft, balance: Balance, command: ReturnLease, now: int) -> Decision:
    license = license_of(draft, command.license)
    return leasing.decide_return(licensed(draft, balance, license, "", None), command, now)


def _of_life(
    decide: Callable[[License, Any, int], Decision],
) -> Callable[[Draft, Balance, Any, int], Decision]:
    """Turn a rule on a licence alone into a handler."""

    def handle(draft: Draft, _balance: Balance, command: Any, now: int) -> Decision:
        return decide(license_of(draft, command.license), command, now)

    return handle


def _publish(draft: Draft, _balance: Balance, command: PublishPolicy, _now: int) -> Decision:
    before = draft.template(command.name)
    version = 1 if before is None else before.version + 1
    return (PolicyPublished(name=command.name, policy=command.policy, version=version),)


LICENSE_RULES: dict[type[Command], Callable[[Draft, Balance, Any, int], Decision]] = {
    IssueLicense: _issue,
    UpgradeLicense: _upgrade,
    ValidateLicense: _validate,
    LeaseSeat: _lease,
    RenewLease: _renew_lease,
    ReturnLease: _return_lease,
    PublishPolicy: _publish,
    ActivateLicense: _of_life(license_life.decide_activate),
    DeactivateLicense: _of_life(license_life.decide_deactivate),
    RenewLicense: _of_life(license_life.decide_renew),
    SuspendLicense: _of_life(license_life.decide_suspend),
    ReinstateLicense: _of_life(license_life.decide_reinstate),
    RevokeLicense: _of_life(license_life.decide_revoke),
    ExpireLicense: _of_life(license_life.decide_expire),
    RotateLicenseKey: _of_life(license_life.decide_rotate),
}
