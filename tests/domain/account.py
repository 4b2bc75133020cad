"""One customer's account, driven through the pure rules: commands in, facts or a refusal out."""

from itertools import count
from typing import Any

from domain.balance import Balance, BalanceView, decide_grant, due, view
from domain.capping import decide_caps
from domain.command import Command
from domain.commands import (
    ChangeCustomer,
    ChargeUsage,
    CreateCustomer,
    Extend,
    IssueGrant,
    ParkUsage,
    Release,
    ReleaseUsage,
    Reserve,
    SetCaps,
    Settle,
    parse,
)
from domain.customer import decide_change, decide_create
from domain.event import Event
from domain.events import (
    GrantIssued,
    ReservationExtended,
    ReservationHeld,
    ReservationReleased,
    ReservationSettled,
    UsageCharged,
)
from domain.folding import evolve
from domain.outcomes import Decision, Refusal
from domain.parking import (
    ParkedUsage,
    decide_park,
    decide_release_usage,
    decide_usage,
    parked_record,
)
from domain.parking import evolve as evolve_parked
from domain.pricebook import PriceBook
from domain.reservation import Reservation
from domain.reservation import evolve as evolve_reservation
from domain.reserving import decide_extend, decide_release, decide_reserve
from domain.settling import decide_settle
from domain.usage_events import UsageParked, UsageReleased
from tests.domain.examples import NOON, REQUEST, price_book, usd, version_of

CUSTOMER = "acme"


