"""The facts that guard an account: it was blocked or unblocked, and its caps were set."""

from typing import Literal

from domain.cap import Caps
from domain.event import Event, event
from domain.values import Count, Id, Instant, Text


@event("account_blocked")
class AccountBlocked(Event):
    """The settlement before this fact crossed the line of the fraud rule; nothing is admitted."""

    customer: Id
    occurred_at: Instant
    """When the usage of that settlement occurred: the rule's t."""
    recent: Count
    rule: Literal[1]
    total: Count
    windows: Count

    def stream(self) -> str:
        """Return the customer's stream."""
        return f"customer-{self.customer}"


@event("account_unblocked", kind="unblock")
class AccountUnblocked(Event):
    """Somebody looked at a blocked account and lets it reserve again."""

    customer: Id
    reason: Text

    def stream(self) -> str:
        """Return the customer's stream."""
        return f"customer-{self.customer}"


@event("caps_set", kind="set_caps")
class CapsSet(Event):
    """These are the customer's caps from here on, and no others."""

    caps: Caps
    customer: Id

    def stream(self) -> str:
        """Return the customer's stream."""
        return f"customer-{self.customer}"
