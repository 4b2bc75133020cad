"""What the client's methods return: frozen values with exact money and aware times."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tollbook.client.money import Money
from tollbook.client.reading import Result, Usage
from tollbook.errors import TollbookError


@dataclass(frozen=True, kw_only=True)
class Done(Result):
    """A command was carried out: its id, and where in the ledger it stands."""

    id: str
    position: int


@dataclass(frozen=True, kw_only=True)
class CustomerDone(Done):
    """A customer was created or changed."""

    customer: str


@dataclass(frozen=True, kw_only=True)
class GrantIssued(Done):
    """Money was put at a customer's disposal."""

    amount: Money
    overdraft_repaid: Money


@dataclass(frozen=True, kw_only=True)
class PricesPublished(Done):
    """A version of a price book was published."""

    version: int
    effective_from: datetime


@dataclass(frozen=True, kw_only=True)
class Hold(Done):
    """Money is held for an inference until it expires; `id` is the command's id."""

    held: Money
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Released(Done):
    """A hold was given back."""

    released: Money


@dataclass(frozen=True, kw_only=True)
class GrantPart(Result):
    """What a charge took from one grant."""

    id: str
    amount: Money


@dataclass(frozen=True, kw_only=True)
class Charge(Done):
    """Usage was charged; `receivable` is the part that no balance covered."""

    charged: Money
    from_balance: Money
    receivable: Money
    price_version: int
    grants: tuple[GrantPart, ...]
    """In the order in which they were burnt."""


@dataclass(frozen=True, kw_only=True)
class Settlement(Charge):
    """A reservation was settled; `released` is what its hold gave back."""

    released: Money


@dataclass(frozen=True, kw_only=True)
class Customer(Result):
    """A customer and their terms."""

    id: str
    name: str | None
    """None when this key may not see it, or when it was erased."""
    currency: str
    credit_limit: Money
    time_zone: str
    price_book: str
    plan: str


@dataclass(frozen=True, kw_only=True)
class Balance(Result):
    """A customer's money at a position of the ledger."""

    available: Money
    held: Money
    granted: Money
    spent: Money
    receivable: Money
    credit_limit: Money
    position: int


@dataclass(frozen=True, kw_only=True)
class PriceVersion(Result):
    """One version of a price book; the models as published are in `raw`."""

    book: str
    currency: str
    version: int
    effective_from: datetime


@dataclass(frozen=True, kw_only=True)
class Quote(Result):
    """The price of a request, and whether it would be admitted now."""

    price: Money | None
    """At the present volume; None where there is no price, and then `why` says so."""
    price_version: int | None
    available: Money
    would_admit: bool
    why: Mapping[str, Any] | None
    """The refusal that it would meet, as a problem; None when it would be admitted."""


@dataclass(frozen=True, kw_only=True)
class Reservation(Result):
    """A reservation as it stands."""

    id: str
    customer: str
    model: str
    status: str
    """`open`, `expired`, `settled` or `released`."""
    estimate: Usage
    used: Usage
    opened_at: datetime
    expires_at: datetime
    held: Money
    charged: Money
    inferences: int | None
    """For how many inferences it was made; None where it is for one."""


@dataclass(frozen=True, kw_only=True)
class UsageResult(Result):
    """What became of one usage record: accepted, duplicate, parked or refused."""

    id: str | None
    source: str | None
    """Both as they were sent; None where a refused record had none that could be read."""
    status: str
    position: int | None
    charged: Money | None
    receivable: Money | None
    why: Mapping[str, Any] | None
    """Why it was parked, with a `code`."""
    problem: Mapping[str, Any] | None
    """Why it was refused, with a `code`; a refused record is not in the ledger."""


@dataclass(frozen=True, kw_only=True)
class CommandResult(Result):
    """What became of one command of a batch, or of a command that is asked about by id."""

    id: str
    status: str
    """`done` or `refused`."""
    answer: Done | None = field(default=None)
    """What was done, read as the command's own method returns it; None when it was refused."""
    error: TollbookError | None = field(default=None, compare=False)
    """Why it was refused, or None."""

    def done(self) -> Done:
        """Return what was done, or raise the refusal."""
        if self.error is not None:
            raise self.error
        assert self.answer is not None
        return self.answer


@dataclass(frozen=True, kw_only=True)
class Event(Result):
    """One event of the ledger, with its envelope and its leaf of the Merkle tree."""

    position: int
    name: str
    version: int
    stream: str
    stream_version: int
    customer: str | None
    customer_sequence: int | None
    command: Any
    actor: str
    occurred_at: datetime
    recorded_at: datetime
    data: Mapping[str, Any]
    leaf: str
