"""Examples of the facts that tell several inferences at once."""

from typing import Any

from tests.compat.example_values import NOON, PARTS, TEXT, USAGE

INFERENCE_EXAMPLES: dict[tuple[str, int], dict[str, Any]] = {
    ("inferences_settled", 1): {
        "customer": "cust-1",
        "license": "lic-1",
        "lines": [
            {
                "charged": "1.000037500000",
                "credit": "0.000000000001",
                "grants": PARTS,
                "id": TEXT,
                "licensed": "lic-1",
                "occurred_at": NOON,
                "receivable": "0.000000000002",
                "request_hash": "0a" * 32,
                "response_hash": "f9" * 32,
                "usage": USAGE,
                "volume": 0,
            },
            {"charged": "0.000000000000", "id": "i-2", "usage": USAGE, "volume": 7},
        ],
        "model": "gpt4-equivalent",
        "period": "2024-05",
        "price_book": "default",
        "price_version": 1,
        "reservation": "r-1",
        "source": TEXT,
    },
}
