"""The calendar month of an instant: on both sides of midnight, in every kind of zone."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.periods import billing_period, is_time_zone
from domain.values import INSTANT_MAX
from tests.domain.examples import instant

ZONES = [
    *("UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "Asia/Kathmandu"),
    *("Pacific/Kiritimati", "Pacific/Pago_Pago", "Australia/Lord_Howe", "America/St_Johns"),
]


@pytest.mark.parametrize(
    ("first_instant", "zone", "month"),
    [
        ("2026-03-01T00:00:00Z", "UTC", "2026-03"),
        ("2027-01-01T00:00:00Z", "UTC", "2027-01"),
        ("2024-03-01T00:00:00Z", "UTC", "2024-03"),
        ("2026-03-31T22:00:00Z", "Europe/Berlin", "2026-04"),
        ("2026-02-28T23:00:00Z", "Europe/Berlin", "2026-03"),
        ("2026-04-01T07:00:00Z", "America/Los_Angeles", "2026-04"),
        ("2026-03-01T08:00:00Z", "America/Los_Angeles", "2026-03"),
        ("2026-11-01T07:00:00Z", "America/Los_Angeles", "2026-11"),
        ("2026-02-28T10:00:00Z", "Pacific/Kiritimati", "2026-03"),
        ("2026-03-01T11:00:00Z", "Pacific/Pago_Pago", "2026-03"),
        ("2026-03-31T18:30:00Z", "Asia/Kolkata", "2026-04"),
        ("2026-03-31T18:15:00Z", "Asia/Kathmandu", "2026-04"),
    ],
)
def test_a_month_begins_at_local_midnight(first_instant: str, zone: str, month: str) -> None:
    """The list has leap days, both changes of the clocks, and zones on both sides of UTC."""
    first = instant(first_instant)
    assert billing_period(first, zone) == month
    assert billing_period(first - 1, zone) < month


def test_the_leap_day_belongs_to_february() -> None:
    assert billing_period(instant("2024-02-29T23:59:59.999999Z"), "UTC") == "2024-02"
    assert billing_period(instant("2024-02-29T12:00:00Z"), "Asia/Kolkata") == "2024-02"


def test_the_hour_that_happens_twice_stays_in_its_month() -> None:
    for text in ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"):
        assert billing_period(instant(text), "Europe/Berlin") == "2026-10"


def test_a_zone_may_change_its_clocks_at_the_turn_of_a_month() -> None:
    """Jordan's clocks went forward at the midnight with which April 2016 began."""
    midnight = instant("2016-03-31T22:00:00Z")
    assert billing_period(midnight, "Asia/Amman") == "2016-04"
    assert billing_period(midnight - 1, "Asia/Amman") == "2016-03"


@given(
    st.integers(0, INSTANT_MAX - 366 * 86_400_000_000),
    st.sampled_from(ZONES),
)
def test_the_period_is_the_local_calendar_month(moment: int, zone: str) -> None:
    """The caching by day must never show."""
    local = datetime.fromtimestamp(moment // 1_000_000, ZoneInfo(zone))
    assert billing_period(moment, zone) == f"{local.year:04d}-{local.month:02d}"


@given(st.integers(1971, 9990), st.integers(1, 12), st.sampled_from(ZONES))
def test_both_sides_of_every_local_midnight_differ(year: int, month: int, zone: str) -> None:
    begins = datetime(year, month, 1, tzinfo=ZoneInfo(zone))
    first = round(begins.timestamp()) * 1_000_000
    assert billing_period(first, zone) == f"{year:04d}-{month:02d}"
    assert billing_period(first - 1, zone) != f"{year:04d}-{month:02d}"


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Etc/GMT+12"])
def test_iana_names_are_time_zones(name: str) -> None:
    assert is_time_zone(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "Mars/Olympus", "+02:00", "../UTC", "/etc/localtime", "Europe", "UTC\x00"),
        *("Europe/", "\ud800", "x" * 5000),
    ],
)
def test_other_names_are_no_time_zones(name: str) -> None:
    assert not is_time_zone(name)
