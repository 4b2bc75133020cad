"""Reading files of usage records, and showing what is in them: nothing lost, nothing obeyed."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.cli_support import printable

from entrypoints.cli.customer_rules import read_cap
from entrypoints.cli.records import entries
from entrypoints.cli.tables import amount, exact, instant, table

OBJECTS = st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers(0, 9), max_size=3)


def read(data: bytes) -> list[tuple[tuple[str, int], Any, bool]]:
    """Read a file; return the place and the event of each entry, and whether it is a problem."""
    found = entries(io.BytesIO(data), "file")
    return [(each.place, each.event, each.problem is not None) for each in found]


@given(st.lists(OBJECTS | st.sampled_from(["", "  ", "broken"]), min_size=1), st.booleans())
def test_every_line_is_an_event_a_problem_or_blank(listed: list[Any], ended: bool) -> None:
    listed = [{"first": 1}, *listed]
    texts = [each if isinstance(each, str) else json.dumps(each) for each in listed]
    data = ("\n".join(texts) + "\n" * ended).encode()
    expected = [
        (("line", number), None if each == "broken" else each, each == "broken")
        for number, each in enumerate(listed, 1)
        if not isinstance(each, str) or each.strip()
    ]
    assert read(data) == expected
    sizes = sum(each.size for each in entries(io.BytesIO(data), "file"))
    blank = sum(len(text) + 1 for text in texts if not text.strip())
    assert len(data) - blank <= sizes <= len(data)


@given(st.lists(OBJECTS, min_size=1), st.sampled_from([None, 1, 4]))
def test_a_list_is_one_document_however_it_is_laid_out(
    listed: list[Any], indent: int | None
) -> None:
    data = b"\n \n" + json.dumps(listed, indent=indent).encode()
    assert read(data) == [(("item", n), each, False) for n, each in enumerate(listed, 1)]
    assert sum(each.size for each in entries(io.BytesIO(data), "file")) == len(data)


@pytest.mark.parametrize(
    ("pico", "shown", "whole"),
    [
        (0, "0.00 USD", "0.00 USD"),
        (5 * 10**9, "0.005 USD", "0.005 USD"),
        (-(10**6), "-0.000001 USD", "-0.000001 USD"),
        (12_345 * 10**9, "12.34 USD", "12.345 USD"),
        (-1_234_567 * 10**12, "-1,234,567.00 USD", "-1234567.00 USD"),
    ],
)
def test_an_amount_is_rounded_unless_nothing_would_be_left(
    pico: int, shown: str, whole: str
) -> None:
    assert exact(pico, "USD") == whole
    sign, digits = ("-", -pico) if pico < 0 else ("", pico)
    text = f"{sign}{digits // 10**12}.{digits % 10**12:012d}"
    assert amount({"amount": text, "currency": "USD"}) == shown


def test_a_time_without_parts_of_a_second_is_shown_shorter() -> None:
    assert instant("2026-01-02T03:04:05.000000Z") == "2026-01-02T03:04:05Z"
    assert instant("2026-01-02T03:04:05.000001Z") == "2026-01-02T03:04:05.000001Z"
    assert instant(None) == ""


def test_a_table_shows_control_characters_and_folds_nothing_in_a_pipe() -> None:
    drawn = table(("a", "b"), [("[red]x\x1b[31m\n", "y" * 500)])
    assert "[red]x\\x1b[31m\\n" in drawn
    assert "y" * 500 in drawn
    assert printable("\u202eabc \xe4") == "\\u202eabc \xe4"


def test_a_cap_is_read_as_it_is_written() -> None:
    assert read_cap("id=a,unit=requests,limit=5,calendar=day,model=x,model=y/z") == {
        "id": "a",
        "unit": "requests",
        "limit": 5,
        "calendar": "day",
        "models": ["x", "y/z"],
    }
    assert read_cap("limit=0.5,unit=gpu_seconds,rolling=60") == {
        "limit": "0.5",
        "unit": "gpu_seconds",
        "rolling_seconds": 60,
    }
