"""The facts of fraud cases: an account was flagged, and what a reviewer came to see in it."""

from typing import Annotated

from pydantic import Field, StringConstraints

from domain.event import Event, event
from domain.values import Count, Id, Text

CASE_PATTERN = r"^[A-Za-z0-9._:-]{1,128}\.[1-9][0-9]{0,8}$"

CaseId = Annotated[str, StringConstraints(pattern=CASE_PATTERN)]
"""`CUSTOMER.NUMBER`: a customer's cases are counted from 1."""

SignCode = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,39}$")]
Points = Annotated[int, Field(ge=0, le=100)]

Signs = tuple[tuple[SignCode, Points], ...]
"""(reason code, points) pairs, in order of code; the score is their sum, at most 100."""


class _OfCase(Event):
    """A fact of a fraud case, in the customer's own stream: the case is part of the account."""

    __slots__ = ()
    customer: str

    def stream(self) -> str:
        """Return the customer's stream."""
        return f"customer-{self.customer}"


@event("fraud_flagged", kind="flag_customer")
class FraudFlagged(_OfCase):
    """Somebody, or a score, asks for a look at a customer: a case is opened, or has one flag more.

    The hard rule flags by `account_blocked` itself.
    """

    case: CaseId
    customer: Id
    reason: Text
    rule: Count | None = None
    """The version of the scoring that came to the score."""
    score: Points | None = None
    seen: Count | None = None
    """The position of the event at which the score stood."""
    signs: Signs | None = None


@event("fraud_cleared", kind="clear_case")
class FraudCleared(_OfCase):
    """A reviewer found no fraud: the case is over, and the account reserves again."""

    case: CaseId
    customer: Id
    reason: Text
    unblocked: bool
    """Whether a block of the hard rule stood, which ended with this."""


@event("fraud_confirmed", kind="confirm_case")
class FraudConfirmed(_OfCase):
    """A reviewer found fraud: nothing new is admitted until the case is cleared."""

    case: CaseId
    customer: Id
    reason: Text
