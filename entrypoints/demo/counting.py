"""What the demo through Triton was charged, read from the ledger and compared with the model's log.

The log is the model's own: it owes nothing to what Triton or the gateway reports.
"""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from application.tollbook import Tollbook
from domain.events import ReservationHeld, ReservationSettled
from entrypoints.demo.job import Outcome

Inference = tuple[str, int, int]
"""Its id, its input tokens, its output tokens."""


class Counted(NamedTuple):
    """What the model itself says that it has done."""

    inferences: int
    input_tokens: int
    output_tokens: int
    equal: bool
    """Whether each of its inferences was charged, once, as it counted it, and nothing else was."""


def charged(tollbook: Tollbook, outcome: Outcome) -> list[Inference]:
    """Read every charge from the ledger into the tallies of an outcome, and return them all."""
    found: list[Inference] = []
    position = tollbook.store.head().position
    for customer, tally in outcome.customers.items():
        for recorded in tollbook.store.customer_events(customer, 0, position):
            event = recorded.event
            if isinstance(event, ReservationHeld):
                outcome.validated += 1
            if not isinstance(event, ReservationSettled):
                continue
            tokens = event.usage["input_tokens"], event.usage["output_tokens"]
            tally.charged += event.charged
            tally.input_tokens += tokens[0]
            tally.output_tokens += tokens[1]
            outcome.settled += 1
            found.append((event.reservation, *tokens))
    return found


def counted(log: Path, charges: list[Inference]) -> Counted:
    """Read a model's log, and compare it with all that was charged."""
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    records = [json.loads(line) for line in lines]
    done: list[Inference] = [
        (each["request_id"], each["input_tokens"], each["output_tokens"])
        for each in records
        if each["outcome"] == "ok"
    ]
    return Counted(
        len(done),
        sum(tokens for _, tokens, _ in done),
        sum(tokens for _, _, tokens in done),
        Counter(done) == Counter(charges),
    )
