"""Pipelines behind a gateway, for tests: published ones, their meters, and what became of runs."""

import itertools
from typing import Any

from domain.event import Recorded
from domain.pipeline_events import PipelineReserved, PipelineSettled
from domain.usage_events import UsageParked
from tests.gateway.rig import TEXT_ESTIMATE, TEXT_USAGE, Licensee, Rig

ONCE: dict[str, Any] = {"usage": {"requests": {"constant": 1}}}
WRITE: dict[str, Any] = {"usage": TEXT_USAGE, "estimate": TEXT_ESTIMATE}
STAGE_METERS = {"retrieve": ONCE, "write": WRITE, "polish": ONCE}
STAGES: list[dict[str, Any]] = [
    {"name": "retrieve", "model": "rag/retrieve"},
    {"name": "write", "model": "rag/write", "licensed": True},
    {"name": "polish", "model": "rag/polish", "licensed": True},
]
"""As the ensemble `pipeline` of adapters/triton/models has its steps."""
RETRIEVED, POLISHED = 1_000_000_000, 2_000_000_000
"""What the stages cost that cost the same each time, in 10^-12 dollars."""

HELD = [*["reservation_held"] * 3, "pipeline_reserved"]
SETTLED = [*["reservation_settled"] * 3, "pipeline_settled"]
RELEASED = [*["reservation_released"] * 3, "pipeline_released"]
PARKED = ["usage_parked"] * 3

_numbers = itertools.count(1)


def published(rig: Rig, name: str | None = None, stages: list[dict[str, Any]] | None = None) -> str:
    """Publish a pipeline, under a name of its own unless one is given; return its name."""
    number = next(_numbers)
    found = name or f"rag-{number}"
    body = {"id": f"{found}:{number}", "pipeline": found, "stages": stages or STAGES}
    rig.tollbook.run("publish_pipeline", body).result()
    return found


def meter(pipeline: str, **more: Any) -> dict[str, Any]:
    """Return the meter of the ensemble as a pipeline."""
    return {"name": "pipeline", "pipeline": pipeline, "stage": STAGE_METERS, **more}


def own(who: Licensee) -> list[Recorded]:
    """Return what happened to a customer, without what was done by hand."""
    return [each for each in who.events() if each.actor != "system"]


def names(who: Licensee) -> list[str]:
    """Return the names of what happened, without what was done by hand."""
    return [each.event.NAME for each in own(who)]


def reserved(who: Licensee) -> PipelineReserved:
    """Return the one run that was reserved."""
    (found,) = [each.event for each in own(who) if isinstance(each.event, PipelineReserved)]
    return found


def settled(who: Licensee) -> PipelineSettled:
    """Return the one run that was settled."""
    (found,) = [each.event for each in own(who) if isinstance(each.event, PipelineSettled)]
    return found


def parked(who: Licensee) -> list[UsageParked]:
    """Return the records that were parked, in their order."""
    return [each.event for each in who.events() if isinstance(each.event, UsageParked)]


def assert_exact(who: Licensee, tokens: tuple[int, int]) -> None:
    """Check that the lines of the one run are its charges, and sum to what the customer paid."""
    run, charges = settled(who), who.charges()
    written = tokens[0] * 1_000_000 + tokens[1] * 2_000_000
    assert [line.charged for line in run.lines] == [RETRIEVED, written, POLISHED]
    assert [charge.charged for charge in charges] == [line.charged for line in run.lines]
    balance = who.rig.tollbook.balance(who.customer)
    assert balance.spent == sum(line.charged for line in run.lines)
    assert balance.held == 0
