"""The ledger as its users see it: commands in, answers and balances out."""

from typing import Any

from tollbook.errors import NotFound, Unavailable

from application.answers import Answer
from application.executor import Executor
from application.loading import load_balance, load_book, load_parked, load_reservation
from application.ports import ConnectionLostError, EventStore, Vault
from domain import capping
from domain.balance import Balance, BalanceView, view
from domain.commands import PublishPrices, parse
from domain.event import Recorded
from domain.inferences import told_by
from domain.pricebook import PriceBook, publication_id
from domain.quoting import quote, quote_request, quote_to_wire
from domain.reservation import Reservation
from domain.usage_events import UsageParked
from domain.values import is_id


class Tollbook:
    """Commands go to the executor; reads are folds of committed events."""

    def __init__(self, executor: Executor, store: EventStore, vault: Vault) -> None:
        """Put the parts together; `store` is for reading and may be used by any thread."""
        self.executor = executor
        self.store = store
        self._vault = vault

    def run(self, kind: str, body: dict[str, Any], *, actor: str = "system") -> Answer:
        """Decide one command given as its JSON body; personal fields are sealed on the way in."""
        command = parse(kind, self.sealed(kind, body))
        return self.executor.one(command, actor=actor)

    def sealed(self, kind: str, body: Any) -> Any:
        """Replace the personal fields of a body by their sealed form."""
        sealing = kind in ("create_customer", "change_customer")
        if not sealing or not isinstance(body, dict) or "name" not in body:
            return body
        rest = {field: value for field, value in body.items() if field != "name"}
        customer = body.get("id" if kind == "create_customer" else "customer")
        if not isinstance(customer, str) or not is_id(customer):
            return rest  # refused for its id when it is parsed; no key is made for it
        return {**rest, "name_sealed": self._vault.seal(customer, "name", body["name"])}

    def publish(self, book: dict[str, Any], *, actor: str = "system") -> Answer:
        """Publish a version of a price book given as its JSON or TOML document."""
        command = parse("publish_prices", {"id": "pending", "book": book})
        assert isinstance(command, PublishPrices)
        name = publication_id(command.book.id, command.book.effective_from)
        return self.executor.one(PublishPrices(id=name, book=command.book), actor=actor)

    def balance(self, customer: str) -> BalanceView:
        """Return a customer's balance now; what has expired by now counts nowhere."""
        return view(self.balance_state(customer), self.now())

    def balance_state(self, customer: str) -> Balance:
        """Return the folded state of a customer; raises NotFound for an unknown one."""
        balance = load_balance(self.store, customer, self.store.head().position)
        if balance.customer is None:
            raise NotFound(f"there is no customer {customer}", field="customer", value=customer)
        return balance

    def caps(self, customer: str) -> list[dict[str, Any]]:
        """Return a customer's caps with what is used and held of each, and when it resets."""
        return capping.view(self.balance_state(customer), self.now())

    def name(self, customer: str) -> str | None:
        """Return a customer's name, or None when their key was destroyed."""
        terms = self.balance_state(customer).customer
        assert terms is not None
        return self.opened_name(customer, terms.name_sealed)

    def opened_name(self, customer: str, sealed: str) -> str | None:
        """Return the name that a customer's sealed text holds, or None when it was erased."""
        return self._vault.open(customer, "name", sealed)

    def reservation(self, name: str) -> Reservation:
        """Return a reservation; raises NotFound for an unknown one."""
        found = load_reservation(self.store, name, self.store.head().position)
        if found is None:
            raise NotFound(f"there is no reservation {name}", field="reservation", value=name)
        return found

    def prices(self, book: str) -> PriceBook:
        """Return a price book with all its versions."""
        return load_book(self.store, book, self.store.head().position)

    def quote(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return what usage would cost and whether it would be admitted; nothing is recorded."""
        request = quote_request(body)
        balance = self.balance_state(request.customer)
        terms = balance.customer
        assert terms is not None
        quoted = quote(balance, self.prices(terms.price_book), request, self.now())
        return quote_to_wire(quoted, terms.currency)

    def outcome(self, kind: str, scope: str, name: str) -> Answer:
        """Return the answer a command got, by its id; raises NotFound when it got none.

        `scope` is the customer, or the source for usage records.
        """
        key = (kind, scope, name)
        try:
            position = self.store.taken([key]).get(key)
            if position is None:
                whose = f" of {scope}" if scope else ""
                raise NotFound(f"no {kind}{whose} has the id {name}", field="id", value=name)
            recorded = told_by(self.store.at([position])[position], name)
            if isinstance(recorded.event, UsageParked):
                recorded = self._released(recorded, recorded.event.parked)
        except ConnectionLostError as error:
            raise Unavailable(f"the database does not answer: {error}") from None
        currency = ""
        if recorded.customer is not None:
            terms = load_balance(self.store, recorded.customer, recorded.position).customer
            currency = terms.currency if terms else ""
        return Answer(name, recorded, currency, repeated=True)

    def _released(self, parking: Recorded, name: str) -> Recorded:
        """Return the release of a parked record, or its parking while there is none."""
        parked = load_parked(self.store, name, self.store.head().position)
        position = parking.position if parked is None else parked.answered_at
        return self.store.at([position])[position]

    def now(self) -> int:
        """Return the ledger's time: the database's, never behind what is recorded."""
        head = self.store.head()
        if head.clock == "trace":
            return head.recorded_at
        return max(self.store.database_time(), head.recorded_at)
