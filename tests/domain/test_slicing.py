"""How much is set aside at once for inferences to come, and until when it serves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.times import format_instant, parse_instant

from domain import events as _events  # noqa: F401 - defining events registers them
from domain.allocation import NEVER
from domain.event import EVENT_TYPES
from domain.events import ReservationHeld
from domain.license import License, LicenseKey
from domain.policy import Limit
from domain.slicing import (
    ORDINARY,
    drawn_until,
    fits,
    is_served,
    larger,
    places,
    rounded,
    serves_until,
)
from domain.tiers import TEMPLATES
from domain.units import QUANTITY_MAX, UNITS
from domain.values import INSTANT_MAX, SECOND

AT = parse_instant("2026-03-05T10:00:30Z")
KEY, OLD = "ab" * 16, "cd" * 16


@pytest.mark.parametrize(
    ("rate", "most", "count"),
    [(0, 1000, 8), (4, 1000, 8), (5, 1000, 10), (900, 1000, 1000), (9, 2, 2)],
)
def test_a_slice_lasts_two_seconds_within_its_bounds(rate: int, most: int, count: int) -> None:
    assert places(rate, most) == count


@pytest.mark.parametrize(
    ("units", "room"), [(0, 0), (1, 1), (15, 15), (16, 16), (17, 18), (100, 104), (4097, 4608)]
)
def test_an_envelope_has_some_room(units: int, room: int) -> None:
    assert rounded({"pages": units}) == {"pages": room}


estimates = st.dictionaries(st.sampled_from(sorted(UNITS)), st.integers(0, QUANTITY_MAX))


@given(estimates)
def test_whatever_was_seen_fits_its_envelope_which_is_an_eighth_larger_at_most(
    estimate: dict[str, int],
) -> None:
    envelope = rounded(estimate)
    assert fits(estimate, envelope)
    for unit, units in estimate.items():
        assert units <= envelope[unit] <= min(units + units // 8, QUANTITY_MAX)


@given(st.lists(estimates, min_size=1))
def test_the_larger_of_many_is_no_less_than_any(seen: list[dict[str, int]]) -> None:
    most: dict[str, int] = {}
    for each in seen:
        most = larger(most, each)
    assert all(units <= most[unit] for each in seen for unit, units in each.items())


@pytest.mark.parametrize(
    ("estimate", "does_fit"),
    [
        ({"pages": 3, "requests": 1}, True),
        ({"pages": 2, "requests": 1}, True),
        ({"pages": 4, "requests": 1}, False),
        ({"pages": 3}, False),
        ({"images": 1, "pages": 3, "requests": 1}, False),
    ],
)
def test_an_inference_fits_by_each_of_the_same_units(
    estimate: dict[str, int], does_fit: bool
) -> None:
    assert fits(estimate, {"pages": 3, "requests": 1}) is does_fit


def held(*resets: str | None, key: str | None = KEY) -> ReservationHeld:
    left = [["limit", 5, resets_at or format_instant(INSTANT_MAX)] for resets_at in resets]
    decision = {"policy": "professional:0:0", "remaining": left} if left else {"policy": "p:0:0"}
    return ReservationHeld(
        credit=0,
        customer="ada",
        decision=decision,
        estimate={"requests": 1},
        expires_at=AT + 3600 * SECOND,
        grants=(),
        held=0,
        inferences=100,
        license="lic",
        license_key=key,
        model="m",
        reservation="r",
    )


def license(expires_at: int = NEVER, grace: int = 0, limits: tuple[Limit, ...] = ()) -> License:
    policy = TEMPLATES["professional"]._replace(grace_seconds=grace, limits=limits)
    keys = (LicenseKey(OLD, "old", AT + 100 * SECOND), LicenseKey(KEY, "new", NEVER))
    return License(
        *("lic", "ada", "saas", "professional", 0, 0, policy, None, 0, 0, expires_at, NEVER),
        *("active", 0, "", keys, (), {}, 1),
    )


@pytest.mark.parametrize(
    ("reservation", "licence", "until"),
    [
        (held(), license(), NEVER),
        (held(None), license(), INSTANT_MAX),
        (held("2026-03-05T10:01:00Z", None), license(), AT + 30 * SECOND),
        (held("2026-03-06T00:00:00Z"), license(AT + 9 * SECOND), AT + 9 * SECOND),
        (held(), license(AT + 9 * SECOND, 3600), AT + 9 * SECOND),
        (held(), license(AT - 9 * SECOND, 3600), AT + 3591 * SECOND),
        (held(key=OLD), license(), AT + 100 * SECOND),
        (held(key=None), license(), NEVER),
    ],
    ids=["no limit", "total", "minute", "end", "grace begins", "grace ends", "old key", "no key"],
)
def test_a_slice_serves_while_the_licence_would_say_the_same(
    reservation: ReservationHeld, licence: License, until: int
) -> None:
    assert serves_until(reservation, licence, AT) == until


@pytest.mark.parametrize(
    ("per", "models", "is_of_use"),
    [("second", None, False), ("second", ("other",), True), ("minute", None, True)],
)
def test_where_a_limit_begins_anew_each_second_there_are_no_slices(
    per: str, models: tuple[str, ...] | None, is_of_use: bool
) -> None:
    assert is_served(license(limits=(Limit("l", "requests", 9, per, models),)), "m") is is_of_use


def test_no_inference_outlives_the_hold() -> None:
    assert drawn_until(NEVER, AT, AT + 100 * SECOND, 30, 60) == AT + 30 * SECOND
    assert drawn_until(NEVER, AT, AT + 100 * SECOND, 30, 80) == AT + 20 * SECOND
    assert drawn_until(AT + SECOND, AT, AT + 100 * SECOND, 30, 60) == AT + SECOND


FENCING = {
    *("account_blocked", "account_unblocked", "caps_set", "customer_changed", "customer_created"),
    *("export_list_published", "fraud_cleared", "fraud_confirmed", "fraud_flagged"),
    *("grant_issued", "grants_expired", "license_activated", "license_deactivated"),
    *("license_expired", "license_issued", "license_key_rotated", "license_reinstated"),
    *("license_renewed", "license_revoked", "license_suspended", "license_upgraded"),
    *("min_reader_raised", "model_registered", "model_version_released", "model_version_yanked"),
    *("pipeline_published", "policy_published", "prices_published"),
}
"""What ends the slices of a customer, or all: whoever adds an event says to which it belongs."""


def test_every_event_is_either_ordinary_or_ends_slices() -> None:
    assert FENCING.isdisjoint(ORDINARY)
    assert {name for name, _ in EVENT_TYPES} == FENCING | set(ORDINARY)
