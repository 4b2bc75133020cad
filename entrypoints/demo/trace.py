"""The inferences a demo runs: read from a trace file, or made from a seed in the same shape."""

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tollbook.errors import Invalid
from tollbook.times import SECOND, parse_instant

HEADER = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
ROWS_MAX = 5_000_000
TOKENS_MAX = 10_000_000

SEED = 20231116
SEEDED_ROWS = 10_000
SEEDED_START = "2023-11-16T18:00:00Z"

# Deciles of a conversation workload, in tokens: long prompts, short answers, heavy tails.
CONTEXT_DECILES = (7, 180, 390, 560, 810, 1020, 1180, 1470, 2240, 3480, 8100)
GENERATED_DECILES = (1, 30, 55, 90, 125, 170, 230, 290, 360, 430, 990)
GAP_MAX_US = 370_000
"""Gaps between rows are drawn evenly from 0 to this many microseconds."""


class Row(NamedTuple):
    """One inference: its number in the trace, when it ran, and its tokens."""

    number: int
    at: int
    input_tokens: int
    output_tokens: int


def read_trace(path: Path, limit: int | None) -> list[Row]:
    """Read a trace, in the order of its times; an unusable line is named with field and rule."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_parse(csv.reader(file), path, limit))
    except OSError as error:
        raise Invalid(
            f"the trace {path} cannot be read: {error.strerror}", field="trace", value=str(path)
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise Invalid(f"the trace {path} is not CSV: {error}", field="trace") from None
    if not rows:
        raise Invalid(f"the trace {path} has no rows", field="trace", value=str(path))
    return sorted(rows, key=lambda row: (row.at, row.number))


def _parse(lines: Iterator[list[str]], path: Path, limit: int | None) -> Iterator[Row]:
    header = next(lines, [])
    if [name.strip() for name in header] != HEADER:
        raise Invalid(
            f"{path} must start with the header {','.join(HEADER)}",
            field="header",
            value=",".join(header)[:100],
        )
    most = ROWS_MAX if limit is None else min(limit, ROWS_MAX)
    number = 0
    for line, cells in enumerate(lines, 2):
        if not cells:
            continue
        if number >= most:
            return
        if len(cells) != len(HEADER):
            raise Invalid(f"{path}, line {line}: must have {len(HEADER)} columns", field="line")
        yield Row(
            number,
            _instant(cells[0], line),
            _count(cells[1], HEADER[1], line),
            _count(cells[2], HEADER[2], line),
        )
        number += 1


def _instant(text: str, line: int) -> int:
    stripped = text.strip().replace(" ", "T", 1)
    zoned = stripped if stripped.endswith(("Z", "z")) or "+" in stripped else f"{stripped}Z"
    try:
        return parse_instant(zoned, HEADER[0])
    except Invalid as error:
        raise Invalid(f"line {line}: {error.message}", **error.facts) from None


def _count(text: str, field: str, line: int) -> int:
    stripped = text.strip()
    digits = stripped.isascii() and stripped.isdigit() and len(stripped) <= 9
    if not digits or int(stripped) > TOKENS_MAX:
        rule = f"a whole number from 0 to {TOKENS_MAX}"
        raise Invalid(
            f"line {line}: {field} is {stripped[:40]!r}: must be {rule}",
            field=field,
            value=stripped[:40],
            rule=rule,
        )
    return int(stripped)


def seeded_trace(limit: int | None, seed: int = SEED) -> list[Row]:
    """Make a trace in the shape of a conversation workload; the same seed gives the same rows."""
    draw = random.Random(seed)  # noqa: S311 - a workload, not a secret
    at = parse_instant(SEEDED_START)
    rows = []
    for number in range(SEEDED_ROWS if limit is None else min(limit, ROWS_MAX)):
        at += draw.randrange(GAP_MAX_US)
        rows.append(
            Row(
                number,
                at,
                _from_deciles(draw, CONTEXT_DECILES),
                _from_deciles(draw, GENERATED_DECILES),
            )
        )
    return rows


def _from_deciles(draw: random.Random, deciles: tuple[int, ...]) -> int:
    index = draw.randrange(len(deciles) - 1)
    return draw.randint(deciles[index], deciles[index + 1])


def duration_seconds(rows: list[Row]) -> int:
    """Return how long a trace is, in whole seconds."""
    return (rows[-1].at - rows[0].at) // SECOND if rows else 0
