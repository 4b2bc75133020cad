"""Refused commands about licences, decided again (docs/formats/licenses.md)."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tollbook.recompute.account import Account
from tollbook.recompute.fact import Fact
from tollbook.recompute.license import License
from tollbook.recompute.license_checks import Ask, Why
from tollbook.recompute.license_seats import (
    ONE_REQUEST,
    asked,
    decide,
    decide_lease,
    why_ended,
    why_not_renew,
)
from tollbook.recompute.licenses import (
    license_of,
    why_not_activate,
    why_not_any_more,
    why_not_become,
    why_not_deactivate,
)
from tollbook.recompute.prices import quantities


class _Refused(NamedTuple):
    """A refused command on a licence."""

    account: Account
    license: License
    body: dict[str, Any]
    at: int
    code: str

    def ask(self, channel: str, **more: Any) -> Ask:
        return asked({**self.body, **more}, channel, self.at, self.code)


def _validate(refused: _Refused) -> Why:
    units = ONE_REQUEST
    if "usage" in refused.body:
        units = quantities(refused.body["usage"])
    return decide(refused.account, refused.license, refused.ask("api"), units)[0]


def _lease(refused: _Refused) -> Why:
    ask = refused.ask("on_premise")
    return decide_lease(refused.account, refused.license, ask, refused.body)[0]


def _renew_lease(refused: _Refused) -> Why:
    name = refused.body["lease"]
    lease = refused.license.lease(name)
    ask = refused.ask("on_premise", model="" if lease is None else lease.model)
    return why_not_renew(refused.account, refused.license, name, ask)


def _becoming(status: str) -> Callable[[_Refused], Why]:
    return lambda refused: why_not_become(refused.license, status, refused.at)


def _any_more(refused: _Refused) -> Why:
    return why_not_any_more(refused.license)


_RULES: dict[str, Callable[[_Refused], Why]] = {
    "activate_license": lambda refused: why_not_activate(refused.license, refused.at),
    "deactivate_license": lambda refused: why_not_deactivate(
        refused.license, refused.body["device"]
    ),
    "renew_license": _any_more,
    "upgrade_license": _any_more,
    "suspend_license": _becoming("suspended"),
    "reinstate_license": _becoming("active"),
    "revoke_license": _becoming("revoked"),
    "expire_license": _becoming("expired"),
    "rotate_license_key": _any_more,
    "validate_license": _validate,
    "lease_seat": _lease,
    "renew_lease": _renew_lease,
    "return_lease": lambda refused: why_ended(refused.license, refused.body["lease"], refused.at),
}

KINDS = frozenset(_RULES)
"""The kinds of commands that are decided here."""


def why_not_on_license(account: Account, fact: Fact) -> Why:
    """Decide a refused command on a licence again."""
    data = fact.data
    license = license_of(account, fact, data["body"]["license"])
    if license is None:
        return None
    rule = _RULES[data["kind"]]
    return rule(_Refused(account, license, data["body"], fact.at, data["code"]))
