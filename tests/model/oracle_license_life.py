"""The oracle's rules for licences: their life, what they admit, and who has a seat."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.model.oracle_accounts import Account
from tests.model.oracle_licenses import CHECKS, DeniedError, denial
from tests.model.oracle_limits import Lease, Limit, concerned, put_on, shown
from tests.model.oracle_records import UsageRules
from tests.model.oracle_rules import Body, Expected, refused, wrong
from tests.model.wire import SECOND, instant, written

TEMPLATE: Body = {"models": ["*"], "priority": 9}
"""What every licence here starts from: the template `open`, which was published once."""


@dataclass
class License:
    """A licence: what was agreed, as the checks want it, and what is used of it."""

    body: Body
    customer: str
    revision: int = 0
    limits: list[Limit] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)

    @property
    def policy(self) -> Body:
        """Return the policy in force."""
        return dict(self.body["policy"])

    def about(self) -> Body:
        """Return what every refusal says of it."""
        return {"license": self.body["id"], "policy_version": self.body["policy_version"]}

    def ends_at(self) -> int | None:
        """Return when nothing is admitted any more."""
        end: int | None = self.body["expires_at"]
        return None if end is None else end + self.policy.get("grace_seconds", 0) * SECOND

    def live(self, now: int) -> list[Lease]:
        """Return the leases that take seats, the oldest first."""
        live = [lease for lease in self.leases if lease.live(now)]
        return sorted(live, key=lambda lease: (lease.leased_at, lease.id))

    def become(self, status: str, now: int, reason: str = "") -> None:
        """Change where it stands."""
        self.body |= {"status": status, "since": now, "reason": reason}

    def put_on(self, overrides: Body, since: int) -> None:
        """Change its policy."""
        policy = {**TEMPLATE, **overrides}
        self.limits = put_on(policy.get("limits", []), self.limits, since)
        self.body |= {"policy": policy, "policy_version": f"open:1:{self.revision}"}


Net = Callable[[Limit], int]

LIFE = {
    *("issue_license", "upgrade_license", "renew_license", "suspend_license"),
    *("reinstate_license", "revoke_license", "expire_license", "rotate_license_key"),
    *("validate_license", "lease_seat", "renew_lease", "return_lease"),
}


class LifeRules(UsageRules):
    """Everything that was agreed, licences included; what reservations use is counted above."""

    def __init__(self) -> None:
        super().__init__()
        self.licenses: dict[str, License] = {}
        self.validated: set[str] = set()

    def owner(self, kind: str, body: Body) -> str:
        """Name the customer whom a command concerns; of a licence that is there, its own."""
        if "license" in body and "customer" not in body:
            return self.license(body["license"]).customer
        return super().owner(kind, body)

    def license(self, name: str, account: Account | None = None) -> License:
        """Return a licence, of a customer if one is given."""
        found = self.licenses.get(name)
        if found is None or (account is not None and found.customer != account.id):
            raise wrong("not_found", field="license", value=name)
        return found

    def decide(self, kind: str, body: Body, now: int) -> Expected:
        """Let the rule for this kind of command decide, and book what it agrees to."""
        account = self.accounts.get(self.owner(kind, body))
        rule: Any = getattr(self, f"_{kind}", None) if kind in LIFE else None
        if rule is None:
            if kind == "reserve" and account is not None and "license" in body:
                self.license(body["license"], account)
            return super().decide(kind, body, now)
        if account is None:
            raise wrong("not_found", field="customer", value=self.owner(kind, body))
        return Expected("done", rule(account, body, now))

    def _zone(self, account: Account) -> str:
        return str(account.terms.get("time_zone", "UTC"))

    # --- the life of a licence --------------------------------------------------------------

    def _issue_license(self, account: Account, body: Body, now: int) -> Body:
        starts = instant(body["starts_at"]) if "starts_at" in body else now
        ends = instant(body["expires_at"]) if "expires_at" in body else None
        if body["template"] != "open":
            raise wrong("not_found", field="template", value=body["template"])
        if ends is not None and ends <= max(now, starts):
            raise wrong("invalid", field="expires_at")
        if body["id"] in self.licenses:
            raise refused("already_exists", field="id", value=body["id"])
        terms = {"id": body["id"], "deployment": body["deployment"], "devices": {}}
        times = {"starts_at": starts, "expires_at": ends, "maintenance_until": 0}
        license = License({**terms, **times, "keys": {body["key_hash"]: None}}, account.id)
        license.become("active", now)
        license.put_on(body["overrides"], 0)
        self.licenses[body["id"]] = license
        return {**license.about(), "customer": account.id}

    def _upgrade_license(self, _account: Account, body: Body, now: int) -> Body:
        license = self._not_revoked(body)
        license.revision += 1
        license.put_on(body["overrides"], now + 1)
        return {"license": body["license"], "template": "open"}

    def _renew_license(self, _account: Account, body: Body, now: int) -> Body:
        license = self._not_revoked(body)
        ends = instant(body["expires_at"])
        if ends <= max(now, license.body["expires_at"] or 0):
            raise wrong("invalid", field="expires_at")
        license.body["expires_at"] = ends
        if license.body["status"] == "expired":
            license.become("active", now)
        return {"expires_at": written(ends)}

    def _suspend_license(self, _account: Account, body: Body, now: int) -> Body:
        license = self._not_revoked(body)
        self._stands(license, now, "license_suspended")
        license.become("suspended", now, body["reason"])
        return {"license": body["license"]}

    def _reinstate_license(self, _account: Account, body: Body, now: int) -> Body:
        license = self._not_revoked(body)
        if license.body["status"] != "suspended":
            raise refused("license_not_suspended", **license.about())
        license.become("active", now)
        return {"license": body["license"]}

    def _revoke_license(self, _account: Account, body: Body, now: int) -> Body:
        license = self._not_revoked(body)
        license.become("revoked", now, body["reason"])
        license.limits = []
        for lease in license.leases:
            lease.returned = True
        return {"license": body["license"]}

    def _expire_license(self, _account: Account, body: Body, now: int) -> Body:
        license, ends = self.license(body["license"]), self.license(body["license"]).ends_at()
        if license.body["status"] != "active" or ends is None or now < ends:
            raise refused("license_not_expired", **license.about())
        license.become("expired", now)
        return {"license": body["license"]}

    def _rotate_license_key(self, _account: Account, body: Body, now: int) -> Body:
        license = self._not_revoked(body)
        last = now + body["overlap_seconds"] * SECOND
        keys = license.body["keys"]
        good = [each for each in keys.values() if each is None or each > now]
        if body["overlap_seconds"] and len(good) >= 10:
            raise wrong("invalid", field="overlap_seconds")
        older = {key: last if end is None else min(end, last) for key, end in keys.items()}
        license.body["keys"] = {**older, body["key_hash"]: None}
        return {"license": body["license"]}

    def _not_revoked(self, body: Body) -> License:
        license = self.license(body["license"])
        self._stands(license, 0, "license_revoked")
        return license

    def _stands(self, license: License, now: int, *codes: str) -> None:
        for code in codes:
            try:
                CHECKS[code](license.body, {"now": now})
            except DeniedError as denied:
                raise refused(code, **license.about(), **denied.facts) from None

    # --- decisions --------------------------------------------------------------------------

    def _check(self, license: License, model: str, body: Body, now: int, channel: str) -> None:
        request = {"model": model, "facts": body.get("facts", {}), "key": body.get("license_key")}
        around = {"now": now, "channel": channel, "registry": None, "export": set()}
        denied = denial(license.body, {**request, **around})
        if denied is not None:
            raise refused(denied[0], **denied[1])

    def _room(self, license: License, model: str, units: Body, now: int, *, new: bool) -> Body:
        """Return what a decision says, when every limit leaves room."""
        zone, left = self._zone(self.accounts[license.customer]), []
        for limit in self.limits_for(license, model):
            used, asked = limit.used(now, zone), limit.asks(units, 1 if new else 0)
            unit, resets_at = limit.body["unit"], limit.resets_at(now, zone)
            room = limit.bound() - used - asked
            if room < 0 and (new or asked):
                figures = {"allowed": limit.bound(), "used": used, "requested": asked}
                told = {name: shown(unit, each) for name, each in figures.items()}
                named = {"limit": limit.body["id"], "unit": unit, "per": limit.body["per"]}
                about = {**license.about(), **named, **told}
                raise refused("license_limit_reached", resets_at=resets_at, **about)
            told = {"remaining": shown(unit, max(0, room))}
            left.append({"limit": limit.body["id"], **told, "resets_at": resets_at})
        ends = license.body["expires_at"]
        grace = ends is not None and now >= ends
        version = license.body["policy_version"]
        return {"policy_version": version, "remaining": left, "grace": grace}

    def limits_for(self, license: License, model: str) -> list[Limit]:
        """Return the limits that concern a model."""
        return [each for each in license.limits if concerned(each.body.get("models"), model)]

    def _count(self, license: License, model: str, net: Net, opened_at: int, now: int) -> None:
        """Enter what an event adds to each limit, of a hold that was opened at some time."""
        zone = self._zone(self.accounts[license.customer])
        for limit in self.limits_for(license, model):
            limit.add(net(limit), opened_at, now, zone)

    def _validate_license(self, _account: Account, body: Body, now: int) -> Body:
        license = self.license(body["license"])
        units = body.get("usage", {})
        if units.get("requests") == 0:
            raise wrong("invalid", field="usage.requests")
        if body["id"] in self.validated:
            raise refused("already_exists", field="id", value=body["id"])
        self._check(license, body["model"], body, now, "api")
        told = self._room(license, body["model"], units, now, new=True)
        self._count(license, body["model"], lambda limit: limit.asks(units, 1), now, now)
        self.validated.add(body["id"])
        return {"admitted": True, **told}

    # --- seats ------------------------------------------------------------------------------

    def _lease_seat(self, _account: Account, body: Body, now: int) -> Body:
        license = self.license(body["license"])
        if any(lease.id == body["id"] for each in self.licenses.values() for lease in each.leases):
            raise refused("already_exists", field="id", value=body["id"])
        self._check(license, body["model"], body, now, "on_premise")
        lends, asked = license.policy.get("borrow_seconds", 0), body.get("borrow_seconds")
        if asked is not None and asked > lends:
            raise refused("license_borrow_denied", **license.about(), borrow_seconds=lends)
        taken = license.live(now)
        if len(taken) >= license.policy.get("seats", 0):
            self._no_seat(license, taken)
        seconds = asked or license.policy.get("lease_seconds", 300)
        lease = Lease(body["id"], body["model"], now, self._until(license, now, seconds))
        license.leases.append(lease)
        return {"lease": lease.id, "expires_at": written(lease.expires_at)}

    def _no_seat(self, license: License, taken: list[Lease]) -> None:
        facts: Body = {**license.about(), "seats": license.policy.get("seats", 0)}
        if taken:
            facts["resets_at"] = written(min(lease.expires_at for lease in taken))
        raise refused("license_seats_taken", **facts)

    def _until(self, license: License, now: int, seconds: int) -> int:
        ends = license.ends_at()
        until = now + seconds * SECOND
        return until if ends is None else min(until, ends)

    def _live(self, body: Body, now: int) -> tuple[License, Lease]:
        license = self.license(body["license"])
        for lease in license.live(now):
            if lease.id == body["lease"]:
                return license, lease
        raise refused("license_lease_ended", **license.about(), lease=body["lease"])

    def _renew_lease(self, _account: Account, body: Body, now: int) -> Body:
        license, lease = self._live(body, now)
        self._check(license, lease.model, body, now, "on_premise")
        taken = license.live(now)
        if lease not in taken[: license.policy.get("seats", 0)]:
            self._no_seat(license, taken)
        until = self._until(license, now, license.policy.get("lease_seconds", 300))
        lease.expires_at = max(lease.expires_at, until)
        return {"expires_at": written(lease.expires_at)}

    def _return_lease(self, _account: Account, body: Body, now: int) -> Body:
        self._live(body, now)[1].returned = True
        return {"lease": body["lease"]}
