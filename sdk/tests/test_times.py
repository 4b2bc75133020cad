"""Instants on the wire and inside."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook import times
from tollbook.errors import Invalid

EXAMPLES = [
    ("1970-01-01T00:00:00.000000Z", 0),
    ("2023-11-16T18:15:46.680590Z", 1_700_158_546_680_590),
    ("2024-02-29T23:59:59.999999Z", 1_709_251_199_999_999),
    ("9999-12-31T23:59:59.999999Z", times.MAX_INSTANT),
]
READ = [
    ("2023-11-16T18:15:46Z", 1_700_158_546_000_000),
    ("2023-11-16T18:15:46.6Z", 1_700_158_546_600_000),
    ("2023-11-16T18:15:46.680590999Z", 1_700_158_546_680_590),
    ("2023-11-16t18:15:46.68059z", 1_700_158_546_680_590),
    ("2023-11-16t18:15:46.680590Z", 1_700_158_546_680_590),
    ("2023-11-16T18:15:46.680590z", 1_700_158_546_680_590),
    ("2023-11-16T19:45:46.68059+01:30", 1_700_158_546_680_590),
    ("2023-11-16T10:15:46.68059-08:00", 1_700_158_546_680_590),
    ("1969-12-31T23:00:00-01:00", 0),
]
REFUSED = [
    "",
    "2023-11-16",
    "2023-11-16T18:15:46",
    "2023-11-16 18:15:46Z",
    "2023-11-16T18:15Z",
    "2023-11-16T18:15:60Z",
    "2023-11-16T24:00:00Z",
    "2023-02-29T00:00:00Z",
    "2023-13-01T00:00:00Z",
    "2023-11-16T18:15:46.Z",
    "2023-11-16T18:15:46.1234567890Z",
    "2023-11-16T18:15:46+24:00",
    "2023-11-16T18:15:46+0100",
    "2023-11-16T18:15:46Z\n",
    "٢023-11-16T18:15:46Z",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "0000-01-01T00:00:00Z",
    "0000-01-01T00:00:00.000000Z",
    "1969-12-31T23:59:59.000000Z",
    "2023-02-29T00:00:00.000000Z",
    "2023-11-16T18:15:60.000000Z",
    "2023-11-16 18:15:46.680590Z",
    "2023-11-16T18:15:46.68059_Z",
    "2023-11-16T18:15:46.-80590Z",
    "2023-11-16T18:15:46.68059\u0660Z",
    "2023-11-16T18:15:4\u0666.680590Z",
    "2023-11-16T18:15:46.680590Z\n",
    1_700_158_546,
    None,
]


@pytest.mark.parametrize(("text", "instant"), EXAMPLES)
def test_an_instant_is_written_in_one_way(text: str, instant: int) -> None:
    assert times.format_instant(instant) == text
    assert times.parse_instant(text) == instant


@pytest.mark.parametrize(("text", "instant"), READ)
def test_offsets_and_other_precisions_are_understood(text: str, instant: int) -> None:
    assert times.parse_instant(text) == instant


@pytest.mark.parametrize("text", REFUSED)
def test_what_names_no_instant_is_refused(text: object) -> None:
    with pytest.raises(Invalid) as refusal:
        times.parse_instant(text, "occurred_at")
    assert refusal.value.facts["field"] == "occurred_at"


@pytest.mark.parametrize("instant", [-1, times.MAX_INSTANT + 1])
def test_an_instant_outside_the_years_is_not_written(instant: int) -> None:
    with pytest.raises(Invalid):
        times.format_instant(instant)


@given(st.integers(0, times.MAX_INSTANT))
def test_instants_agree_with_the_calendar(instant: int) -> None:
    text = times.format_instant(instant)
    assert times.parse_instant(text) == instant
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert datetime.fromisoformat(text) == epoch + timedelta(microseconds=instant)
