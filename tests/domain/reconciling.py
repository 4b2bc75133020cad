"""Servers that have counted, inferences that have ended, and what is found between them."""

from typing import Any

from domain.reconciliation import INSIDE, Ended, Line, Sold, reconciled
from domain.server_counters import Counted, Counters

FAILED, LEFT = "the server failed it", "its client left before anything was produced"
LOST = "nobody knows whether the server ran it, and its answer was lost"
SOLD = Sold({"text": ("textgen",)})


def servers(stages: dict[str, dict[str, int]] | None = None, **models: Counters) -> Counted:
    return Counted(models, {}, (), 0, stages or {})


def some(count: int, how: Any = "charged", reason: str = "", **more: Any) -> Ended:
    made = Ended("text", INSIDE, how, reason, "", count)
    return made._replace(**more)


def one(counted: Counted, *ended: Ended, sold: Sold = SOLD) -> Line:
    (line,) = [line for line in reconciled(counted, ended, sold) if line.model == "text"]
    return line


def causes(line: Line) -> dict[str, int]:
    return {part.cause: part.number for part in line.parts if part.number}


PIPELINE = {"pipeline": {"retrieve": 1, "textgen": 2}}
