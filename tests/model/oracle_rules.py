"""The oracle's rules: what each kind of command agrees to, or why it does not."""

from fractions import Fraction
from typing import Any, NamedTuple

from tests.model.oracle_accounts import CREDIT, ZERO, Account, Grant, Hold, in_all, plus, share
from tests.model.oracle_prices import Books, Version, highest, month_of, price, tokens, unpriced
from tests.model.wire import SECOND, instant, written

TTL_SECONDS = 300
LONGEST_SECONDS = 7 * 86_400
TOLERANCE = 5 * SECOND

Body = dict[str, Any]


class Expected(NamedTuple):
    """What a command must be answered with; a set among the facts means any of its members."""

    code: str
    facts: Body
    recorded: bool = True
    """Whether this answer takes the id; an error leaves it free."""


class NoError(Exception):
    """The command is not carried out."""

    def __init__(self, code: str, recorded: bool, facts: Body) -> None:
        super().__init__(code)
        self.expected = Expected(code, facts, recorded)


def refused(code: str, **facts: Any) -> NoError:
    """Return a rule's no: recorded, so that the id stays refused."""
    return NoError(code, recorded=True, facts=facts)


def wrong(code: str, **facts: Any) -> NoError:
    """Return the error for what cannot be decided: not recorded, the id stays free."""
    return NoError(code, recorded=False, facts=facts)


