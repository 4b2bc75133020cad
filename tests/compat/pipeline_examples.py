"""An example of every event about pipelines, with all its fields."""

from typing import Any

from tests.compat.example_values import FACTS, NOON, TEXT, USAGE

_RUN = {"customer": "cust-1", "pipeline": "rag", "reserved": "run-1"}
_NOTHING = "0.000000000000"

PIPELINE_EXAMPLES: dict[tuple[str, int], dict[str, Any]] = {
    ("pipeline_published", 1): {
        "pipeline": "rag",
        "stages": [
            {"estimate": USAGE, "licensed": True, "model": "org/embed@1", "name": "retrieve"},
            {"licensed": False, "model": "gpt4-equivalent", "name": "write_2"},
        ],
        "version": 2,
    },
    ("pipeline_reserved", 1): {
        **_RUN,
        "expires_at": NOON,
        "held": [["retrieve", "0.000037500000"], ["write_2", "1.000000000000"]],
        "stages": [
            {
                "estimate": USAGE,
                "facts": FACTS,
                "license": "lic-1",
                "license_key": "0a" * 16,
                "request_hash": "f9" * 32,
                "stage": "retrieve",
            },
            {"stage": "write_2"},
        ],
        "ttl_seconds": 300,
        "version": 2,
    },
    ("pipeline_settled", 1): {
        **_RUN,
        "lines": [
            {
                "charged": "1.000037500000",
                "from_balance": "1.000037400000",
                "receivable": "0.000000100000",
                "released": _NOTHING,
                "stage": "retrieve",
            },
            {
                "charged": _NOTHING,
                "from_balance": _NOTHING,
                "receivable": _NOTHING,
                "released": "1.000000000000",
                "stage": "write_2",
            },
        ],
        "occurred_at": NOON,
        "stages": [
            {
                "request_hash": "0a" * 32,
                "response_hash": "f9" * 32,
                "stage": "retrieve",
                "usage": USAGE,
            }
        ],
    },
    ("pipeline_released", 1): {
        **_RUN,
        "reason": TEXT,
        "released": [["write_2", "1.000000000000"]],
    },
}
