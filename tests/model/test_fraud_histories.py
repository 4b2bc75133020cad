"""Random histories of flags, verdicts, bursts and requests: each answer is that of a small model.

The audit's recomputation, and a fold from nothing, come to the same state as the ledger.
"""

from dataclasses import dataclass
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tollbook.recompute import recompute
from tollbook.times import format_instant

from adapters.clock import TraceClock
from adapters.event_store.mapper import recorded_from
from application.executor import Executor
from application.folded import FoldedLedger
from application.jobs import Item
from domain.commands import parse
from tests.integration.audit_workload import rows_of
from tests.model.guard_inputs import CHEAP
from tests.model.wire import SECOND, instant
from tests.support.memory_store import MemoryEventStore

HOUR = 3_600 * SECOND
STEPS = ("flag", "clear", "clear_first", "confirm", "unblock", "burst", "reserve")


@dataclass
class Model:
    """What the rules say of one customer, in as few words as there are."""

    number: int = 0
    status: str = "cleared"
    blocked: bool = False

    def flag(self) -> str:
        """Open a case, unless one stands."""
        if self.status == "cleared":
            self.number, self.status = self.number + 1, "flagged"
        return "done"

    def burst(self) -> str:
        """Use far too much."""
        if not self.blocked:
            self.blocked = True
            self.flag()
        return "done"

    def clear(self) -> str:
        """Clear the newest case."""
        if not self.number:
            return "not_found"
        if self.status == "cleared":
            return "case_cleared"
        self.status, self.blocked = "cleared", False
        return "done"

    def clear_first(self) -> str:
        """Clear the first case."""
        return self.clear() if self.number < 2 else "case_cleared"

    def confirm(self) -> str:
        """Confirm the newest case."""
        if not self.number:
            return "not_found"
        if self.status != "flagged":
            return f"case_{self.status}"
        self.status = "confirmed"
        return "done"

    def unblock(self) -> str:
        """Unblock without a word on the case."""
        if self.status == "confirmed":
            return "case_confirmed"
        if not self.blocked:
            return "not_blocked"
        self.blocked = False
        return "done"

    def reserve(self) -> str:
        """Ask for something new."""
        return "account_blocked" if self.blocked or self.status == "confirmed" else "done"


class History:
    """A ledger in memory with one customer, who can afford many requests."""

    def __init__(self) -> None:
        """Publish prices, create the customer, and let it use something."""
        self.store = MemoryEventStore("trace")
        self.executor = Executor(self.store, TraceClock(0))
        self.now = instant("2026-03-10T12:00:00Z")
        self._numbers = count(1)
        book = {**CHEAP, "id": "default"}
        self.send("publish_prices", id="default:2020-01-01T00:00:00.000000Z", book=book)
        terms = {"name_sealed": "c2VhbGVk", "currency": "USD", "credit_limit": "1000"}
        self.send("create_customer", id="dash", **terms)
        assert self.use(1) == "done"

    def send(self, kind: str, /, **body: Any) -> str:
        """Send a command; return its code."""
        named = {"id": f"c{next(self._numbers)}", **body}
        (answer,) = self.executor.execute([Item(parse(kind, named), at=self.now)])
        return answer.code

    def use(self, requests: int) -> str:
        """Charge requests."""
        record = {"source": "s", "model": "flat", "occurred_at": format_instant(self.now)}
        return self.send("usage", customer="dash", usage={"requests": requests}, **record)

    def step(self, step: str, number: int) -> str:
        """Do one thing about the case of a number; return the code of the answer."""
        self.now += SECOND
        case = {"case": f"dash.{max(number, 1)}", "reason": "looked at"}
        match step:
            case "flag":
                return self.send("flag_customer", customer="dash", reason="odd")
            case "clear":
                return self.send("clear_case", **case)
            case "clear_first":
                return self.send("clear_case", **{**case, "case": "dash.1"})
            case "confirm":
                return self.send("confirm_case", **case)
            case "unblock":
                return self.send("unblock", customer="dash", reason="asked")
            case "burst":
                self.now += 25 * HOUR
                return self.use(1001)
        return self.send("reserve", customer="dash", model="flat", estimate={"requests": 1})


@given(st.lists(st.sampled_from(STEPS), max_size=25))
def test_every_answer_is_that_of_the_model_and_the_audit_agrees(steps: list[str]) -> None:
    history, model = History(), Model()
    for step in steps:
        number = model.number
        assert history.step(step, number) == getattr(model, step)(), (step, steps)
    history.executor.close()
    rows = rows_of(history.store)
    folded = FoldedLedger()
    for row in rows:
        folded.apply(recorded_from(row))
    balance = folded.balances["dash"]
    assert (balance.block is not None) == model.blocked
    case = balance.case
    assert (0 if case is None else case.number) == model.number
    assert (model.status if case is None else case.status) == model.status
    assert recompute(rows, whole=True).differences == []
