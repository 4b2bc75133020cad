"""The recomputation itself: events in, in order of position; every difference out as it is met."""

from collections.abc import Callable, Iterator
from typing import Any

from tollbook.errors import TollbookError
from tollbook.recompute import fraud, licenses, pipelines, together
from tollbook.recompute.account import Account, ParkedRecords
from tollbook.recompute.charging import reservation_settled, usage_charged
from tollbook.recompute.envelope import Envelope, Event, envelope_of, payload
from tollbook.recompute.fact import Differ, Difference, Fact, Place, shown
from tollbook.recompute.guarding import (
    account_blocked,
    account_unblocked,
    caps_set,
    check_blocked,
)
from tollbook.recompute.holding import (
    reservation_extended,
    reservation_held,
    reservation_released,
)
from tollbook.recompute.license_seats import (
    lease_renewed,
    license_validated,
    seat_leased,
    seat_returned,
)
from tollbook.recompute.opening import (
    check_nothing_is_due,
    customer_changed,
    customer_created,
    grant_issued,
    grants_expired,
    holds_expired,
)
from tollbook.recompute.parking import usage_parked, usage_released
from tollbook.recompute.policies import Catalog
from tollbook.recompute.prices import Book
from tollbook.recompute.refusing_whole import command_refused
from tollbook.recompute.registry import EVENTS, Registry
from tollbook.recompute.state import account_state, book_state, reservation_state
from tollbook.times import format_instant, parse_instant

RULES: dict[str, Callable[[Account, Fact], Place]] = {
    "customer_created": customer_created,
    "customer_changed": customer_changed,
    "grant_issued": grant_issued,
    "grants_expired": grants_expired,
    "holds_expired": holds_expired,
    "reservation_held": reservation_held,
    "reservation_extended": reservation_extended,
    "reservation_settled": reservation_settled,
    "inferences_settled": together.inferences_settled,
    "reservation_released": reservation_released,
    "usage_charged": usage_charged,
    "usage_parked": usage_parked,
    "usage_released": usage_released,
    "account_blocked": account_blocked,
    "account_unblocked": account_unblocked,
    "caps_set": caps_set,
    "fraud_flagged": fraud.fraud_flagged,
    "fraud_cleared": fraud.fraud_cleared,
    "fraud_confirmed": fraud.fraud_confirmed,
    "command_refused": command_refused,
    "pipeline_reserved": pipelines.pipeline_reserved,
    "pipeline_settled": pipelines.pipeline_settled,
    "pipeline_released": pipelines.pipeline_released,
    "license_issued": licenses.license_issued,
    "license_activated": licenses.license_activated,
    "license_deactivated": licenses.license_deactivated,
    "license_renewed": licenses.license_renewed,
    "license_upgraded": licenses.license_upgraded,
    "license_suspended": licenses.license_suspended,
    "license_reinstated": licenses.license_reinstated,
    "license_revoked": licenses.license_revoked,
    "license_expired": licenses.license_expired,
    "license_key_rotated": licenses.license_key_rotated,
    "license_validated": license_validated,
    "seat_leased": seat_leased,
    "lease_renewed": lease_renewed,
    "seat_returned": seat_returned,
}
"""What checks an event of a customer, by the name of the event; all are of version 1."""

_EXPIRIES = ("holds_expired", "grants_expired")
_AFTER_A_CHARGE = ("usage_released", "account_blocked")
"""What one decision says after a charge, which may have given money back to an expired grant."""

_OF_LEDGER = (
    *("prices_published", "min_reader_raised", "usage_parked"),
    *("policy_published", "pipeline_published"),
    *EVENTS,
)
"""The events that may stand in no customer's history."""

