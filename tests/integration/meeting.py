"""What random workloads meet: one after another, until everything that is looked for was met."""

from collections import Counter
from collections.abc import Callable, Iterable

TRIES = 300
"""Of so many workloads one in a thousand million runs misses what one in fifteen meets."""


def met_by(
    work: Callable[[int], Iterable[str]], seed: int, wanted: set[str], least: int = 1
) -> Counter[str]:
    """Take the workload of one seed after another until all that is wanted was met; count it.

    How many that takes is left to chance. What none of so many meets cannot be met any more.
    """
    met: Counter[str] = Counter()
    for number in range(TRIES):
        met.update(work(seed + number))
        if number + 1 >= least and wanted <= met.keys():
            return met
    raise AssertionError(f"never met: {sorted(wanted - met.keys())}, but {met}")
