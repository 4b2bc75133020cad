"""Reading old events with new code: one JSON-to-JSON step per (name, version), never removed.

A step takes the payload of its version and returns that of the next. Meaning never changes in a
step; a fact whose meaning changes gets a new name.
"""

from collections.abc import Callable, Mapping
from typing import Any

Step = Callable[[dict[str, Any]], dict[str, Any]]

STEPS: Mapping[tuple[str, int], Step] = {}
"""(name, version) to the step that raises a payload to version + 1. Append-only."""


def upcast(
    name: str,
    version: int,
    payload: dict[str, Any],
    steps: Mapping[tuple[str, int], Step] = STEPS,
) -> tuple[int, dict[str, Any]] | None:
    """Raise a payload through every step there is; None when the first step is missing."""
    if (name, version) not in steps:
        return None
    while (step := steps.get((name, version))) is not None:
        payload = step(payload)
        version += 1
    return version, payload
