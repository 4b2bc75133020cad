"""A run: every stage's measurements in turn, round by round, into medians and ratios."""

import statistics
import sys
import traceback
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.bench import Bench
from benchmarks.catalogue import Measurement, stages_for
from benchmarks.figures import FIGURES, Result

Values = dict[str, list[float]]


def measure(bench: Bench, wanted: set[str]) -> tuple[list[Result], list[str]]:
    """Return the results of the wanted figures, and what failed.

    A measurement that fails does not take the minutes of the others with it.
    """
    values: Values = defaultdict(list)
    failed: list[str] = []
    for stage in stages_for(wanted):
        for number in range(1, bench.sizes.rounds + 1):
            bench.round = number
            _one_round(bench, stage, values, failed)
    return results(values, wanted), failed


def _one_round(
    bench: Bench, stage: Sequence[Measurement], values: Values, failed: list[str]
) -> None:
    for measurement in stage:
        name = measurement.figures[0]
        if name in failed or (measurement.once and bench.round > 1):
            continue
        try:
            found = measurement.run(bench)
        except Exception:  # noqa: BLE001 - whatever it is, the others go on
            traceback.print_exc()
            failed.append(name)
            continue
        for figure, value in found.items():
            values[figure].append(value)
        said = ", ".join(f"{figure} {value:,.2f}" for figure, value in found.items())
        print(f"round {bench.round} of {bench.sizes.rounds}: {said}", file=sys.stderr, flush=True)


def results(values: Values, wanted: set[str]) -> list[Result]:
    """Turn the values of all rounds into medians, in the order of the table."""
    found = []
    for figure in FIGURES:
        own = values.get(figure.same_as or figure.name)
        if figure.name in wanted and own:
            others = values.get(figure.baseline or "")
            baseline = statistics.median(others) if others else None
            found.append(Result(figure, statistics.median(own), baseline, own))
    return found
