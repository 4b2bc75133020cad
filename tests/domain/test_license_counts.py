"""What counts against the limits of a licence: expected, then used, each in its window (C7)."""

from typing import Any

import pytest

from domain.license_commands import RevokeLicense
from domain.outcomes import Refusal
from tests.domain.account import usage_command
from tests.domain.examples import DAY, MINUTE, NOON
from tests.domain.licensee import LICENSE, MODEL, Licensee, admitted, limit

USES: list[tuple[dict[str, Any], list[tuple[str, dict[str, Any]]], dict[str, int]]] = [
    # (estimate, what happens, what counts in the end)
    ({}, [], {"requests": 1, "pages": 0}),
    ({"requests": 4}, [], {"requests": 4, "pages": 0}),
    ({"requests": 0}, [], {"requests": 0, "pages": 0}),
    ({"pages": 5}, [], {"requests": 1, "pages": 5}),
    # Final: what was used takes the place of what was expected.
    ({"pages": 5}, [("settle", {"pages": 3})], {"requests": 1, "pages": 3}),
    ({"pages": 5}, [("settle", {"pages": 8})], {"requests": 1, "pages": 8}),
    ({"pages": 5}, [("settle", {})], {"requests": 1, "pages": 0}),
    ({"pages": 5}, [("settle", {"requests": 0})], {"requests": 0, "pages": 0}),
    ({"requests": 4}, [("settle", {})], {"requests": 1, "pages": 0}),
    ({"requests": 4}, [("settle", {"requests": 6})], {"requests": 6, "pages": 0}),
    # Parts come out of what is left of the estimate, and what is beyond it is added.
    ({"pages": 5}, [("part", {"pages": 2})], {"requests": 1, "pages": 5}),
    ({"pages": 5}, [("part", {"pages": 9})], {"requests": 1, "pages": 9}),
    (
        {"pages": 5},
        [("part", {"pages": 2}), ("part", {"pages": 2}), ("settle", {"pages": 0})],
        {"requests": 1, "pages": 4},
    ),
    ({"pages": 5}, [("part", {"pages": 6}), ("release", {})], {"requests": 0, "pages": 6}),
    ({"requests": 3}, [("part", {"requests": 2})], {"requests": 3, "pages": 0}),
    ({"requests": 3}, [("part", {"requests": 2}), ("settle", {})], {"requests": 3, "pages": 0}),
    # Extensions add to what is expected.
    ({"pages": 5}, [("extend", {"pages": 2})], {"requests": 1, "pages": 7}),
    ({"pages": 5}, [("extend", {"pages": 2}), ("release", {})], {"requests": 0, "pages": 0}),
    (
        {"pages": 5},
        [("part", {"pages": 4}), ("extend", {"pages": 2}), ("settle", {"pages": 1})],
        {"requests": 1, "pages": 5},
    ),
    ({"requests": 1}, [("extend", {"requests": 2})], {"requests": 3, "pages": 0}),
    ({"requests": 1}, [("extend", {})], {"requests": 1, "pages": 0}),
    # Ends without use.
    ({"pages": 5}, [("release", {})], {"requests": 0, "pages": 0}),
    ({"pages": 5}, [("expire", {})], {"requests": 0, "pages": 0}),
    ({"pages": 5}, [("part", {"pages": 2}), ("expire", {})], {"requests": 0, "pages": 2}),
    # After its end a hold has nothing left to give back.
    ({"pages": 5}, [("expire", {}), ("settle", {"pages": 3})], {"requests": 1, "pages": 3}),
    ({"pages": 5}, [("expire", {}), ("part", {"pages": 3})], {"requests": 0, "pages": 3}),
    ({"pages": 5}, [("expire", {}), ("release", {})], {"requests": 0, "pages": 0}),
]


def happen(acme: Licensee, reservation: str, what: str, units: dict[str, Any]) -> None:
    """Let something happen to a reservation."""
    if what == "expire":
        acme.now += 5 * MINUTE
        acme.change()
    elif what == "extend":
        acme.extend(reservation, estimate=units)
    elif what == "release":
        acme.release(reservation)
    else:
        acme.settle(reservation, units, final=what == "settle")


