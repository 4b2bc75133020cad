"""Random commands of the model registry and of the export list, for the random ledgers."""

import json
import random
from collections.abc import Sequence
from typing import Any

from tollbook.times import format_instant

DAY = 86_400_000_000

Body = dict[str, Any]


def registry_command(chosen: random.Random, now: int, models: Sequence[str]) -> tuple[str, Body]:
    """Return a kind of command and its body without an id; many of them are refused."""
    kinds = ("register_model", "release_model_version", "yank_model_version")
    (kind,) = chosen.choices((*kinds, "publish_export_list"), (1, 4, 1, 1))
    if kind == "publish_export_list":
        return kind, {"countries": chosen.sample(("KP", "SY", "IR", "CU"), chosen.randint(0, 3))}
    body: Body = {"model": chosen.choice(models)}
    if kind != "register_model":
        body["version"] = f"1.{chosen.randrange(3)}.{chosen.randrange(3)}"
    if kind == "yank_model_version":
        body["reason"] = "it leaks"
    if kind == "release_model_version":
        body |= _origin(chosen, now)
    return kind, body


def _origin(chosen: random.Random, now: int) -> Body:
    """Return what is said of a version, each part of it now and then."""
    body: Body = {}
    if chosen.random() < 0.5:
        body["digest"] = f"{chosen.getrandbits(8):02x}" * 32
    if chosen.random() < 0.5:
        body["released_at"] = format_instant(now - chosen.choice((0, 1, DAY)))
    if chosen.random() < 0.5:
        body["provenance"] = [{"name": "license", "value": "MIT"}]
    if chosen.random() < 0.5:
        component: Body = {"type": "machine-learning-model", "name": "m"}
        if "digest" in body and chosen.random() < 0.5:
            component["hashes"] = [{"alg": "SHA-256", "content": body["digest"]}]
        head = {"bomFormat": "CycloneDX", "specVersion": "1.6"}
        body["bom"] = json.dumps({**head, "components": [component]})
    return body
