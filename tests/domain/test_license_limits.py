"""Limits of licences: every window on both sides, every unit, and what a decision says (C7)."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.commands import Extend, Settle
from domain.outcomes import Refusal
from domain.values import INSTANT_MAX
from tests.domain.examples import DAY, MINUTE, instant
from tests.domain.licensee import LICENSE, MODEL, Licensee, admitted, code, limit

WINDOWS: list[tuple[str, str, str, str, str]] = [
    ("second", "UTC", "2026-03-10T12:00:00Z", "2026-03-10T12:00:01Z", "2026-03-10T12:00:02Z"),
    ("minute", "UTC", "2026-03-10T12:00:00Z", "2026-03-10T12:01:00Z", "2026-03-10T12:02:00Z"),
    # Offsets of half and three quarters of an hour do not move seconds and minutes.
    (
        "minute",
        "Asia/Kathmandu",
        "2026-12-31T23:59:00Z",
        "2027-01-01T00:00:00Z",
        "2027-01-01T00:01:00Z",
    ),
    ("day", "UTC", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z", "2026-03-12T00:00:00Z"),
    (
        "day",
        "Asia/Kathmandu",
        "2026-03-09T18:15:00Z",
        "2026-03-10T18:15:00Z",
        "2026-03-11T18:15:00Z",
    ),
    # The day on which summer begins has 23 hours, that on which it ends 25.
    (
        "day",
        "Europe/Berlin",
        "2026-03-28T23:00:00Z",
        "2026-03-29T22:00:00Z",
        "2026-03-30T22:00:00Z",
    ),
    (
        "day",
        "Europe/Berlin",
        "2026-10-24T22:00:00Z",
        "2026-10-25T23:00:00Z",
        "2026-10-26T23:00:00Z",
    ),
    # In Havana midnight itself is left out when summer begins: the day begins at one.
    (
        "day",
        "America/Havana",
        "2026-03-08T05:00:00Z",
        "2026-03-09T04:00:00Z",
        "2026-03-10T04:00:00Z",
    ),
    ("day", "UTC", "2028-02-28T00:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
    ("day", "UTC", "2027-02-28T00:00:00Z", "2027-03-01T00:00:00Z", "2027-03-02T00:00:00Z"),
    ("period", "UTC", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"),
    ("period", "UTC", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z", "2028-04-01T00:00:00Z"),
    ("period", "UTC", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"),
    (
        "period",
        "Pacific/Auckland",
        "2026-03-31T11:00:00Z",
        "2026-04-30T12:00:00Z",
        "2026-05-31T12:00:00Z",
    ),
]
"""(per, zone, start, end, end of the next one)."""


@pytest.mark.parametrize(("per", "zone", "start", "end", "later"), WINDOWS)
def test_a_window_counts_from_its_first_to_its_last_instant(
    per: str, zone: str, start: str, end: str, later: str
) -> None:
    acme = Licensee(now=instant(start) - 1, time_zone=zone)
    acme.issue(limits=limit(2, per))
    acme.validate({"requests": 2})
    assert code(acme.validate()) == "license_limit_reached"
    acme.now = instant(start)
    acme.valid()
    acme.now = instant(end) - 1
    acme.valid()
    refusal = acme.validate()
    assert isinstance(refusal, Refusal)
    assert refusal.facts["used"] == 2
    assert instant(refusal.facts["resets_at"]) == instant(end)
    acme.now = instant(end)
    decision = acme.valid().decision
    ((_, left, resets_at),) = decision["remaining"]
    assert (left, instant(resets_at)) == (1, instant(later))


def test_a_total_never_resets() -> None:
    acme = Licensee()
    acme.issue(limits=limit(1))
    acme.valid()
    acme.now += 3000 * DAY
    refusal = acme.validate()
    assert isinstance(refusal, Refusal)
    assert instant(refusal.facts["resets_at"]) == INSTANT_MAX


@pytest.mark.parametrize(
    ("unit", "most", "fits", "beyond"),
    [
        ("requests", 3, 3, 4),
        ("input_tokens", 1000, 1000, 1001),
        ("cached_input_tokens", 10, 10, 11),
        ("output_tokens", 7, 7, 8),
        ("pages", 2, 2, 3),
        ("images", 1, 1, 2),
        ("gpu_seconds", "1.5", "1.5", "1.500001"),
        ("compute_units", "0.000001", "0.000001", "0.000002"),
    ],
)
def test_every_unit_is_admitted_up_to_its_limit(
    unit: str, most: int | str, fits: int | str, beyond: int | str
) -> None:
    acme = Licensee()
    acme.issue(limits=limit(most, unit=unit))
    refusal = acme.validate({unit: beyond})
    assert isinstance(refusal, Refusal)
    zero = "0" if isinstance(most, str) else 0
    assert (refusal.facts["unit"], refusal.facts["used"]) == (unit, zero)
    assert acme.valid({unit: fits}).decision["remaining"][0][1] == zero
    assert code(acme.validate({unit: fits})) == "license_limit_reached"


def test_nothing_is_admitted_where_nothing_is_allowed() -> None:
    acme = Licensee()
    acme.issue(limits=limit(0))
    assert code(acme.validate()) == "license_limit_reached"
    with pytest.raises(Invalid, match="at least 1"):
        acme.validate({"requests": 0})


def test_the_first_limit_without_room_is_named_and_none_counts_then() -> None:
    limits = [
        {"id": "a", "unit": "pages", "limit": 9, "per": "day"},
        {"id": "b", "unit": "requests", "limit": 1, "per": "minute"},
        {"id": "c", "unit": "pages", "limit": 1, "per": "total"},
    ]
    acme = Licensee()
    acme.issue(limits=limits)
    acme.valid({"pages": 1})
    refusal = acme.validate({"pages": 1})
    assert isinstance(refusal, Refusal)
    assert refusal.facts["limit"] == "b"
    assert [acme.used(name) for name in "abc"] == [1, 1, 1]
    acme.now += MINUTE
    refusal = acme.validate({"pages": 1})
    assert isinstance(refusal, Refusal)
    assert refusal.facts["limit"] == "c"
    assert [acme.used(name) for name in "abc"] == [1, 0, 1]


def test_a_limit_concerns_its_models_alone() -> None:
    acme = Licensee()
    acme.issue(limits=limit(2, models=["org/gpt-*", "ocr"]))
    for model, left in (("org/gpt-4", 1), ("ocr", 0)):
        assert acme.valid(model=model).decision["remaining"][0][1] == left
    for model in ("org/gp", "ocr-2", "org/GPT-4"):
        assert "remaining" not in acme.valid(model=model).decision
    for model in ("org/gpt-", "org/gpt-5", "ocr"):
        assert code(acme.validate(model=model)) == "license_limit_reached"


def test_a_decision_says_what_is_left_of_each_limit_that_concerns_the_model() -> None:
    limits = [
        {"id": "m", "unit": "requests", "limit": 10, "per": "minute"},
        {"id": "x", "unit": "requests", "limit": 10, "per": "day", "models": ["other"]},
        {"id": "g", "unit": "gpu_seconds", "limit": "2.5", "per": "total"},
    ]
    acme = Licensee()
    acme.issue(limits=limits)
    (held,) = admitted(acme.hold("r", {"gpu_seconds": "1"}))
    left = [["m", 9, "2026-03-10T12:01:00.000000Z"], ["g", "1.5", END_OF_TIME]]
    wanted = {"policy": "open:3:0", "remaining": left}
    assert getattr(held, "decision", None) == wanted
    extended = acme.extend("r", estimate={"gpu_seconds": "1.5"})
    assert extended.decision is not None
    assert [units for _, units, _ in extended.decision["remaining"]] == [9, "0"]


END_OF_TIME = "9999-12-31T23:59:59.999999Z"


def test_an_extension_that_asks_nothing_of_a_limit_is_not_stopped_by_it() -> None:
    acme = Licensee()
    limits = [
        {"id": "r", "unit": "requests", "limit": 1, "per": "day"},
        {"id": "p", "unit": "pages", "limit": 3, "per": "day"},
    ]
    acme.issue(limits=limits)
    admitted(acme.hold("r", {"pages": 1}))
    acme.use({"requests": 7}, model=MODEL, license=LICENSE)
    extended = acme.extend("r", estimate={"pages": 1})
    assert extended.decision is not None
    assert [units for _, units, _ in extended.decision["remaining"]] == [0, 1]
    refusal = acme.refusal(_extend("r", {"pages": 2}))
    assert (refusal.facts["limit"], refusal.facts["requested"]) == ("p", 2)
    refusal = acme.refusal(_extend("r", {"requests": 1}))
    assert (refusal.facts["limit"], refusal.facts["used"]) == ("r", 8)


def _extend(reservation: str, estimate: dict[str, Any]) -> Any:
    return Extend(id="more", reservation=reservation, estimate=estimate)


def test_settling_is_never_stopped_by_a_limit() -> None:
    acme = Licensee()
    acme.issue(limits=limit(1, "day", "pages"))
    admitted(acme.hold("r", {"pages": 1}))
    admitted(acme.run(Settle(id="s", reservation="r", usage={"pages": 500})))
    assert acme.used() == 500
