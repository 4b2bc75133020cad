"""Ensembles: which models Triton runs one after another for one, as the stages of a pipeline."""

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from tollbook.errors import Invalid, NotFound

from adapters.triton.http_client import HttpClient

ANSWER_BYTES = 4_000_000
SECONDS = 10.0
_NO_PART = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST = 28
"""So long a name leaves room for a number behind it."""


def read_ensemble(address: str, model: str) -> list[dict[str, str]]:
    """Ask a server for an ensemble's steps, and return them as stages; raises NotFound, Invalid."""
    host, _, port = address.rpartition(":")
    if not (host and "/" not in host and port.isdecimal()):
        raise Invalid.because("triton", address, "HOST:PORT, where the server speaks HTTP")
    return asyncio.run(_read(address, model))


async def _read(address: str, model: str) -> list[dict[str, str]]:
    async with HttpClient(address, ANSWER_BYTES) as server:
        path = f"/v2/models/{quote(model, safe='')}/config"
        answer = await server.ask("GET", path, seconds=SECONDS)
    if answer.status != 200:
        detail = f"the server at {address} has no model {model} (status {answer.status})"
        raise NotFound(detail, field="model", value=model)
    config = json.loads(answer.body)
    scheduling = config.get("ensemble_scheduling") if isinstance(config, dict) else None
    if not isinstance(scheduling, dict):
        raise Invalid.because("model", model, "an ensemble: this one runs no other models")
    return stages_of(step["model_name"] for step in scheduling["step"])


def stages_of(models: Iterable[str]) -> list[dict[str, str]]:
    """Return a stage for each model in order; one that comes again has a number behind its name."""
    stages: list[dict[str, str]] = []
    taken: set[str] = set()
    for model in models:
        first = name = _NO_PART.sub("-", model)[:_LONGEST]
        number = 1
        while name in taken:
            number += 1
            name = f"{first}-{number}"
        taken.add(name)
        stages.append({"name": name, "model": model})
    return stages


def as_toml(pipeline: str, stages: list[dict[str, Any]]) -> str:
    """Write a pipeline's file, to be completed with estimates and published."""
    # A text of these characters is written alike in JSON and in TOML.
    lines = [f"pipeline = {_quoted(pipeline)}"]
    for stage in stages:
        lines += ["", "[[stages]]", *(f"{name} = {_quoted(stage[name])}" for name in stage)]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return json.dumps(text)
