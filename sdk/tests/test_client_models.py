"""What the methods about models send, and what is refused before anything is sent."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tollbook.client import model_calls
from tollbook.client.calls import Call
from tollbook.errors import Invalid

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
CALLS: list[tuple[Call[Any], str, str, Any]] = [
    (
        model_calls.register_model("org/gpt:4", id="m-1"),
        "POST",
        "/v1/models",
        {"id": "m-1", "model": "org/gpt:4"},
    ),
    (
        model_calls.release_version(
            "org/gpt:4",
            "1.0.0-rc.1+b",
            released_at=NOON,
            digest="0a" * 32,
            provenance=[{"name": "license", "value": "MIT"}],
            bom="{}",
            id="v-1",
        ),
        "POST",
        "/v1/models/org/gpt:4/versions",
        {
            "id": "v-1",
            "version": "1.0.0-rc.1+b",
            "released_at": "2026-01-02T12:00:00.000000Z",
            "digest": "0a" * 32,
            "provenance": [{"name": "license", "value": "MIT"}],
            "bom": "{}",
        },
    ),
    (
        model_calls.yank_version("a+b@c", "1.0.0+b.1", "leaks", id="y-1"),
        "POST",
        "/v1/models/a+b@c/versions/1.0.0+b.1/yank",
        {"id": "y-1", "reason": "leaks"},
    ),
    (model_calls.model("org/..."), "GET", "/v1/models/org/...", None),
    (model_calls.models().page(7), "GET", "/v1/models?after=7", None),
]


@pytest.mark.parametrize(("call", "method", "path", "body"), CALLS)
def test_a_call_about_models_is_this_request(
    call: Call[Any], method: str, path: str, body: Any
) -> None:
    assert (call.request.method, call.request.path) == (method, path)
    assert (call.request.body and json.loads(call.request.body)) == body


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "a//b", ".", "a/../b", "a/versions", "a?b", "a%2Fb", "x" * 129, "é", None],
)
def test_a_model_that_would_lead_elsewhere_is_refused(name: Any) -> None:
    for call in (
        model_calls.model,
        lambda name: model_calls.release_version(name, "1.0.0"),
        lambda name: model_calls.yank_version(name, "1.0.0", "leaks"),
    ):
        with pytest.raises(Invalid, match="model"):
            call(name)


@pytest.mark.parametrize("version", ["", "1", "1.0", "../1.0.0", "1.0.0/x", "1.0.0?", "1.0.0-", 1])
def test_a_version_that_would_lead_elsewhere_is_refused(version: Any) -> None:
    with pytest.raises(Invalid, match="version"):
        model_calls.yank_version("m", version, "leaks")
