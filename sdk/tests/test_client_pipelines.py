"""What the methods about pipelines send, and what they make of the answers."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from tollbook.client import Pipeline, PipelineSettled, pipeline_calls
from tollbook.client.calls import Call
from tollbook.client.reading import read
from tollbook.errors import Invalid

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
RUN = "/v1/pipelines/rag/reservations/run-1"
CALLS: list[tuple[Call[Any], str, str, Any]] = [
    (
        pipeline_calls.publish_pipeline(
            "rag",
            [
                {"name": "rank", "model": "m", "estimate": {"gpu_seconds": Decimal("0.5")}},
                {"name": "write", "model": "m", "licensed": True, "estimate": None},
            ],
            id="p-1",
        ),
        "POST",
        "/v1/pipelines",
        {
            "id": "p-1",
            "pipeline": "rag",
            "stages": [
                {"name": "rank", "model": "m", "estimate": {"gpu_seconds": "0.5"}},
                {"name": "write", "model": "m", "licensed": True},
            ],
        },
    ),
    (
        pipeline_calls.reserve_pipeline(
            "rag",
            "acme",
            {"write": {"estimate": {"requests": 1}, "license": "lic", "facts": {"region": "eu"}}},
            ttl_seconds=9,
            id="run-1",
        ),
        "POST",
        "/v1/pipelines/rag/reservations",
        {
            "id": "run-1",
            "customer": "acme",
            "stages": [
                {
                    "stage": "write",
                    "estimate": {"requests": 1},
                    "license": "lic",
                    "facts": {"region": "eu"},
                }
            ],
            "ttl_seconds": 9,
        },
    ),
    (
        pipeline_calls.settle_pipeline(
            "rag", "run-1", {"write": {"gpu_seconds": 2}}, occurred_at=NOON, id="s-1"
        ),
        "POST",
        f"{RUN}/settle",
        {
            "id": "s-1",
            "stages": [{"stage": "write", "usage": {"gpu_seconds": "2"}}],
            "occurred_at": "2026-01-02T12:00:00.000000Z",
        },
    ),
    (
        pipeline_calls.release_pipeline("rag", "run-1", reason="enough", id="r-1"),
        "POST",
        f"{RUN}/release",
        {"id": "r-1", "reason": "enough"},
    ),
    (pipeline_calls.pipeline("rag"), "GET", "/v1/pipelines/rag", None),
    (pipeline_calls.pipeline_reservation("rag", "run-1"), "GET", RUN, None),
    (pipeline_calls.pipelines().page(None), "GET", "/v1/pipelines", None),
]


@pytest.mark.parametrize(("call", "method", "path", "body"), CALLS)
def test_a_call_about_pipelines_is_this_request(
    call: Call[Any], method: str, path: str, body: Any
) -> None:
    assert (call.request.method, call.request.path) == (method, path)
    assert (call.request.body and json.loads(call.request.body)) == body


@pytest.mark.parametrize("name", ["", "a/b", "a?b", "x" * 129, "é", None])
def test_a_name_that_would_lead_elsewhere_is_refused(name: Any) -> None:
    for call in (
        pipeline_calls.pipeline,
        lambda name: pipeline_calls.release_pipeline("rag", name),
    ):
        with pytest.raises(Invalid):
            call(name)


def money(amount: str) -> dict[str, str]:
    """Return an amount as it travels."""
    return {"amount": amount, "currency": "USD"}


def test_a_settlement_is_read_with_its_lines() -> None:
    names = ("charged", "from_balance", "receivable", "released")
    line = {
        "stage": "write",
        "reservation": "run-1.write",
        **{name: money("1.5") for name in names},
    }
    document = {
        "id": "s-1",
        "position": 7,
        "pipeline": "rag",
        "reserved": "run-1",
        **{name: money("1.5") for name in names},
        "stages": [line],
    }
    found = read(PipelineSettled, document)
    assert [each.charged for each in found.stages] == [found.charged]


def test_a_pipeline_is_read_with_its_stages() -> None:
    stage = {"name": "write", "model": "m", "licensed": False}
    document = {
        "pipeline": "rag",
        "version": 2,
        "stages": [stage, {**stage, "name": "rank", "estimate": {"gpu_seconds": "0.5"}}],
        "position": 7,
        "published_at": "2026-01-02T12:00:00.000000Z",
    }
    found = read(Pipeline, document)
    assert [each.estimate for each in found.stages] == [None, {"gpu_seconds": Decimal("0.5")}]
