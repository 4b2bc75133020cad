"""The oracle's rules for what counts under licences: reservations, their ends, direct usage."""

from dataclasses import dataclass

from tests.model.oracle import Key, Oracle
from tests.model.oracle_accounts import Account, Hold, in_all, share
from tests.model.oracle_license_life import LifeRules
from tests.model.oracle_limits import Limit
from tests.model.oracle_rules import Body, Expected

STANDING = ("license_revoked", "license_suspended", "license_expired")
AT_THE_EDGE = ("key_hash", "key_hint")
"""What is another each time that a command is sent."""


@dataclass
class Use:
    """A reservation under a licence, until its units are given back."""

    license: str
    opened_at: int
    left: Body
    """What is left of its estimate."""
    share: Body | None
    """What one inference takes of it, where it is for several."""
    over: bool = False
    """Whether all that it owed is given back."""


class LicenseRules(LifeRules):
    """Everything that was agreed, and what it counts as."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: dict[str, Use] = {}
        """By reservation."""

    def decide(self, kind: str, body: Body, now: int) -> Expected:
        """Decide, once what has run out by now is given back."""
        account = self.accounts.get(self.owner(kind, body))
        if account is not None:
            self._book(account, now)
        return super().decide(kind, body, now)

    # --- reservations -----------------------------------------------------------------------

    def _ask(self, account: Account, body: Body, now: int, hold: Hold | None = None) -> Body:
        if hold is not None:
            use = self.uses.get(hold.id)
            if use is None:
                return {}
            license = self.license(use.license)
            self._stands(license, now, *STANDING)
            return self._room(license, hold.model, body.get("estimate", {}), now, new=False)
        if "license" not in body:
            return {}
        license = self.license(body["license"], account)
        self._check(license, body["model"], body, now, "api")
        return self._room(license, body["model"], in_all(body), now, new=True)

    def _reserve(self, account: Account, body: Body, now: int) -> Body:
        facts = super()._reserve(account, body, now)
        if "license" in body:
            units = in_all(body)
            self.uses[body["id"]] = Use(body["license"], now, units, share(body))
            license = self.license(body["license"])
            self._count(license, body["model"], lambda limit: limit.asks(units, 1), now, now)
        return facts

    def _extend(self, account: Account, body: Body, now: int) -> Body:
        facts = super()._extend(account, body, now)
        use, more = self.uses.get(body["reservation"]), body.get("estimate", {})
        if use is not None:
            model = self._hold(body["reservation"])[1].model
            license = self.license(use.license)
            self._count(license, model, lambda limit: limit.asks(more, 0), now, now)
            for unit, count in more.items():
                implied = 1 if unit == "requests" else 0
                use.left[unit] = use.left.get(unit, implied) + count
        return facts

    def _settle(self, account: Account, body: Body, now: int) -> Body:
        facts = super()._settle(account, body, now)
        name, final = body["reservation"], body.get("final", True)
        last = final and name in self.uses and self.uses[name].share is not None
        self._end(name, now, body["usage"], final=final and not last)
        if last:  # what the others would have used goes back after the last of them
            self._end(name, now, None, final=True)
        return facts

    def _release(self, account: Account, body: Body, now: int) -> Body:
        facts = super()._release(account, body, now)
        self._end(body["reservation"], now, None, final=True)
        return facts

    def _book(self, account: Account, now: int) -> None:
        """Give back what is left of holds that have run out."""
        for hold in account.holds:
            if hold.outcome is None and hold.expires_at <= now and hold.id in self.uses:
                self._end(hold.id, now, None, final=True)

    def _end(self, name: str, now: int, usage: Body | None, *, final: bool) -> None:
        """Give back what a hold expects no longer, and count what was used."""
        use = self.uses.get(name)
        if use is None:
            return
        model, before = self._hold(name)[1].model, dict(use.left)
        units, whole = usage or {}, final or use.share is not None
        less = units if use.share is None else use.share
        after = {unit: max(0, count - less.get(unit, 0)) for unit, count in before.items()}
        over, use.left, use.over = use.over, after, use.over or final

        def net(limit: Limit) -> int:
            used = 0 if usage is None else limit.asks(units, 1 if whole else 0)
            if over:
                return used
            kept = 0 if final else limit.asks(after, 1)
            return used - limit.asks(before, 1) + kept

        opened_at = now if over else use.opened_at
        self._count(self.license(use.license), model, net, opened_at, now)

    # --- direct usage, time zones -------------------------------------------------------------

    def _license_of(self, reservation: str) -> str | None:
        use = self.uses.get(reservation)
        return None if use is None else use.license

    def _has(self, account: Account, license: str) -> bool:
        return license in self.licenses and self.licenses[license].customer == account.id

    def _charge_record(self, account: Account | None, body: Body, by: str, now: int) -> Body:
        facts = super()._charge_record(account, body, by, now)
        if "license" in body and "reservation" not in body:
            license, usage = self.license(body["license"]), body["usage"]
            self._count(license, body["model"], lambda limit: limit.asks(usage, 1), now, now)
        return facts

    def _change(self, account: Account, body: Body, now: int) -> Body:
        before = self._zone(account)
        facts = super()._change(account, body, now)
        if self._zone(account) != before:
            for license in self.licenses.values():
                for limit in license.limits if license.customer == account.id else []:
                    limit.move(now, before)
        return facts


class LicenseOracle(Oracle):
    """All that was agreed so far about licences too, and the answer to each id."""

    rules: LicenseRules

    def __init__(self) -> None:
        super().__init__()
        self.rules = LicenseRules()

    def _remember(self, key: Key, kind: str, body: Body, expected: Expected) -> Expected:
        return super()._remember(key, kind, _kept(body), expected)

    def _again(self, kind: str, body: Body, key: Key) -> Expected:
        return super()._again(kind, _kept(body), key)


def _kept(body: Body) -> Body:
    return {name: value for name, value in body.items() if name not in AT_THE_EDGE}
