"""The report: a table for the terminal, the same in Markdown, and JSON for programs."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Result
from benchmarks.machine import Machine

HEADINGS = ("figure", "median", "rounds", "ratio", "target", "reached", "what")
TABLE_WIDTH = 150


def number(value: float) -> str:
    """Write a number with as many digits as mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def row(result: Result) -> tuple[str, ...]:
    """Write one result as the cells of a table."""
    figure = result.figure
    low, high = min(result.values), max(result.values)
    ratio = "" if result.ratio is None else f"{number(result.ratio)}x {figure.baseline}"
    reached = ""
    if result.reached is not None:
        reached = f"{'yes' if result.met else 'NO'}, {result.reached:.0%}"
    return (
        figure.name,
        f"{number(result.value)} {figure.unit}",
        f"{number(low)} to {number(high)}",
        ratio,
        figure.target(),
        reached,
        figure.says,
    )


def show(results: Sequence[Result]) -> None:
    """Print the table, without its last column."""
    console = Console(highlight=False, width=max(Console().width, TABLE_WIDTH))
    table = Table(*HEADINGS[:-1], box=box.SIMPLE_HEAD)
    for result in results:
        table.add_row(*row(result)[:-1], style="red" if result.met is False else None)
    console.print(table)


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the results as JSON data, one object per figure."""
    return [
        {
            "name": result.figure.name,
            "value": result.value,
            "unit": result.figure.unit,
            "baseline": result.baseline,
            "ratio": result.ratio,
            "baseline_name": result.figure.baseline,
            "rounds": result.values,
            "target": result.figure.target() or None,
            "met": result.met,
        }
        for result in results
    ]


def write_json(results: Sequence[Result], path: Path) -> None:
    """Write the results to a file."""
    path.write_text(json.dumps(as_json(results), indent=2) + "\n", encoding="utf-8")


def as_markdown(results: Sequence[Result], machine: Machine) -> str:
    """Return the date, the machine and the table."""
    lines = [f"Measured on {datetime.now(UTC):%Y-%m-%d}.", *machine.lines(), ""]
    lines.append(_markdown_row(HEADINGS))
    lines.append(_markdown_row(["--"] * len(HEADINGS)))
    lines += [_markdown_row(row(result)) for result in results]
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def fill_in(path: Path, block: str, text: str) -> None:
    """Replace what stands between the two markers of a block; raises SystemExit without them."""
    start, end = f"<!-- {block}:start -->", f"<!-- {block}:end -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    page = path.read_text(encoding="utf-8")
    if not pattern.search(page):
        raise SystemExit(f"{path} has no lines {start} and {end}")
    filled = f"{start}\n{text}\n{end}"
    path.write_text(pattern.sub(lambda _: filled, page, count=1), encoding="utf-8")