class Account:
    """A customer with one price book; time stands still until the test moves it."""

    def __init__(self, book: PriceBook | None = None, **terms: Any) -> None:
        """Create the customer; terms are fields of `CreateCustomer`."""
        self.book = book or price_book(version_of("2020-01-01T00:00:00Z", REQUEST))
        self.now = NOON
        self.balance = Balance()
        self.reservations: dict[str, Reservation] = {}
        self.parked: dict[str, ParkedUsage] = {}
        self.log: list[Event] = []
        self._numbers = count(1)
        self.run(CreateCustomer(**{"id": CUSTOMER, "name_sealed": "", "currency": "USD", **terms}))

    def run(self, command: Command) -> Decision:
        """Book what is due, decide, and apply the facts, as the executor does."""
        facts = due(self.balance, self.now)
        for fact in facts:
            self._apply(fact, command.id)
        decision = self._decide(command)
        if not isinstance(decision, Refusal):
            for fact in decision:
                self._apply(fact, command.id)
        return decision

    def _decide(self, command: Command) -> Decision:
        balance, now = self.balance, self.now
        match command:
            case CreateCustomer():
                return decide_create(command)
            case ChangeCustomer():
                return decide_change(command)
            case IssueGrant():
                return decide_grant(balance, command, now)
            case SetCaps():
                return decide_caps(command)
            case Reserve():
                return decide_reserve(balance, self.book, command, now)
            case Extend():
                held = self.reservations[command.reservation]
                return decide_extend(balance, held, self.book, command, now)
            case Settle():
                held = self.reservations[command.reservation]
                return decide_settle(balance, held, self.book, command, now)
            case Release():
                return decide_release(balance, self.reservations[command.reservation], command)
            case ParkUsage():
                return decide_park(command)
            case ChargeUsage():
                named, known = self._named(command), self._has(command.license)
                return decide_usage(balance, named, self.book, command, now, has_license=known)
            case ReleaseUsage():
                parked = self.parked[command.parked]
                record = parked_record(parked)
                named, known = self._named(record), self._has(record.license)
                return decide_release_usage(
                    balance, parked, named, self.book, now, has_license=known
                )
        raise AssertionError(f"no rule here for {command}")

    def _named(self, record: ChargeUsage) -> Reservation | None:
        return self.reservations.get(record.reservation or "")

    def _has(self, license: str | None) -> bool:
        """Say whether the customer has the licence; here any that a record names is theirs."""
        return True

    def _apply(self, fact: Event, command: str) -> None:
        self.log.append(fact)
        self.balance = evolve(self.balance, fact, self.now)
        if isinstance(fact, UsageParked | UsageReleased):
            kept = evolve_parked(self.parked.get(fact.parked), fact, len(self.log), command)
            assert kept is not None
            self.parked[fact.parked] = kept
        name = getattr(fact, "reservation", None)
        if name is not None:
            before = self.reservations.get(name)
            after = evolve_reservation(before, fact, self.now, command)
            assert after is not None
            self.reservations[name] = after

    def fact(self, command: Command) -> Any:
        """Run a command that a rule must not refuse, and return its one fact."""
        decision = self.run(command)
        assert not isinstance(decision, Refusal), decision
        (fact,) = decision
        return fact

    def refusal(self, command: Command) -> Refusal:
        """Run a command that a rule must refuse, and return the refusal."""
        decision = self.run(command)
        assert isinstance(decision, Refusal), decision
        return decision

    def grant(self, id: str, amount: str | int, **fields: Any) -> GrantIssued:
        """Issue a grant, paid unless it says otherwise."""
        body = {"customer": CUSTOMER, "amount": usd(amount), "kind": "paid", **fields}
        issued: GrantIssued = self.fact(IssueGrant(id=id, **body))
        return issued

    def reserve(self, id: str, **fields: Any) -> ReservationHeld:
        """Hold money; fields as of `reserve_command`."""
        held: ReservationHeld = self.fact(reserve_command(id, **fields))
        return held

    def extend(self, reservation: str, **fields: Any) -> ReservationExtended:
        """Extend a hold."""
        command = Extend(id=self._id(), reservation=reservation, **fields)
        extended: ReservationExtended = self.fact(command)
        return extended

    def settle(self, reservation: str, usage: dict[str, Any], **fields: Any) -> ReservationSettled:
        """Settle a reservation, finally unless it says otherwise."""
        command = Settle(**{"id": self._id(), "reservation": reservation, "usage": usage, **fields})
        settled: ReservationSettled = self.fact(command)
        return settled

    def release(self, reservation: str) -> ReservationReleased:
        """Release a hold."""
        released: ReservationReleased = self.fact(Release(id=self._id(), reservation=reservation))
        return released

    def use(self, usage: dict[str, Any], **fields: Any) -> UsageCharged:
        """Charge usage directly; fields as of `usage_command`."""
        body = {"occurred_at": self.now, **fields}
        charged: UsageCharged = self.fact(usage_command(self._id(), usage, **body))
        return charged

    def parking(self, usage: dict[str, Any], **fields: Any) -> UsageParked:
        """Send a usage record that a rule must not let be charged; return its parking."""
        body = {"occurred_at": self.now, **fields}
        parked: UsageParked = self.fact(usage_command(self._id(), usage, **body))
        assert isinstance(parked, UsageParked), parked
        return parked

    def release_usage(self, parked: str) -> Decision:
        """Release a parked usage record."""
        return self.run(ReleaseUsage(id=self._id(), parked=parked))

    def cap(self, *caps: dict[str, Any]) -> None:
        """Set caps as they travel."""
        body = {"id": self._id(), "customer": CUSTOMER, "caps": list(caps)}
        self.fact(parse("set_caps", body))

    def change(self, **terms: Any) -> None:
        """Change the customer's terms."""
        self.fact(ChangeCustomer(id=self._id(), customer=CUSTOMER, **terms))

    def view(self, now: int | None = None) -> BalanceView:
        """Return the balance as people see it."""
        return view(self.balance, self.now if now is None else now)

    def _id(self) -> str:
        return f"command-{next(self._numbers)}"


def reserve_command(id: str, *, requests: int = 1, **fields: Any) -> Reserve:
    """Return a reserve of so many requests at 1 USD, or of what the fields say."""
    body = {"customer": CUSTOMER, "model": "per-request", "estimate": {"requests": requests}}
    return Reserve(**{"id": id, **body, **fields})


def usage_command(id: str, usage: dict[str, Any], **fields: Any) -> ChargeUsage:
    """Return a direct usage record of the model `per-request`, or of what the fields say."""
    body = {"source": "//gateway", "customer": CUSTOMER, "model": "per-request"}
    return ChargeUsage(**{"id": id, "usage": usage, **body, **fields})


def parts(*pairs: tuple[str, str | int]) -> tuple[tuple[str, int], ...]:
    """Return (grant id, amount) pairs with the amounts in 10^-12."""
    return tuple((name, usd(amount)) for name, amount in pairs)
