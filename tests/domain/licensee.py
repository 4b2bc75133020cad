"""A customer with licences, driven through the pure rules: commands in, facts or a refusal out."""

from collections.abc import Callable
from typing import Any

from domain import leasing, license_life
from domain.admission import Around
from domain.command import Command
from domain.commands import Extend, Reserve
from domain.event import Event
from domain.license import License, evolve
from domain.license_commands import (
    ActivateLicense,
    DeactivateLicense,
    ExpireLicense,
    IssueLicense,
    LeaseSeat,
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
from domain.license_events import OF_LICENSE, LeaseRenewed, LicenseValidated, SeatLeased
from domain.license_life import Template
from domain.license_use import rooms
from domain.licensing import Licensed, decide_validate
from domain.outcomes import Decision, Refusal
from domain.policy import policy_from_wire
from domain.reserving import decide_extend, decide_reserve
from tests.domain.account import CUSTOMER, Account
from tests.domain.examples import ALWAYS, EVERYTHING, NOON, price_book, version_of

MODEL = "everything"
LICENSE = "lic"
KEY, NEW_KEY = "a" * 32, "b" * 32
HOLDER = "0" * 64

_LIFE: dict[type[Command], Callable[..., Decision]] = {
    ActivateLicense: license_life.decide_activate,
    DeactivateLicense: license_life.decide_deactivate,
    RenewLicense: license_life.decide_renew,
    SuspendLicense: license_life.decide_suspend,
    ReinstateLicense: license_life.decide_reinstate,
    RevokeLicense: license_life.decide_revoke,
    ExpireLicense: license_life.decide_expire,
    RotateLicenseKey: license_life.decide_rotate,
}
_USE: dict[type[Command], Callable[..., Decision]] = {
    ValidateLicense: decide_validate,
    LeaseSeat: leasing.decide_lease,
    RenewLease: leasing.decide_renew_lease,
    ReturnLease: leasing.decide_return,
}


class Licensee(Account):
    """A customer with money enough, and the licences that they are issued."""

    def __init__(self, *, now: int = NOON, **terms: Any) -> None:
        """Create the customer; terms are fields of `CreateCustomer`."""
        self.licenses: dict[str, License] = {}
        self.around = Around(None, frozenset())
        book = price_book(version_of(ALWAYS, EVERYTHING))
        super().__init__(book, **{"credit_limit": 10**18, **terms})
        self.now = now

    def licensed(self, name: str = LICENSE) -> Licensed:
        """Return what a decision under a licence looks at."""
        customer = self.balance.customer
        assert customer is not None
        use = self.balance.uses.get(name)
        return Licensed(self.licenses[name], use, self.around, customer.time_zone)

    def _decide(self, command: Command) -> Decision:
        kind: Any = type(command)
        if isinstance(command, Reserve) and command.license is not None:
            under = self.licensed(command.license)
            return decide_reserve(self.balance, self.book, command, self.now, under)
        if isinstance(command, Extend):
            held = self.reservations[command.reservation]
            licensed = None if held.license is None else self.licensed(held.license)
            return decide_extend(self.balance, held, self.book, command, self.now, licensed)
        if isinstance(command, IssueLicense | UpgradeLicense):
            return self._put_on_policy(command)
        if kind in _LIFE:
            return _LIFE[kind](self._license(command), command, self.now)
        if kind in _USE:
            under = self.licensed(self._license(command).id)
            return _USE[kind](under, command, self.now)
        return super()._decide(command)

    def _has(self, license: str | None) -> bool:
        return license is None or license in self.licenses

    def _license(self, command: Any) -> License:
        return self.licenses[command.license]

    def _put_on_policy(self, command: IssueLicense | UpgradeLicense) -> Decision:
        """Decide what puts a policy together; every template of these tests admits any model."""
        template = Template(command.template or "open", 3, policy_from_wire({"models": ["*"]}))
        policy = license_life.effective(template, command.overrides)
        if isinstance(command, IssueLicense):
            return license_life.decide_issue(command, template, policy, {}, self.now)
        license = self._license(command)
        return license_life.decide_upgrade(license, command, template, policy, {}, self.now)

    def _apply(self, fact: Event, command: str) -> None:
        super()._apply(fact, command)
        if isinstance(fact, OF_LICENSE):
            state = evolve(self.licenses.get(fact.license), fact, self.now)
            assert state is not None
            self.licenses[fact.license] = state

    # --- in a few words -------------------------------------------------------------------------

    def issue(self, name: str = LICENSE, **fields: Any) -> License:
        """Issue a licence; whatever is no field of the command is one of the policy."""
        own = {field: fields.pop(field) for field in _OWN & fields.keys()}
        body = {"template": "open", "key_hash": KEY, "key_hint": "abcd", **own}
        self.fact(IssueLicense(id=name, customer=CUSTOMER, overrides=fields, **body))
        return self.licenses[name]

    def upgrade(self, **policy: Any) -> None:
        """Change the policy to these overrides."""
        self.fact(UpgradeLicense(id=self._id(), license=LICENSE, overrides=policy))

    def life(self, kind: Any, **fields: Any) -> Decision:
        """Run a command of the licence's life."""
        return self.run(kind(**{"id": self._id(), "license": LICENSE, **fields}))

    def hold(self, name: str, estimate: dict[str, Any] | None = None, **fields: Any) -> Decision:
        """Reserve under the licence."""
        body = {"customer": CUSTOMER, "model": MODEL, "license": LICENSE, **fields}
        return self.run(Reserve(id=name, estimate=estimate or {}, **body))

    def validate(self, usage: dict[str, Any] | None = None, **fields: Any) -> Decision:
        """Validate and meter without money."""
        body = {"license": LICENSE, "model": MODEL, "usage": usage, **fields}
        return self.run(ValidateLicense(id=self._id(), **body))

    def valid(self, usage: dict[str, Any] | None = None, **fields: Any) -> LicenseValidated:
        """Validate what must be admitted."""
        (fact,) = admitted(self.validate(usage, **fields))
        assert isinstance(fact, LicenseValidated)
        return fact

    def lease(self, name: str, **fields: Any) -> Decision:
        """Take a seat."""
        body = {"license": LICENSE, "model": MODEL, "holder": HOLDER, **fields}
        return self.run(LeaseSeat(id=name, **body))

    def leased(self, name: str, **fields: Any) -> SeatLeased:
        """Take a seat that must be free."""
        (fact,) = admitted(self.lease(name, **fields))
        assert isinstance(fact, SeatLeased)
        return fact

    def renew_lease(self, name: str, **fields: Any) -> Decision:
        """Renew a lease."""
        return self.run(RenewLease(id=self._id(), license=LICENSE, lease=name, **fields))

    def renewed(self, name: str) -> LeaseRenewed:
        """Renew a lease that must be live."""
        (fact,) = admitted(self.renew_lease(name))
        assert isinstance(fact, LeaseRenewed)
        return fact

    def give_back(self, name: str) -> Decision:
        """Return a lease."""
        return self.run(ReturnLease(id=self._id(), license=LICENSE, lease=name))

    def used(self, limit: str = "l") -> int:
        """Return what counts against a limit now."""
        return self._figures(limit)[0]

    def resets_at(self, limit: str = "l") -> int:
        """Return when a limit's present window ends."""
        return self._figures(limit)[1]

    def _figures(self, limit: str) -> tuple[int, int]:
        under = self.licensed()
        left = rooms(under.use, MODEL, {}, self.now, under.time_zone, new=False)
        (figures,) = [(used, ends) for each, used, _, ends in left if each.id == limit]
        return figures


_OWN = {*("template", "deployment", "reference", "starts_at", "expires_at"), "key_hash"}


def admitted(decision: Decision) -> tuple[Event, ...]:
    """Insist that a rule did not refuse."""
    assert not isinstance(decision, Refusal), decision
    return decision


def code(decision: Decision) -> str:
    """Return the code of a refusal, or `done`."""
    return decision.code if isinstance(decision, Refusal) else "done"


def limit(most: int | str, per: str = "total", unit: str = "requests", **more: Any) -> Any:
    """Return the policy's field of one limit, `l`."""
    return [{"id": "l", "unit": unit, "limit": most, "per": per, **more}]
