"""Counts of licences when the policy or the time zone changes: nothing is had twice (C4, C7)."""

from typing import Any

import pytest

from domain.commands import ChangeCustomer
from domain.outcomes import Refusal
from tests.domain.examples import HOUR, MINUTE, NOON, SECOND, instant
from tests.domain.licensee import Licensee, admitted, code, limit

# --- another policy ---------------------------------------------------------------------------


def test_a_limit_that_stays_keeps_its_count_under_another_bound_and_in_another_place() -> None:
    acme = Licensee()
    acme.issue(limits=limit(10, "day", "pages"))
    acme.valid({"pages": 6})
    other = {"id": "first", "unit": "requests", "limit": 1, "per": "day"}
    acme.upgrade(limits=[other, *limit(5, "day", "pages")])
    assert (acme.used("first"), acme.used()) == (0, 6)
    refusal = acme.validate({"pages": 1})
    assert isinstance(refusal, Refusal)
    assert (refusal.facts["allowed"], refusal.facts["used"]) == (5, 6)
    acme.upgrade(limits=limit(8, "day", "pages"))
    assert acme.valid({"pages": 2}).decision["remaining"][0][1] == 0


@pytest.mark.parametrize(
    "other",
    [
        limit(10, "minute", "pages"),
        limit(10, "day", "images"),
        limit(10, "day", "pages", models=["*"]),
        [{"id": "m", "unit": "pages", "limit": 10, "per": "day"}],
    ],
)
def test_another_limit_starts_at_zero(other: list[dict[str, Any]]) -> None:
    acme = Licensee()
    acme.issue(limits=limit(10, "day", "pages"))
    acme.valid({"pages": 6})
    acme.upgrade(limits=other)
    assert acme.used(other[0]["id"]) == 0
    acme.upgrade(limits=limit(10, "day", "pages"))
    assert acme.used() == 0, "what was given up is forgotten"


@pytest.mark.parametrize("later", [0, 1, HOUR])
def test_what_was_admitted_before_a_limit_gives_nothing_back_to_it(later: int) -> None:
    """Otherwise the last unit of the new limit could be had once for each older hold."""
    acme = Licensee()
    acme.issue()
    admitted(acme.hold("old"))
    acme.upgrade(limits=limit(1, "day"))
    acme.now += later
    admitted(acme.hold("new", ttl_seconds=7200))
    acme.release("old")
    assert code(acme.hold("more")) == "license_limit_reached"
    acme.now += 1
    assert code(acme.hold("more-still")) == "license_limit_reached"


def test_a_hold_after_the_upgrade_gives_back_to_the_new_limit() -> None:
    acme = Licensee()
    acme.issue()
    acme.upgrade(limits=limit(1, "day"))
    acme.now += 1
    admitted(acme.hold("r"))
    acme.release("r")
    assert code(acme.hold("again")) == "done"


def test_a_limit_that_was_given_up_and_came_back_owes_older_holds_nothing() -> None:
    acme = Licensee()
    acme.issue(limits=limit(2, "day"))
    admitted(acme.hold("old"))
    acme.now += SECOND
    acme.upgrade()
    acme.now += SECOND
    acme.upgrade(limits=limit(1, "day"))
    acme.now += SECOND
    admitted(acme.hold("new"))
    acme.release("old")
    assert code(acme.hold("more")) == "license_limit_reached"


def test_a_new_limit_counts_on_in_the_next_window() -> None:
    acme = Licensee()
    acme.issue()
    acme.upgrade(limits=limit(1, "minute"))
    acme.now += SECOND
    acme.valid()
    assert code(acme.validate()) == "license_limit_reached"
    acme.now = NOON + MINUTE
    acme.valid()


# --- another time zone ------------------------------------------------------------------------

NEXT_DAY = instant("2026-03-11T00:30:00Z")
ZONES = [
    ("America/New_York", "2026-03-11T04:00:00Z"),
    ("Asia/Tokyo", "2026-03-11T15:00:00Z"),
    ("Europe/Berlin", "2026-03-11T23:00:00Z"),
]
"""(zone, end of the day there that holds NEXT_DAY)."""


def move(acme: Licensee, zone: str) -> None:
    """Change the customer's time zone."""
    acme.fact(ChangeCustomer(id="move", customer="acme", time_zone=zone))


@pytest.mark.parametrize(("zone", "end"), ZONES)
def test_a_count_goes_on_in_the_window_of_the_new_zone(zone: str, end: str) -> None:
    acme = Licensee(now=NEXT_DAY - HOUR)
    acme.issue(limits=limit(5, "day"))
    acme.valid({"requests": 2})
    acme.now = NEXT_DAY
    acme.valid({"requests": 1})
    move(acme, zone)
    assert (acme.used(), acme.resets_at()) == (1, instant(end))
    acme.now = instant(end) - 1
    assert acme.used() == 1
    acme.now += 1
    assert acme.used() == 0


@pytest.mark.parametrize("zone", [zone for zone, _ in ZONES])
def test_a_hold_of_the_old_day_gives_nothing_back_to_the_day_of_the_new_zone(zone: str) -> None:
    """The new day may have begun before the old one's end, but what it counts has not."""
    acme = Licensee(now=NEXT_DAY - HOUR)
    acme.issue(limits=limit(1, "day"))
    admitted(acme.hold("old", ttl_seconds=7200))
    acme.now = NEXT_DAY
    admitted(acme.hold("new"))
    move(acme, zone)
    acme.release("old")
    assert code(acme.hold("more")) == "license_limit_reached"


def test_a_hold_of_the_same_day_gives_back_after_the_zone_has_changed() -> None:
    acme = Licensee(now=NEXT_DAY)
    acme.issue(limits=limit(1, "day"))
    admitted(acme.hold("r"))
    move(acme, "America/New_York")
    acme.release("r")
    assert code(acme.hold("more")) == "done"


def test_a_change_of_zone_forgets_what_was_over_and_moves_no_minute() -> None:
    acme = Licensee(now=NEXT_DAY - HOUR)
    limits = [{"id": per, "unit": "requests", "limit": 9, "per": per} for per in ("minute", "day")]
    acme.issue(limits=limits)
    acme.valid({"requests": 2})
    acme.now = NEXT_DAY
    move(acme, "America/New_York")
    assert acme.used("day") == 0, "yesterday is over, in whatever zone it was yesterday"
    acme.valid()
    move(acme, "Asia/Tokyo")
    assert (acme.used("day"), acme.used("minute")) == (1, 1)


def test_there_and_back_again_leaves_the_count() -> None:
    acme = Licensee(now=NEXT_DAY)
    acme.issue(limits=limit(9, "period"))
    acme.valid({"requests": 4})
    for zone in ("Pacific/Auckland", "America/Los_Angeles", "UTC"):
        move(acme, zone)
        assert acme.used() == 4
