"""How much of a long test is done: all of it in CI, and a part where a developer waits for it."""

import os

EXAMPLES = int(os.environ.get("TOLLBOOK_EXAMPLES", "40"))
"""How many random examples a long test takes; CI asks for 200."""

FULL = 200
"""From so many examples on, a test whose size is fixed is done in full."""


def in_full_or(part: int, full: int) -> int:
    """Return the full size of a test where that is asked for, else a part of it."""
    return full if EXAMPLES >= FULL else part