@pytest.mark.parametrize(("estimate", "what", "wanted"), USES)
def test_a_use_counts_what_was_expected_until_it_counts_what_was_used(
    estimate: dict[str, Any], what: list[tuple[str, dict[str, Any]]], wanted: dict[str, int]
) -> None:
    acme = Licensee()
    limits = [
        {"id": unit, "unit": unit, "limit": 100, "per": "day"} for unit in ("requests", "pages")
    ]
    acme.issue(limits=limits)
    acme.validate({"requests": 10, "pages": 10})  # what others have used is not touched
    admitted(acme.hold("r", estimate))
    for kind, units in what:
        happen(acme, "r", kind, units)
    assert {unit: acme.used(unit) - 10 for unit in wanted} == wanted


def test_a_hold_gives_back_to_the_window_that_admitted_it_and_to_no_later_one() -> None:
    acme = Licensee()
    acme.issue(limits=limit(10, "minute", "pages"))
    admitted(acme.hold("old", {"pages": 4}))
    acme.now += MINUTE
    admitted(acme.hold("new", {"pages": 5}))
    acme.release("old")
    assert acme.used() == 5
    acme.release("new")
    assert acme.used() == 0


@pytest.mark.parametrize(("opened", "left"), [(-1, 5), (0, 3)])
def test_a_hold_of_the_first_instant_of_a_window_gives_back_to_it(opened: int, left: int) -> None:
    minute = NOON + MINUTE
    acme = Licensee(now=minute + opened)
    acme.issue(limits=limit(10, "minute", "pages"))
    admitted(acme.hold("r", {"pages": 2}))
    acme.now = minute
    acme.valid({"pages": 5 if opened else 3})
    acme.release("r")
    assert acme.used() == left


def test_what_was_used_beyond_the_estimate_counts_when_it_is_told() -> None:
    acme = Licensee()
    acme.issue(limits=limit(10, "minute", "pages"))
    admitted(acme.hold("r", {"pages": 4}))
    acme.now += MINUTE
    acme.settle("r", {"pages": 6}, occurred_at=acme.now - MINUTE)
    assert acme.used() == 2


def test_a_late_settlement_counts_in_the_window_of_its_receipt() -> None:
    acme = Licensee()
    acme.issue(limits=limit(10, "minute", "pages"))
    admitted(acme.hold("r", {"pages": 4}, ttl_seconds=30))
    acme.now += 10 * MINUTE
    settled = acme.settle("r", {"pages": 3})
    assert (settled.licensed, acme.used()) == (LICENSE, 3)


def test_a_settlement_in_time_does_not_name_the_licence_again() -> None:
    acme = Licensee()
    acme.issue(limits=limit(10, "minute", "pages"))
    admitted(acme.hold("r", {"pages": 4}))
    assert acme.settle("r", {"pages": 3}).licensed is None


def test_direct_usage_counts_where_it_names_the_licence() -> None:
    acme = Licensee()
    acme.issue(limits=limit(10, "minute", "pages"))
    acme.use({"pages": 3}, model=MODEL, license=LICENSE)
    acme.use({"pages": 4}, model=MODEL)
    assert acme.used() == 3
    acme.use({"pages": 20}, model=MODEL, license=LICENSE)
    assert acme.used() == 23, "what happened is counted, whatever the limit"
    refusal = acme.validate({"pages": 0})
    assert isinstance(refusal, Refusal)
    assert refusal.facts["used"] == 23


def test_direct_usage_of_long_ago_counts_now() -> None:
    acme = Licensee()
    acme.issue(limits=limit(10, "minute", "pages"))
    record = usage_command("u", {"pages": 3}, model=MODEL, license=LICENSE, occurred_at=NOON - DAY)
    admitted(acme.run(record))
    assert acme.used() == 3


def test_usage_that_names_a_licence_without_limits_or_that_is_over_is_charged_all_the_same() -> (
    None
):
    acme = Licensee()
    acme.issue()
    assert acme.use({"pages": 3}, model=MODEL, license=LICENSE).license == LICENSE
    acme.issue("other", key_hash="c" * 32, limits=limit(1))
    admitted(acme.life(RevokeLicense, license="other", reason="over"))
    acme.use({"requests": 9}, model=MODEL, license="other")
    assert acme.balance.uses.get("other") is None
