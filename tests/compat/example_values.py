"""Values that the examples of stored events share."""

from typing import Any

NOON = "2024-05-10T12:00:00.000001Z"
NOON_US = 1_715_342_400_000_001
TEXT = 'any text: " \\ / é 漢 🧾 \u007f \u2028'
USAGE = {"compute_units": "0.000001", "gpu_seconds": "1.5", "input_tokens": 374, "requests": 1}
LAST = "9999-12-31T23:59:59.999999Z"

FACTS: dict[str, Any] = {
    "address": {"from": "observed", "value": "192.0.2.7"},
    "channel": "on_premise",
    "cloud_account": {"from": "attested", "value": "111122223333"},
    "country": {"from": "observed", "value": "DE"},
    "device": "device-1",
    "domain": "app.example.com",
    "environment": "production",
    "features": ["batch", "fine_tuning"],
    "gpus": {"from": "signed", "value": ["GPU-1", "GPU-2"]},
    "hardware": {"board": "0a" * 16, "cpu": "f9" * 16},
    "model_version": "4.1.0-rc.1+build.7",
    "region": "eu-west-1",
    "watermark": "applied",
}
"""Every fact, some of them declared and some known better."""

DECISION: dict[str, Any] = {
    "grace": True,
    "policy": "org:gold:2:1",
    "remaining": [["rate", 5, NOON], ["compute", "1.5", LAST]],
}
"""What a licence said of a request that it admitted in its grace time."""
PARTS = [["grant-1", "0.000037500000"], ["grant-2", "1.000000000000"]]
"""Grants and amounts."""
