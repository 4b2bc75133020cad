"""docs/fraud.md says what scoring is: its signs, its lines, and the figures of the simulation."""

import re
from pathlib import Path

from benchmarks.fraud_simulation import KINDS, line, simulate, table
from domain.fraud_case import STATUSES
from domain.fraud_scoring import FLAG_FROM, HABIT_MIN, MACHINES_NEW, REASON_CODES
from tests.support.sizes import in_full_or

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


def test_the_figures_are_those_of_the_simulation(seed: int) -> None:
    """In CI all of them; else those of every third kind of customers, which ones by the seed."""
    every = in_full_or(3, 1)
    rows = simulate(range(seed % every, len(KINDS), every))
    lines = PAGE.splitlines()
    assert [line(row) for row in rows if line(row) not in lines] == []
    if len(rows) == len(KINDS):
        assert table(rows) in PAGE, "python -m benchmarks.fraud_simulation"


def test_whatever_the_page_says_scoring_is_of_use() -> None:
    kinds = "|".join(re.escape(kind) for kind, *_ in KINDS)
    told = re.findall(rf"^\| (?:{kinds}) \| (yes|no) \| \d+ \| (\d+) \|", PAGE, re.MULTILINE)
    assert len(told) == len(KINDS)
    caught = sum(int(flagged) for fraud, flagged in told if fraud == "yes")
    assert caught > 10 * sum(int(flagged) for fraud, flagged in told if fraud == "no")
