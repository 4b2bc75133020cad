"""The bench as a command: choose figures, measure, print and write the table."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from benchmarks import report
from benchmarks.bench import open_bench
from benchmarks.catalogue import LARGE, with_baselines
from benchmarks.figures import BY_NAME, FIGURES, QUICK, Sizes
from benchmarks.running import measure
from entrypoints.tuning import tune


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="fill the table into this page, between its markers",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=list(BY_NAME),
        help="measure these figures and what they are compared with",
    )
    parser.add_argument(
        "--large",
        action="store_true",
        help=f"measure {LARGE} alone: about 25 GB of disk and a quarter of an hour",
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny counts: shows that it runs, measures nothing"
    )
    parser.add_argument("--list", action="store_true", help="list the figures and their targets")
    return parser.parse_args(arguments)


def _leave(number: int, _frame: FrameType | None) -> None:
    """End as an error does, so that servers and folders go as well."""
    sys.exit(128 + number)


def main() -> int:
    """Measure what was asked for; returns 1 when a measurement failed."""
    chosen = options()
    signal.signal(signal.SIGTERM, _leave)
    if chosen.list:
        for figure in FIGURES:
            print(f"{figure.name:34} {figure.unit:9} {figure.target():32} {figure.says}")
        return 0
    names = chosen.only or [name for name in BY_NAME if name != LARGE]
    wanted = with_baselines([LARGE] if chosen.large else names)
    tune()
    with open_bench(QUICK if chosen.quick else Sizes()) as bench:
        for line in bench.machine.lines():
            print(line)
        results, failed = measure(bench, wanted)
    report.show(results)
    if chosen.quick:
        print("Measured with tiny counts: these figures mean nothing.")
    if chosen.json:
        report.write_json(results, chosen.json)
    if chosen.markdown:
        table = report.as_markdown(results, bench.machine)
        report.fill_in(chosen.markdown, "bench-large" if chosen.large else "bench", table)
    if failed:
        print(f"These could not be measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
