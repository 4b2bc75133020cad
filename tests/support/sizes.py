"""How much of a long test is done: all of it in CI, and a part where a developer waits for it."""

import os
from collections.abc import Iterable
from random import Random

EXAMPLES = int(os.environ.get("TOLLBOOK_EXAMPLES", "20"))
"""How many random examples a long test takes; CI asks for 200."""

FULL = 200
"""From so many examples on, a test whose size is fixed is done in full."""


def in_full_or(part: int, full: int) -> int:
    """Return the full size of a test where that is asked for, else a part of it."""
    return full if EXAMPLES >= FULL else part


def all_or(count: int, names: Iterable[str]) -> list[str]:
    """Return all cases of a test, else so many of them: which ones is chance, by the run's seed.

    Every process of a run chooses the same, and they keep their order.
    """
    every = list(names)
    chance = Random(f"{os.environ.get('TOLLBOOK_SEED', '0')}-{every}")
    chosen = chance.sample(every, in_full_or(count, len(every)))
    return sorted(chosen, key=every.index)
