"""The commands of fraud cases: flag a customer, and say what came of the look at it."""

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from domain.command import CONFIG, Command
from domain.fraud_events import CaseId, Points, Signs
from domain.values import Id, Text

POSITION_MAX = 2**53 - 1


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class FlagCustomer(Command):
    """Ask for a look at a customer; a program that scores says its score and the signs behind."""

    KIND: ClassVar[str] = "flag_customer"
    id: Id
    customer: Id
    reason: Text
    score: Points | None = None
    signs: Signs | None = Field(default=None, min_length=1, max_length=20)
    rule: int | None = Field(default=None, ge=1, le=1_000_000)
    seen: int | None = Field(default=None, ge=1, le=POSITION_MAX)


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ClearCase(Command):
    """Find no fraud in a case: it is over, and a block ends in the same step."""

    KIND: ClassVar[str] = "clear_case"
    id: Id
    case: CaseId
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ConfirmCase(Command):
    """Find fraud in a case: nothing new is admitted until it is cleared."""

    KIND: ClassVar[str] = "confirm_case"
    id: Id
    case: CaseId
    reason: Text


FRAUD_COMMANDS: tuple[type[Command], ...] = (FlagCustomer, ClearCase, ConfirmCase)
