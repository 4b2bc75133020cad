"""Every fact the ledger can hold, by stable name and version (docs/formats/events.md).

A fact repeats the fields of the command that caused it, under the same names and exactly as
given, so that the same id with another body can be refused by naming the field.
"""

from typing import Any, Literal

from domain import fraud_events as _fraud_events  # noqa: F401 - defining events registers them
from domain import guard_events as _guard_events  # noqa: F401 - defining events registers them
from domain import license_events as _license_events  # noqa: F401 - defining events registers them
from domain import pipeline_events as _pipelines  # noqa: F401 - defining events registers them
from domain import registry_events as _registry_events  # noqa: F401 - registers them as well
from domain import usage_events as _more_events  # noqa: F401 - defining events registers them
from domain.event import Event, event
from domain.facts import FactsBody
from domain.license_events import KeyHash
from domain.units import Usage
from domain.values import Currency, Digest, GrantAmounts, Id, Instant, KeyText, Money, Name, Text


class _OfCustomer(Event):
    """A fact in the customer's own stream."""

    __slots__ = ()

    def stream(self) -> str:
        """Return the customer's stream."""
        return f"customer-{self.customer}"


@event("customer_created", kind="create_customer")
class CustomerCreated(_OfCustomer):
    """A customer exists; the name is stored sealed under the customer's own key."""

    credit_limit: Money
    currency: Currency
    customer: Id
    name_sealed: str
    plan: Id
    price_book: Id
    time_zone: str


@event("customer_changed", kind="change_customer")
class CustomerChanged(_OfCustomer):
    """Terms of a customer changed; absent fields stay as they were."""

    credit_limit: Money | None = None
    customer: Id
    name_sealed: str | None = None
    plan: Id | None = None
    price_book: Id | None = None
    time_zone: str | None = None


@event("grant_issued", kind="issue_grant")
class GrantIssued(Event):
    """Money was put at a customer's disposal; what repaid an overdraft is not."""

    amount: Money
    customer: Id
    expires_at: Instant | None = None
    grant: Id
    kind: Literal["paid", "promotional"]
    models: tuple[Name, ...] | None = None
    overdraft_repaid: Money
    priority: int

    def stream(self) -> str:
        """Return the grant's stream."""
        return f"grant-{self.grant}"


@event("grants_expired")
class GrantsExpired(_OfCustomer):
    """What was left free in these grants is breakage."""

    customer: Id
    grants: GrantAmounts


@event("holds_expired")
class HoldsExpired(_OfCustomer):
    """These holds ran out and their money went back to where it came from."""

    customer: Id
    holds: GrantAmounts
    """(reservation, amount) pairs in order of reservation id."""


OF_RESERVATION = "reservation-"
"""How the stream of a reservation begins; its id follows."""


class _OfReservation(Event):
    """A fact in the stream of a reservation."""

    __slots__ = ()
    reservation: str

    def stream(self) -> str:
        """Return the reservation's stream."""
        return OF_RESERVATION + self.reservation


@event("reservation_held", kind="reserve")
class ReservationHeld(_OfReservation):
    """Money was set aside for an inference, or for several."""

    credit: Money
    customer: Id
    decision: dict[str, Any] | None = None
    """What the licence said: the policy's version, and what its limits leave."""
    estimate: Usage
    """What one inference may use."""
    expires_at: Instant
    facts: FactsBody | None = None
    grants: GrantAmounts
    held: Money
    inferences: int | None = None
    license: Id | None = None
    license_key: KeyHash | None = None
    model: Name
    request_hash: Digest | None = None
    reservation: Id
    ttl_seconds: int | None = None


@event("reservation_extended", kind="extend")
class ReservationExtended(_OfReservation):
    """A hold got more money, more time, or both; `credit` and `grants` are what was added."""

    credit: Money
    customer: Id
    decision: dict[str, Any] | None = None
    estimate: Usage | None = None
    expires_at: Instant
    grants: GrantAmounts
    held: Money
    reservation: Id
    ttl_seconds: int | None = None