_BROKEN = (
    TollbookError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What reading a payload of another form can raise."""


class Recomputation:
    """Follows a ledger event by event; what is closed is forgotten, so memory stays bounded."""

    def __init__(self, differ: Differ, *, whole: bool = False) -> None:
        """Report to `differ`; `whole` says that no event of the ledger will be left out."""
        self._differ = differ
        self._whole = whole
        self.accounts: dict[str, Account] = {}
        self.books: dict[str, Book] = {}
        self.registry = Registry()
        self.catalog = Catalog(self.registry, whole=whole)
        self._parked = ParkedRecords(whole=whole)
        self.events = 0
        self.position = 0
        self.recorded_at = 0
        self._ledger_version = 0

    def add(self, event: Event) -> None:
        """Check one event against everything before it, and take it into account."""
        self.events += 1
        position = self.position + 1
        try:
            envelope = envelope_of(event)
            position = envelope.position
            self._place(position, envelope.recorded_at)
            if envelope.customer is None:
                self._add_of_ledger(envelope)
            else:
                self._add_of_customer(envelope, envelope.customer)
        except _BROKEN as error:
            found = f"{type(error).__name__}: {error}"
            self._report(position, "event", "an event of a known form", found)

    def _report(self, position: int, what: str, expected: object, found: object) -> None:
        self._differ(Difference(position, what, shown(expected), shown(found)))

    def _place(self, position: int, recorded_at: int) -> None:
        """See that positions have no gaps, and that time never goes back."""
        if self._whole and position != self.position + 1:
            self._report(position, "position", self.position + 1, position)
        elif position <= self.position:
            self._report(position, "position", f"above {self.position}", position)
        if recorded_at < self.recorded_at:
            self._report(position, "recorded_at", f"{self.recorded_at} or later", recorded_at)
        self.position = max(position, self.position)
        self.recorded_at = max(recorded_at, self.recorded_at)

    def _add_of_customer(self, envelope: Envelope, customer: str) -> None:
        position, name, version, stream, stream_version = envelope[:5]
        occurred_at, recorded_at, data = envelope.occurred_at, envelope.recorded_at, envelope.data
        data = payload(data)
        account = self.accounts.get(customer)
        if account is None:
            account = self.accounts[customer] = self._account(customer)
            if name != "customer_created":
                self._report(position, "customer", "created before", customer)
        self._check_sequence(account, position, envelope.customer_sequence)
        rule = RULES.get(name)
        if rule is None or version != 1:
            self._report(position, "name", "an event this program knows", f"{name} {version}")
            return
        fact = Fact(position, name, recorded_at, envelope.command, data, self._differ)
        fact.check("customer", customer)
        if name not in _EXPIRIES and name not in _AFTER_A_CHARGE:
            check_nothing_is_due(account, fact)
        check_blocked(account, fact)
        if account.releasing is not None and name not in _AFTER_A_CHARGE:
            fact.differ("order", "the release of a parked record", name)
            account.releasing = None
        occurred = together.first_of(name, data).get("occurred_at")
        happened = recorded_at if occurred is None else parse_instant(occurred)
        if occurred_at != happened:
            self._report(position, "occurred_at", happened, occurred_at)
        if (stream, stream_version) != (place := rule(account, fact)):
            self._report(position, "stream", _spelt(place), _spelt((stream, stream_version)))

    def _account(self, customer: str) -> Account:
        return Account(customer, self.books, self._parked, self.catalog)

    def _check_sequence(self, account: Account, position: int, sequence: int | None) -> None:
        if sequence != account.sequence + 1:
            expected = f"{account.sequence + 1} of customer {account.id}"
            self._report(position, "customer_sequence", expected, sequence)
        account.sequence = account.sequence + 1 if sequence is None else sequence

    def _add_of_ledger(self, envelope: Envelope) -> None:
        """Check an event that concerns the ledger itself: prices, and who may read it."""
        position, name, version, stream, stream_version = envelope[:5]
        data = payload(envelope.data)
        if envelope.customer_sequence is not None:
            self._report(position, "customer_sequence", None, envelope.customer_sequence)
        fact = Fact(position, name, envelope.recorded_at, envelope.command, data, self._differ)
        if version != 1 or name not in _OF_LEDGER:
            self._report(position, "name", "an event this program knows", f"{name} {version}")
            return
        if name == "prices_published":
            place = self._publish(fact)
        elif name == "usage_parked":
            place = self._park(fact)
        elif name == "policy_published":
            place = self.catalog.publish(fact)
        elif name == "pipeline_published":
            place = pipelines.publish(self.catalog.pipelines, fact)
        elif name in EVENTS:
            place = self.registry.add(fact)
        else:
            self._ledger_version += 1
            place = "ledger-0", self._ledger_version
        if (stream, stream_version) != place:
            self._report(position, "stream", _spelt(place), _spelt((stream, stream_version)))

    def _park(self, fact: Fact) -> Place:
        """Check the parking of a record that names nobody."""
        name = fact.data["customer"]
        if name in self.accounts:
            fact.differ("customer", "nobody", name)
        return usage_parked(self._account(name), fact)

    def _publish(self, fact: Fact) -> Place:
        """Check that a version is the next one and changes no price that was in force."""
        data = fact.data
        book = self.books.setdefault(data["book"], Book(data["currency"]))
        fact.check("currency", book.currency)
        fact.check("version", len(book.versions) + 1)
        if fact.command != f"{data['book']}:{data['effective_from']}":
            expected = f"{data['book']}:{data['effective_from']}"
            self._report(fact.position, "command", expected, fact.command)
        changed = book.changed(data, fact.at)
        if changed is not None:
            fact.differ(*changed)
        book.publish(data)
        return f"prices-{data['book']}", len(book.versions)

    def finish(self) -> None:
        """Report what had to come next and did not; nothing can be added after this."""
        for account in self.accounts.values():
            if account.crossing is not None:
                at = format_instant(account.crossing.at)
                expected = f"account_blocked of {account.id} after usage at {at}"
                self._report(self.position, "order", expected, None)

    def customer_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each customer's state in the form of docs/formats/state.md, in order of id."""
        for name in sorted(self.accounts):
            yield name, account_state(self.accounts[name])

    def book_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each price book in the form of docs/formats/state.md, in order of id."""
        for name in sorted(self.books):
            yield name, book_state(self.books[name])

    def export_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the export list in the form of docs/formats/state.md, once there is one."""
        yield from self.registry.export_states()

    def license_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each licence in the form of docs/formats/state.md, in order of id."""
        yield from licenses.license_states(self.accounts)

    def policy_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each published template in the form of docs/formats/state.md, in order of name."""
        yield from self.catalog.states()

    def pipeline_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each pipeline in the form of docs/formats/state.md, in order of name."""
        yield from sorted(self.catalog.pipelines.items())

    def stages_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what binds open stages in the form of docs/formats/state.md, in order of id."""
        yield from pipelines.stages_states(self.accounts)

    def model_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each model in the form of docs/formats/state.md, in order of name."""
        yield from self.registry.model_states()

    def reservation_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each open reservation in the form of docs/formats/state.md, in order of id."""
        every = [
            (name, customer, reservation)
            for customer, account in self.accounts.items()
            for name, reservation in account.reservations.items()
        ]
        for name, customer, reservation in sorted(every, key=lambda each: each[0]):
            yield name, reservation_state(customer, reservation)


def _spelt(place: Place) -> str:
    return f"{place[0]} version {place[1]}"
