"""What becomes of a usage record that no rule lets be charged at once: parked, then released."""

from typing import Any

from domain.event import Event, event
from domain.values import GrantAmounts, Id, KeyText, Money


@event("usage_parked", kind="usage")
class UsageParked(Event):
    """A usage record is kept uncharged until somebody releases it; its key is taken for ever."""

    body: dict[str, Any]
    """The rest of the record, as it travels."""
    code: str
    customer: Id
    """Whom the record names; the envelope has a customer only if there is one by that id."""
    detail: str
    facts: dict[str, Any]
    parked: str
    record: KeyText
    source: KeyText

    def stream(self) -> str:
        """Return the record's own stream."""
        return f"usage-{self.parked}"

    def command_scope(self) -> str:
        """Return the source of the usage record."""
        return self.source


@event("usage_released", kind="release_usage")
class UsageReleased(Event):
    """A parked usage record was charged after all; its charge was recorded right before."""

    charged: Money
    customer: Id
    from_balance: Money
    grants: GrantAmounts
    parked: str
    price_book: Id
    price_version: int
    receivable: Money
    record: KeyText
    released: Money | None = None
    """What went back from the hold, for a record about a reservation."""
    source: KeyText

    def stream(self) -> str:
        """Return the record's own stream."""
        return f"usage-{self.parked}"
