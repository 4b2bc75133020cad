"""Standings: who may go on in an outage, by what the ledger said yes to, and on which slice."""

import time
from typing import Protocol

from domain.allowances import Allowance
from domain.pricebook import PriceBook
from entrypoints.gateway.admission import Admitted, Question
from entrypoints.gateway.config import Outage

QUESTIONS_MAX = 1_000
"""So many questions that had a yes are remembered of a licence and a model."""
_PASSING = frozenset({"insufficient_balance", "license_limit_reached", "usage_capped"})
"""What the ledger says no for now and again yes a little later, with the same licence."""


class Log(Protocol):
    """Where outcomes stand that the ledger has not been told."""

    def is_open(self, id: str) -> bool:
        """Say whether an inference was begun of whose end the ledger has not been told."""


class Slice:
    """One reservation that is handed out; only the event loop's thread touches it."""

    def __init__(
        self, allowance: Allowance, book: PriceBook, opened_at: int, asked_at: int
    ) -> None:
        """Begin when the ledger held it; `asked_at` is this process's clock before that, in ns."""
        self.allowance = allowance
        self.book = book
        self.opened_at = opened_at
        self._asked_at = asked_at
        self._answered_at = time.monotonic_ns()
        self.draws: dict[str, int] = {}
        """What was drawn for the inferences under way, by their ids."""
        self.ids: set[str] = set()
        """The inferences that it paid for."""
        self.is_parked = False
        """Whether somebody has to look at one of them, who will need the reservation open."""
        self.extensions = 0

    def now(self) -> int:
        """Return the ledger's time or a little later, for what runs out."""
        return self.opened_at + (time.monotonic_ns() - self._asked_at) // 1000

    def passed(self) -> int:
        """Return the ledger's time or a little earlier, for what is recorded."""
        return self.opened_at + (time.monotonic_ns() - self._answered_at) // 1000

    def is_told(self, log: Log) -> bool:
        """Say whether the ledger knows what became of everything that was drawn."""
        return not self.draws and not any(log.is_open(id) for id in self.ids)


class Heard:
    """The ledger's last yes to a question."""

    __slots__ = ("admitted", "at")

    def __init__(self, admitted: Admitted, at: int) -> None:
        """Remember when it was asked, by this process's clock in ns."""
        self.admitted = admitted
        self.at = at

    def age(self) -> float:
        """Return how many seconds ago it was asked."""
        return (time.monotonic_ns() - self.at) / 1e9


class Standing:
    """A licence and a model that may go on in an outage, as long as the ledger said yes lately."""

    def __init__(self, outage: Outage) -> None:
        """Begin without a slice."""
        self.outage = outage
        self.heard: dict[Question, Heard] = {}
        """What may be drawn for, oldest first."""
        self.last: tuple[Question, Heard] | None = None
        """The last yes of all: what a slice is kept by."""
        self.slice: Slice | None = None
        self.retry_at = 0.0
        """When a slice may be asked for again, after a no."""

    def hear(self, question: Question, heard: Heard) -> None:
        """Remember a yes."""
        self.heard.pop(question, None)
        self.heard[question] = heard
        self.last = question, heard
        if len(self.heard) > QUESTIONS_MAX:
            del self.heard[next(iter(self.heard))]

    def forget(self, code: str) -> None:
        """Draw for nothing until the next yes; give the slice back unless it was a passing no."""
        self.heard.clear()
        if code not in _PASSING:
            self.last = None
