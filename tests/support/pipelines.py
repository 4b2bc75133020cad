"""Pipelines in a few words, on a ledger with the standard prices."""

from typing import Any

from application.answers import Answer
from application.tollbook import Tollbook
from tests.support.ledger import MODEL, USAGE

STAGES: list[dict[str, Any]] = [
    {"name": "retrieve", "model": MODEL, "estimate": {"input_tokens": 1000, "output_tokens": 0}},
    {"name": "write", "model": MODEL, "estimate": USAGE},
    {"name": "polish", "model": MODEL, "estimate": {"input_tokens": 500, "output_tokens": 500}},
]
"""0.01, 0.025 and 0.02 USD are held for them in the first tier."""
HELD = "0.055000000000"
"""What a run holds in all."""


def publish_pipeline(
    ledger: Tollbook, name: str = "rag", stages: list[dict[str, Any]] | None = None
) -> Answer:
    """Publish a version of a pipeline."""
    found = STAGES if stages is None else stages
    id = f"{name}-{ledger.store.head().position}"
    return ledger.run("publish_pipeline", {"id": id, "pipeline": name, "stages": found})


def reserve_pipeline(ledger: Tollbook, name: str, customer: str = "cust-1", **more: Any) -> Answer:
    """Hold the money for a run through the pipeline."""
    body = {"id": name, "customer": customer, "pipeline": "rag", **more}
    return ledger.run("reserve_pipeline", body)


def settle_pipeline(ledger: Tollbook, run: str, name: str | None = None, /, **usage: Any) -> Answer:
    """Settle a run: each stage that is named for its usage."""
    stages = [{"stage": stage, "usage": used} for stage, used in usage.items()]
    body = {"id": name or f"settle-{run}", "pipeline": "rag", "reserved": run, "stages": stages}
    return ledger.run("settle_pipeline", body)


def release_pipeline(ledger: Tollbook, run: str, name: str | None = None, **more: Any) -> Answer:
    """Give back what a run still holds."""
    body = {"id": name or f"release-{run}", "pipeline": "rag", "reserved": run}
    return ledger.run("release_pipeline", {**body, **more})
