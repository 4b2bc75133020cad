"""The oracle's rules for usage records: charged, or parked with the reason and released once."""

import hashlib

from tests.model.oracle_accounts import Account
from tests.model.oracle_rules import TOLERANCE, Body, Expected, NoError, Rules, refused, wrong
from tests.model.wire import instant, written


def out_of_range(occurred_at: int, latest: int, earliest: int | None = None) -> NoError:
    """Return the no to usage outside its time."""
    facts = {"occurred_at": written(occurred_at), "latest": written(latest)}
    if earliest is not None:
        facts["earliest"] = written(earliest)
    return refused("occurred_at_out_of_range", **facts)


def parked_id(record: Body) -> str:
    """Return the id under which a record is parked."""
    key = f"{record['source']}\0{record['id']}".encode()
    return hashlib.sha256(key).hexdigest()[:32]


class Parked:
    """A usage record that was parked, and how it was released, if it was."""

    def __init__(self, record: Body) -> None:
        self.record = record
        self.outcome: Body | None = None
        self.facts: Body = {}


class UsageRules(Rules):
    """Everything that was agreed, usage records included."""

    def __init__(self) -> None:
        super().__init__()
        self.parked: dict[str, Parked] = {}

    def owner(self, kind: str, body: Body) -> str:
        """Name the customer whom a command concerns; a record names its own."""
        if kind == "release_usage":
            return str(self._parked(body["parked"]).record["customer"])
        return super().owner(kind, body)

    def answer_of(self, record: Body) -> Expected | None:
        """Return how a parked record was released, if it was."""
        parked = self.parked.get(parked_id(record))
        return None if parked is None or parked.outcome is None else Expected("done", parked.facts)

    def decide(self, kind: str, body: Body, now: int) -> Expected:
        """Let the rule for this kind of command decide, and book what it agrees to."""
        if kind in ("usage", "park_usage") and "final" in body and "reservation" not in body:
            raise wrong("invalid", field="final")
        if kind == "park_usage":
            record = {name: value for name, value in body.items() if name != "reason"}
            return self._park(record, {"code": "parked_by_hand", "detail": body["reason"]})
        if kind not in ("usage", "release_usage"):
            return super().decide(kind, body, now)
        account = self.accounts.get(self.owner(kind, body))
        take = self._take_record if kind == "usage" else self._release_record
        return take(account, body, now)

    def _parked(self, name: str) -> Parked:
        if name not in self.parked:
            raise wrong("not_found", field="parked", value=name)
        return self.parked[name]

    def _take_record(self, account: Account | None, body: Body, now: int) -> Expected:
        """Charge a record, or park it with the reason."""
        try:
            return Expected("done", self._charge_record(account, body, body["id"], now))
        except NoError as no:
            return self._park(body, {"code": no.expected.code, **no.expected.facts})

    def _park(self, record: Body, why: Body) -> Expected:
        name = parked_id(record)
        self.parked[name] = Parked(record)
        return Expected("done", {"parked": name, "why": why})

    def _release_record(self, account: Account | None, body: Body, now: int) -> Expected:
        parked = self._parked(body["parked"])
        if parked.outcome is not None:
            facts = {"parked": body["parked"], "first_outcome": parked.outcome}
            raise refused("already_released", **facts)
        facts = self._charge_record(account, parked.record, body["id"], now)
        parked.outcome = {"kind": "release_usage", "id": body["id"], "charged": facts["charged"]}
        parked.facts = {**facts, "parked": body["parked"]}
        return Expected("done", parked.facts)

    def _charge_record(self, account: Account | None, body: Body, by: str, now: int) -> Body:
        """Charge a record on its reservation, or directly; `by` is the command that did it."""
        if account is None:
            raise refused("unknown_customer", customer=body["customer"])
        if "license" in body and not self._has(account, body["license"]):
            raise refused("unknown_license", license=body["license"])
        occurred_at = instant(body["occurred_at"])
        if "reservation" in body:
            return self._settle_record(account, body, by, now)
        if occurred_at > now + TOLERANCE:
            raise out_of_range(occurred_at, now + TOLERANCE)
        plan = account.terms.get("plan", "standard")
        if plan == "reserved_only":
            raise refused("plan_forbids", plan=plan)
        return self._charge(account, body["model"], body["usage"], (occurred_at, now))

    def _license_of(self, _reservation: str) -> str | None:
        """Return the licence of a reservation; here none has one."""
        return None

    def _settle_record(self, account: Account, body: Body, by: str, now: int) -> Body:
        name = body["reservation"]
        try:
            owner, hold = self._hold(name)
        except NoError:
            raise refused("unknown_reservation", reservation=name) from None
        if owner is not account:
            raise refused("reservation_mismatch", reservation=name, field="customer")
        self._open(body)
        if hold.model != body["model"]:
            raise refused("reservation_mismatch", reservation=name, field="model")
        if "license" in body and body["license"] != self._license_of(name):
            raise refused("reservation_mismatch", reservation=name, field="license")
        occurred_at = instant(body["occurred_at"])
        if not hold.opened_at - TOLERANCE <= occurred_at <= now + TOLERANCE:
            raise out_of_range(occurred_at, now + TOLERANCE, hold.opened_at - TOLERANCE)
        return self._settle(account, {**body, "id": by}, now)