@event("reservation_settled", kind="settle")
class ReservationSettled(_OfReservation):
    """Usage was charged against a reservation: charged = from_balance + receivable."""

    charged: Money
    credit: Money
    customer: Id
    final: bool
    from_balance: Money
    grants: GrantAmounts
    inference: Literal[True] | None = None
    """Given, this part is an inference of its own: its reservation is for several."""
    license: Id | None = None
    licensed: Id | None = None
    """The reservation's licence, when the hold had run out and had given its units back."""
    model: Name
    occurred_at: Instant | None = None
    period: str
    price_book: Id
    price_version: int
    receivable: Money
    record: KeyText | None = None
    """The usage record, when it had been parked: the key belongs to its parking."""
    released: Money
    request_hash: Digest | None = None
    reservation: Id
    response_hash: Digest | None = None
    source: KeyText | None = None
    usage: Usage
    volume: int
    """Tokens of this model in this period before this usage."""

    def command_scope(self) -> str:
        """Return the source of the usage record, or the customer for a plain settle."""
        return self.customer if self.source is None else self.source

    def command_kind(self) -> str:
        """Return `usage` for a usage record, and nothing for one that was parked before."""
        if self.record is not None:
            return ""
        return "settle" if self.source is None else "usage"

    @property
    def is_inference(self) -> bool:
        """Say whether this is an inference of its own, and not a part of one."""
        return self.final or self.inference is True


@event("reservation_released", kind="release")
class ReservationReleased(_OfReservation):
    """A hold was given back without usage."""

    customer: Id
    reason: Text | None = None
    released: Money
    reservation: Id


@event("usage_charged", kind="usage")
class UsageCharged(_OfCustomer):
    """Usage without a reservation was charged."""

    charged: Money
    credit: Money
    customer: Id
    from_balance: Money
    grants: GrantAmounts
    license: Id | None = None
    model: Name
    occurred_at: Instant
    period: str
    price_book: Id
    price_version: int
    receivable: Money
    record: KeyText | None = None
    """The usage record, when it had been parked: the key belongs to its parking."""
    request_hash: Digest | None = None
    response_hash: Digest | None = None
    source: KeyText
    usage: Usage
    volume: int

    def command_scope(self) -> str:
        """Return the source of the usage record."""
        return self.source

    def command_kind(self) -> str:
        """Return `usage`, and nothing for a record that was parked before."""
        return "" if self.record is not None else "usage"

    @property
    def is_inference(self) -> bool:
        """Say whether this is an inference of its own, as it is without a reservation."""
        return True


@event("prices_published", kind="publish_prices")
class PricesPublished(Event):
    """A version of a price book; it is in force from `effective_from` until the next one is."""

    book: Id
    currency: Currency
    effective_from: Instant
    models: list[dict[str, Any]]
    """The models exactly as published, prices as decimal strings (docs/formats/price-book.md)."""
    version: int

    def stream(self) -> str:
        """Return the price book's stream."""
        return f"prices-{self.book}"

    def command_scope(self) -> str:
        """Return the empty scope: a book's versions are the ledger's, not a customer's."""
        return ""


@event("min_reader_raised", kind="raise_min_reader")
class MinReaderRaised(Event):
    """From here on only code that reads at least this version may decide."""

    reader: int

    def stream(self) -> str:
        """Return the ledger's own stream."""
        return "ledger-0"

    def command_scope(self) -> str:
        """Return the empty scope: this is about the whole ledger."""
        return ""


@event("command_refused")
class CommandRefused(_OfCustomer):
    """A rule said no; the id stays refused for ever."""

    body: dict[str, Any]
    """The refused command's fields as they travel, without its id."""
    code: str
    customer: Id
    detail: str
    facts: dict[str, Any]
    kind: str
    scope: str

    def command_scope(self) -> str:
        """Return the scope of the refused command."""
        return self.scope

    def command_kind(self) -> str:
        """Return the kind of the refused command."""
        return self.kind
