"""Caps: their form, their windows, what counts, and that they never let more through."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tollbook.errors import Invalid

from domain.cap import Cap, calendar_window, caps_from_wire, caps_to_wire
from domain.commands import SetCaps, parse
from domain.holds import Hold, Holds
from domain.metering import (
    Meter,
    Used,
    counted,
    reheld,
    resets_at,
    rezoned,
    set_up,
    used_at,
)
from tests.domain.examples import DAY, HOUR, MINUTE, NOON, SECOND, instant

DAILY: dict[str, Any] = {"id": "daily", "unit": "requests", "limit": 100, "calendar": "day"}
ROLLING: dict[str, Any] = {"id": "rolling", "unit": "pages", "limit": 9, "rolling_seconds": 60}


def cap(**fields: Any) -> Cap:
    """Return the daily cap with other fields; None leaves one out."""
    body = {name: value for name, value in {**DAILY, **fields}.items() if value is not None}
    return caps_from_wire([body])[0]


def rolling(seconds: int, limit: int = 10) -> Cap:
    """Return a rolling cap on requests."""
    return cap(id="rolling", limit=limit, calendar=None, rolling_seconds=seconds)


def after(meter: Meter, *uses: tuple[int, int], zone: str = "UTC") -> Meter:
    """Count (instant, requests), each charged when it occurred."""
    for at, requests in uses:
        (meter,) = counted((meter,), Used("m", {"requests": requests}, True, at), at, zone)
    return meter


@pytest.mark.parametrize(
    "body",
    [
        DAILY,
        ROLLING,
        {**DAILY, "models": ["a", "org/b@1"]},
        {**DAILY, "unit": "gpu_seconds", "limit": "1.5"},
        {**DAILY, "limit": 0},
        {**ROLLING, "rolling_seconds": 2_678_400},
    ],
)
def test_a_cap_is_written_as_it_was_given(body: dict[str, Any]) -> None:
    (found,) = caps_to_wire(caps_from_wire([body]))
    assert found == body
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"unit": "wishes"}, "unit must be one of"),
        ({"unit": 1}, "unit must be one of"),
        ({"limit": -1}, "between 0"),
        ({"limit": "5"}, "whole number"),
        ({"limit": True}, "whole number"),
        ({"limit": 1.5}, "whole number"),
        ({"unit": "gpu_seconds"}, "decimal string"),
        ({"id": ""}, "id must be"),
        ({"id": "a b"}, "id must be"),
        ({"id": "a\n"}, "id must be"),
        ({"calendar": None}, "either calendar or rolling_seconds"),
        ({"rolling_seconds": 60}, "either calendar or rolling_seconds"),
        ({"calendar": "year"}, "one of hour, day, week, month"),
        ({"calendar": ["day"]}, "one of hour, day, week, month"),
        ({"calendar": None, "rolling_seconds": 59}, "between 60 and"),
        ({"calendar": None, "rolling_seconds": 2_678_401}, "between 60 and"),
        ({"calendar": None, "rolling_seconds": "60"}, "between 60 and"),
        ({"models": []}, "1 to 100"),
        ({"models": "m"}, "1 to 100"),
        ({"models": ["m", 1]}, "names of models"),
        ({"colour": "red"}, "no field 'colour'"),
    ],
)
def test_a_cap_of_another_form_is_refused_by_name(change: dict[str, Any], rule: str) -> None:
    body = {name: value for name, value in {**DAILY, **change}.items() if value is not None}
    with pytest.raises(Invalid) as caught:
        parse("set_caps", {"id": "c", "customer": "acme", "caps": [body]})
    assert caught.value.facts["field"] == "caps"
    assert rule in str(caught.value.facts["rule"])


@pytest.mark.parametrize(
    "caps", [None, {}, "caps", [1], [DAILY, DAILY], [{**DAILY, "id": f"c{n}"} for n in range(21)]]
)
def test_caps_are_a_list_of_at_most_twenty_with_ids_of_their_own(caps: Any) -> None:
    with pytest.raises(Invalid):
        parse("set_caps", {"id": "c", "customer": "acme", "caps": caps})


def test_no_caps_at_all_and_twenty_are_accepted() -> None:
    for caps in ([], [{**DAILY, "id": f"c{number}"} for number in range(20)]):
        command = parse("set_caps", {"id": "c", "customer": "acme", "caps": caps})
        assert isinstance(command, SetCaps)
        assert caps_to_wire(command.caps) == caps


@pytest.mark.parametrize(
    ("calendar", "zone", "at", "start", "end"),
    [
        ("hour", "UTC", "2026-03-10T12:30:00Z", "2026-03-10T12:00:00Z", "2026-03-10T13:00:00Z"),
        ("hour", "Asia/Kathmandu", "12:30", "2026-03-10T12:15:00Z", "2026-03-10T13:15:00Z"),
        ("day", "UTC", "2026-03-10T00:00:00Z", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z"),
        ("day", "Europe/Berlin", "2026-03-10T22:59:59.999999Z", "09T23:00", "10T23:00"),
        ("day", "Europe/Berlin", "2026-03-29T12:00:00Z", "28T23:00", "29T22:00"),
        ("day", "America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", None),
        ("day", "Africa/Cairo", "2026-04-24T00:00:00Z", "2026-04-23T22:00:00Z", None),
        ("week", "UTC", "2026-03-15T23:59:59Z", "2026-03-09T00:00:00Z", "2026-03-16T00:00:00Z"),
        ("week", "UTC", "2026-03-16T00:00:00Z", "2026-03-16T00:00:00Z", "2026-03-23T00:00:00Z"),
        ("month", "UTC", "2026-02-28T23:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("month", "UTC", "2026-12-31T23:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("month", "Asia/Tokyo", "2026-02-28T15:00:00Z", "2026-02-28T15:00:00Z", "31T15:00"),
    ],
)
def test_calendar_windows_are_those_of_the_customers_zone(
    calendar: str, zone: str, at: str, start: str, end: str | None
) -> None:
    def full(text: str) -> int:
        if text.startswith(("2026", "2027")):
            return instant(text)
        return instant(f"2026-03-{text}:00Z" if "T" in text else f"2026-03-10T{text}:00Z")

    window = calendar_window(calendar, full(at), zone)
    assert window[0] == full(start)
    assert end is None or window[1] == full(end)
    assert calendar_window(calendar, window[0], zone) == window
    assert calendar_window(calendar, window[1] - 1, zone) == window
    assert calendar_window(calendar, window[1], zone)[0] == window[1]


@pytest.mark.parametrize(
    ("fields", "usage", "final", "counts"),
    [
        ({}, {"input_tokens": 5}, True, 1),
        ({}, {"requests": 7}, True, 7),
        ({}, {"input_tokens": 5}, False, 0),
        ({"unit": "input_tokens"}, {"input_tokens": 5}, False, 5),
        ({"unit": "input_tokens"}, {"output_tokens": 5}, True, 0),
        ({"unit": "gpu_seconds", "limit": "9"}, {"gpu_seconds": 1_500_000}, True, 1_500_000),
        ({"models": ["m"]}, {"requests": 2}, True, 2),
        ({"models": ["other"]}, {"requests": 2}, True, 0),
    ],
)
def test_what_a_cap_counts(
    fields: dict[str, Any], usage: dict[str, int], final: bool, counts: int
) -> None:
    meters = counted((Meter(cap(**fields)),), Used("m", usage, final, NOON), NOON, "UTC")
    assert used_at(meters[0], NOON, "UTC") == counts


def test_a_calendar_window_counts_by_when_it_occurred_and_begins_again() -> None:
    meter = after(Meter(cap()), (NOON, 3), (NOON + HOUR, 4))
    assert used_at(meter, NOON + 2 * HOUR, "UTC") == 7
    midnight = NOON + 12 * HOUR
    assert resets_at(meter, NOON, "UTC") == midnight
    assert used_at(meter, midnight - 1, "UTC") == 7
    assert used_at(meter, midnight, "UTC") == 0
    late = counted((meter,), Used("m", {"requests": 5}, True, NOON), midnight + 1, "UTC")[0]
    assert used_at(late, midnight + 1, "UTC") == 0
    assert len(after(late, (midnight, 1), (midnight + DAY, 1)).used) == 2


def test_a_window_that_began_before_1970_is_written_as_begun_with_it() -> None:
    meter = after(Meter(cap(calendar="week")), (0, 3), zone="America/New_York")
    assert meter.used == ((0, 3),)
    assert used_at(meter, 5 * HOUR, "America/New_York") == 3


def test_a_rolling_window_lets_go_of_its_oldest_step_as_a_whole() -> None:
    meter = after(Meter(rolling(600)), (NOON + SECOND, 3), (NOON + 11 * SECOND, 4))
    gone = NOON + 10 * SECOND + 600 * SECOND
    assert resets_at(meter, NOON + MINUTE, "UTC") == gone
    assert used_at(meter, gone - 1, "UTC") == 7
    assert used_at(meter, gone, "UTC") == 4
    assert resets_at(meter, gone, "UTC") == gone + 10 * SECOND
    assert resets_at(Meter(rolling(600)), NOON, "UTC") == NOON + 600 * SECOND


USES = st.lists(
    st.tuples(st.integers(0, 90 * SECOND), st.integers(1, 5), st.integers(0, 5 * SECOND)),
    max_size=60,
)


@settings(max_examples=300)
@given(USES, st.sampled_from([60, 61, 100, 119, 600, 3600]))
def test_no_true_rolling_window_ever_holds_more_than_is_counted(
    uses: list[tuple[int, int, int]], seconds: int
) -> None:
    meter, now, everything = Meter(rolling(seconds)), NOON, []
    for step, requests, back in uses:
        now += step
        everything.append((now - back, requests))
        used = Used("m", {"requests": requests}, True, now - back)
        (meter,) = counted((meter,), used, now, "UTC")
        inside = sum(each for at, each in everything if now - seconds * SECOND < at <= now)
        assert used_at(meter, now, "UTC") >= inside
        wider = now - seconds * SECOND - meter.cap.step()
        assert used_at(meter, now, "UTC") <= sum(each for at, each in everything if at > wider)
        assert len(meter.used) <= 62


def test_the_same_cap_with_another_limit_keeps_its_count_and_any_other_begins_anew() -> None:
    before = after(Meter(cap()), (NOON, 3))
    same, renamed, narrower, longer = set_up(
        [cap(limit=5), cap(id="other"), cap(id="n", models=["m"]), cap(id="l", calendar="week")],
        (before, before._replace(cap=cap(id="n")), before._replace(cap=cap(id="l"))),
        Holds(),
    )
    assert (same.cap.limit, used_at(same, NOON, "UTC")) == (5, 3)
    assert [used_at(each, NOON, "UTC") for each in (renamed, narrower, longer)] == [0, 0, 0]


def test_a_change_of_zone_carries_the_present_count_over() -> None:
    meters = (after(Meter(cap()), (NOON - DAY, 5), (NOON, 3)), after(Meter(rolling(60)), (NOON, 2)))
    moved = rezoned(meters, NOON + MINUTE, "UTC", "Pacific/Auckland")
    assert [used_at(each, NOON + MINUTE, "Pacific/Auckland") for each in moved] == [3, 2]
    assert moved[0].used == ((instant("2026-03-10T11:00:00Z"), 3),)
    assert rezoned((Meter(cap()),), NOON, "UTC", "Asia/Tokyo")[0].used == ()


def hold(model: str, **estimate: int) -> Hold:
    """Return a hold of no money."""
    return Hold(0, NOON, (), 0, model, estimate)


def test_open_holds_count_with_what_they_may_still_use() -> None:
    before = Holds().put("a", hold("m", requests=3)).put("b", hold("m")).put("c", hold("other"))
    (meter,) = set_up([cap(models=["m"])], (), before)
    assert meter.held == 4, "a hold is a request unless it says how many"
    changed = before.drop("b").put("a", hold("m", requests=1))
    assert reheld((meter,), before, changed, ["a", "b"])[0].held == 1
    assert reheld((meter,), before, before.drop("c"), ["c"])[0].held == 4
