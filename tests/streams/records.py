"""Records of usage as gateways send them, for tests of the stream."""

import time
from typing import Any

from tollbook.times import format_instant

from streams import wire
from streams.settlement import Record

SOURCE = "gateway/one"
MODEL = "gpt4-equivalent"
USAGE = {"input_tokens": 1000, "output_tokens": 500}

_OCCURRED: dict[str, str] = {}
"""When each inference ran: the moment at which a test first spoke of it."""


def forget() -> None:
    """Begin a test, whose inferences run from now on."""
    _OCCURRED.clear()


def usage_event(id: str, customer: str = "cust-1", **more: Any) -> dict[str, Any]:
    """Return the CloudEvent of an inference that ran, on the reservation of its id."""
    data = {
        "customer": customer,
        "model": MODEL,
        "usage": USAGE,
        "occurred_at": _OCCURRED.setdefault(id, format_instant(time.time_ns() // 1_000)),
        **more,
    }
    envelope = {"specversion": "1.0", "type": wire.USAGE, "source": SOURCE, "id": id, "subject": id}
    return {**envelope, "time": data["occurred_at"], "data": data}


def record(offset: int, *events: dict[str, Any], partition: int = 0) -> Record:
    """Return a record with these events."""
    return Record(partition, offset, b"cust-1", wire.packed(events))


def raw(offset: int, value: bytes | None, partition: int = 0) -> Record:
    """Return a record of any bytes."""
    return Record(partition, offset, b"cust-1", value)