class Rules:
    """Everything that was agreed, and how more is added to it."""

    def __init__(self) -> None:
        self.books = Books()
        self.accounts: dict[str, Account] = {}

    def owner(self, kind: str, body: Body) -> str:
        """Name the customer whom a command concerns; empty for the ledger itself."""
        if kind == "publish_prices":
            return ""
        if kind == "create_customer":
            return str(body["id"])
        if "customer" in body:
            return str(body["customer"])
        return self._hold(body["reservation"])[0].id

    def _hold(self, name: str) -> tuple[Account, Hold]:
        for account in self.accounts.values():
            for hold in account.holds:
                if hold.id == name:
                    return account, hold
        raise wrong("not_found", field="reservation", value=name)

    # --- the kinds of commands --------------------------------------------------------------

    def decide(self, kind: str, body: Body, now: int) -> Expected:
        """Let the rule for this kind of command decide, and book what it agrees to."""
        if kind == "publish_prices":
            return self._publish(body["book"], now)
        if kind == "create_customer":
            return self._create(body)
        account = self.accounts.get(self.owner(kind, body))
        if account is None:
            raise wrong("not_found", field="customer", value=self.owner(kind, body))
        rule = {
            "change_customer": self._change,
            "issue_grant": self._grant,
            "reserve": self._reserve,
            "extend": self._extend,
            "settle": self._settle,
            "release": self._release,
            "unblock": self._unblock,
            "set_caps": self._set_caps,
        }[kind]
        return Expected("done", rule(account, body, now))

    def _publish(self, book: Body, now: int) -> Expected:
        effective_from = instant(book["effective_from"])
        versions = self.books.versions(book["id"])
        if versions and effective_from <= max(now, versions[-1].effective_from):
            wrong_field = self.books.changed_field(book)
            if wrong_field is not None:
                raise wrong("invalid", field=wrong_field)
        self.books.publish(book)
        facts = {"version": len(versions) + 1, "effective_from": written(effective_from)}
        return Expected("done", facts)

    def _create(self, body: Body) -> Expected:
        if self._is_reservation(body["id"]):
            raise refused("already_exists", field="id", value=body["id"])
        self.accounts[body["id"]] = Account(body)
        return Expected("done", {"customer": body["id"]})

    def _is_reservation(self, name: str) -> bool:
        return any(hold.id == name for each in self.accounts.values() for hold in each.holds)

    def _change(self, account: Account, body: Body, now: int) -> Body:
        terms = {name: value for name, value in body.items() if name not in ("id", "customer")}
        before = account.terms.get("time_zone", "UTC")
        account.guards.move(now, before, body.get("time_zone", before))
        account.terms = {**account.terms, **terms}
        return {"customer": account.id}

    def _grant(self, account: Account, body: Body, now: int) -> Body:
        expires_at = instant(body["expires_at"]) if "expires_at" in body else None
        if expires_at is not None and expires_at <= now:
            raise wrong("invalid", field="expires_at")
        if any(grant.id == body["id"] for each in self.accounts.values() for grant in each.grants):
            raise refused("already_exists", field="id", value=body["id"])
        amount, repaid, models = Fraction(body["amount"]), ZERO, body.get("models")
        if body["kind"] == "paid" and models is None:
            repaid = min(amount, account.overdraft())
        priority = body.get("priority", 100)
        account.grants.append(
            Grant(body["id"], body["kind"], priority, expires_at, models, amount, repaid)
        )
        return {"amount": amount, "overdraft_repaid": repaid}

    def _reserve(self, account: Account, body: Body, now: int) -> Body:
        name, model = body["id"], body["model"]
        if self._is_reservation(name) or name in self.accounts:
            raise refused("already_exists", field="id", value=name)
        expires_at = now + body.get("ttl_seconds", TTL_SECONDS) * SECOND
        self._admit(account)
        licensed = self._ask(account, body, now)
        needed = self._worst(account, model, body["estimate"], now, expires_at)
        needed *= body.get("inferences", 1)
        self._leave_room(account, model, in_all(body), now, new=True)
        parts, several = self._funds(account, model, needed, now), "inferences" in body
        hold = Hold(name, model, in_all(body), now, expires_at, parts, several=several)
        account.holds.append(hold)
        account.guards.reserve(name, in_all(body), share(body))
        return {"held": needed, "expires_at": written(expires_at), **licensed}

    def _extend(self, account: Account, body: Body, now: int) -> Body:
        hold, more = self._open(body), body.get("estimate", {})
        if hold.several:
            raise wrong("invalid", field="reservation")
        if now >= hold.expires_at:
            raise refused("expired", reservation=hold.id, expired_at=written(hold.expires_at))
        self._admit(account)
        licensed = self._ask(account, body, now, hold)
        expires_at = hold.expires_at
        if "ttl_seconds" in body:
            latest = hold.opened_at + LONGEST_SECONDS * SECOND
            expires_at = max(expires_at, min(now + body["ttl_seconds"] * SECOND, latest))
        needed = self._worst(account, hold.model, plus(hold.rest(), more), now, expires_at)
        if "estimate" in body:
            self._leave_room(account, hold.model, more, now, new=False)
        hold.parts.extend(self._funds(account, hold.model, max(ZERO, needed - hold.amount()), now))
        hold.expires_at = expires_at
        account.guards.reserve(hold.id, more)
        hold.estimate = plus(hold.estimate, more)
        return {"held": hold.amount(), "expires_at": written(expires_at), **licensed}

    def _settle(self, account: Account, body: Body, now: int) -> Body:
        hold = self._open(body)
        occurred_at = instant(body["occurred_at"]) if "occurred_at" in body else now
        if not hold.opened_at - TOLERANCE <= occurred_at <= now + TOLERANCE:
            raise wrong("invalid", field="occurred_at")
        holding = hold if hold.active(now) else None
        final, before = body.get("final", True), hold.amount() if holding else ZERO
        at, ends = (occurred_at, now), (final, final or hold.several)
        facts = self._charge(account, hold.model, body["usage"], at, holding, ends)
        hold.charged.append((body["usage"], facts["charged"]))
        if not final:
            return {**facts, "released": ZERO}
        total = sum((charged for _, charged in hold.charged), ZERO)
        hold.outcome = {"kind": "settle", "id": body["id"], "charged": total}
        return {**facts, "released": max(ZERO, before - facts["charged"])}

    def _release(self, _account: Account, body: Body, now: int) -> Body:
        hold = self._open(body)
        released = hold.amount() if hold.active(now) else ZERO
        hold.outcome = {"kind": "release", "id": body["id"], "released": released}
        return {"released": released}

    # --- licences: here nobody has one --------------------------------------------------------

    def _ask(self, account: Account, body: Body, now: int, hold: Hold | None = None) -> Body:
        """Return what the licence of a reservation or of an open hold says, or refuse."""
        return {}

    def _has(self, account: Account, license: str) -> bool:
        """Say whether a licence is the customer's."""
        return False

    # --- guards -------------------------------------------------------------------------------

    def _admit(self, account: Account) -> None:
        if account.guards.blocked_at is not None:
            raise refused("account_blocked", blocked_at=written(account.guards.blocked_at))

    def _leave_room(
        self, account: Account, model: str, asked: Body, now: int, *, new: bool
    ) -> None:
        at = now, account.terms.get("time_zone", "UTC")
        over = account.guards.over(model, asked, new, account.open_at(now), at)
        if over is not None:
            raise refused("usage_capped", **over)

    def _unblock(self, account: Account, body: Body, now: int) -> Body:
        if account.guards.blocked_at is None:
            raise refused("not_blocked", customer=account.id)
        account.guards.blocked_at, account.guards.cleared_at = None, now
        return {"customer": body["customer"]}

    def _set_caps(self, account: Account, body: Body, _now: int) -> Body:
        account.guards.set_caps(body["caps"])
        return {"customer": account.id}

    # --- what they share --------------------------------------------------------------------

    def _open(self, body: Body) -> Hold:
        _, hold = self._hold(body["reservation"])
        if hold.outcome is not None:
            ended = "settled" if hold.outcome["kind"] == "settle" else "released"
            facts = {"reservation": hold.id, "first_outcome": hold.outcome}
            raise refused(f"already_{ended}", **facts)
        return hold

    def _model(self, version: Version | None, account: Account, model: str, usage: Body) -> Body:
        """Return a model's prices in a version, or refuse what has none."""
        book = account.terms.get("price_book", "default")
        prices = None if version is None else version.models.get(model)
        if prices is None or self.books.currency(book) != account.terms["currency"]:
            raise refused("unknown_model", model=model, price_book=book)
        if unpriced(prices, usage):
            raise refused("unknown_unit", model=model, unit=unpriced(prices, usage))
        return prices

    def _worst(self, account: Account, model: str, estimate: Body, now: int, end: int) -> Fraction:
        book = account.terms.get("price_book", "default")
        zone = account.terms.get("time_zone", "UTC")
        volumes = {account.volume(model, month_of(now, zone))}
        if month_of(end, zone) != month_of(now, zone):
            volumes.add(0)
        amounts: list[Fraction] = []
        versions: list[Version | None] = []
        if self.books.in_force(book, now, now):
            versions = [*self.books.in_force(book, now, end)]
        for version in versions or [None]:
            prices = self._model(version, account, model, estimate)
            amounts.extend(highest(prices, estimate, volume) for volume in volumes)
        return max(amounts)

    def _funds(
        self, account: Account, model: str, amount: Fraction, now: int
    ) -> list[tuple[str, Fraction]]:
        reach = account.reach(model, now)
        if amount > reach:
            raise refused("insufficient_balance", available=reach, required=amount)
        return account.take(model, amount, now)

    def _charge(
        self,
        account: Account,
        model: str,
        usage: Body,
        at: tuple[int, int],
        hold: Hold | None = None,
        ends: tuple[bool, bool] = (True, True),
    ) -> Body:
        """Charge usage of (occurred at, now), which ends (its hold, an inference)."""
        (occurred_at, now), (final, whole) = at, ends
        book = account.terms.get("price_book", "default")
        month = month_of(occurred_at, account.terms.get("time_zone", "UTC"))
        version = next(iter(self.books.in_force(book, occurred_at, occurred_at)), None)
        prices = self._model(version, account, model, usage)
        charged = price(prices, usage, account.volume(model, month))
        parts = account.pay(model, charged, now, hold, final)
        account.volumes.append((model, month, tokens(usage)))
        guards = account.guards
        guards.use(model, usage, whole, occurred_at, None if hold is None else hold.id)
        if guards.blocked_at is None and guards.crossed(occurred_at):
            guards.blocked_at = now
        paid = sum((amount for _, amount in parts), ZERO)
        return {
            "charged": charged,
            "from_balance": paid,
            "receivable": charged - paid,
            "price_book": book,
            "price_version": version.number if version else None,
            "grants": [{"id": name, "amount": part} for name, part in parts if name != CREDIT],
        }
