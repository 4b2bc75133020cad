"""How long the repeated fault tests go on: a few rounds, or as long as the environment says."""

import os
import time
from collections.abc import Iterator

SECONDS = int(os.environ.get("TOLLBOOK_FAULT_SECONDS", "0"))
"""How long each repeated test goes on at least; `TOLLBOOK_FAULT_SECONDS=600` is a long soak."""


def rounds(least: int) -> Iterator[int]:
    """Count rounds: at least this many, and on until the time is over."""
    end = time.monotonic() + SECONDS
    number = 0
    while number < least or time.monotonic() < end:
        yield number
        number += 1
