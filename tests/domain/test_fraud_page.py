"""docs/fraud.md says what scoring is: its signs, its lines, and the figures of the simulation."""

import re
from pathlib import Path

from benchmarks.fraud_simulation import simulate, table
from domain.fraud_case import STATUSES
from domain.fraud_scoring import FLAG_FROM, HABIT_MIN, MACHINES_NEW, REASON_CODES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "fraud.md").read_text("utf-8")


def test_every_reason_code_is_there_and_no_other() -> None:
    assert tuple(
        re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| [^|]+ \| [^|]+ \|", PAGE, re.MULTILINE)
    ) == (REASON_CODES)


def test_the_lines_are_those_of_the_program() -> None:
    assert f"At {FLAG_FROM} and\nmore the customer is flagged" in PAGE
    assert f"{MACHINES_NEW} while habits are young" in PAGE
    assert f"{HABIT_MIN} requests besides" in PAGE
    for status in STATUSES:
        assert status in PAGE


def test_the_figures_are_those_of_the_simulation() -> None:
    rows = simulate()
    assert table(rows) in PAGE, "python -m benchmarks.fraud_simulation"
    honest = sum(row.flagged for row in rows if not row.fraud)
    caught = sum(row.flagged for row in rows if row.fraud)
    assert caught > 10 * honest, "whatever the page says, scoring must be of use"
