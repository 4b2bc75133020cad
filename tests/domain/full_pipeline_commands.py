"""A body of every kind of command about pipelines, with every field that it has."""

from typing import Any

from tests.domain.full_license_commands import FACTS, WHEN

_RUN = {"pipeline": "rag", "reserved": "run-1"}
_UNITS = {"requests": 1, "gpu_seconds": "1.5"}

PIPELINE_FULL: dict[str, dict[str, Any]] = {
    "publish_pipeline": {
        "id": "p1",
        "pipeline": "rag",
        "stages": [{"name": "rank", "model": "org/m", "licensed": True, "estimate": _UNITS}],
    },
    "reserve_pipeline": {
        "id": "run-1",
        "customer": "acme",
        "pipeline": "rag",
        "stages": [
            {
                "stage": "rank",
                "estimate": _UNITS,
                "license": "lic",
                "license_key": "0a" * 16,
                "facts": FACTS,
                "request_hash": "0a" * 32,
            }
        ],
        "ttl_seconds": 60,
    },
    "settle_pipeline": {
        "id": "s1",
        **_RUN,
        "stages": [
            {
                "stage": "rank",
                "usage": _UNITS,
                "request_hash": "0a" * 32,
                "response_hash": "f9" * 32,
            }
        ],
        "occurred_at": WHEN,
    },
    "release_pipeline": {"id": "l1", **_RUN, "reason": "client went away"},
}
