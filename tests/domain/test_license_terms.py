"""What a licence is issued with: its times, its maintenance window, and its keys (C2, C9, C10)."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.allocation import NEVER
from domain.license import License
from domain.license_commands import OVERLAP_MAX_SECONDS, RotateLicenseKey
from domain.license_life import KEYS_MAX
from tests.domain.examples import HOUR, NOON, SECOND, instant
from tests.domain.licensee import KEY, LICENSE, NEW_KEY, Licensee, admitted, code

LONG_AGO = "2026-03-01T00:00:00Z"
LATER = "2026-06-01T00:00:00Z"


def issued(acme: Licensee, **fields: Any) -> License:
    """Issue another licence with its times."""
    return acme.issue("another", key_hash="c" * 32, **fields)


@pytest.mark.parametrize(
    ("starts_at", "expires_at", "fits"),
    [
        (None, "2026-03-10T12:00:00Z", False),
        (None, "2026-03-10T12:00:00.000001Z", True),
        (LONG_AGO, "2026-03-10T12:00:00Z", False),
        (LONG_AGO, "2026-03-10T12:00:00.000001Z", True),
        (LATER, LATER, False),
        (LATER, "2026-06-01T00:00:00.000001Z", True),
        (LATER, None, True),
    ],
)
def test_a_licence_ends_in_the_future_and_after_its_beginning(
    starts_at: str | None, expires_at: str | None, fits: bool
) -> None:
    acme = Licensee()
    if fits:
        license = issued(acme, starts_at=starts_at, expires_at=expires_at)
        assert license.expires_at == (NEVER if expires_at is None else instant(expires_at))
        assert license.starts_at == (NOON if starts_at is None else instant(starts_at))
        return
    with pytest.raises(Invalid) as caught:
        issued(acme, starts_at=starts_at, expires_at=expires_at)
    assert caught.value.facts["field"] == "expires_at"


@pytest.mark.parametrize(
    ("starts_at", "versions", "until"),
    [
        ("2027-03-10T12:00:00Z", None, "2028-03-10T12:00:00Z"),
        ("2028-02-29T00:00:00Z", None, "2029-02-28T00:00:00Z"),
        ("2027-02-28T00:00:00Z", None, "2028-02-28T00:00:00Z"),
        ("2026-10-31T10:00:00Z", {"rule": "maintenance", "months": 1}, "2026-11-30T10:00:00Z"),
        ("2026-12-31T23:59:59Z", {"rule": "maintenance", "months": 2}, "2027-02-28T23:59:59Z"),
        ("2027-12-31T23:59:59Z", {"rule": "maintenance", "months": 2}, "2028-02-29T23:59:59Z"),
        ("2026-06-15T00:00:00Z", {"rule": "maintenance", "months": 120}, "2036-06-15T00:00:00Z"),
        ("9999-06-15T00:00:00Z", None, "9999-12-31T23:59:59.999999Z"),
        ("2027-03-10T12:00:00Z", {"rule": "rolling"}, "2028-03-10T12:00:00Z"),
    ],
)
def test_the_maintenance_window_ends_on_the_same_day_or_the_last_of_its_month(
    starts_at: str, versions: dict[str, Any] | None, until: str
) -> None:
    license = issued(Licensee(), starts_at=starts_at, versions=versions)
    assert license.maintenance_until == instant(until)


# --- keys ---------------------------------------------------------------------------------------


def rotate(acme: Licensee, key: str, overlap: int) -> None:
    """Give the licence another key."""
    fields = {"key_hash": key, "key_hint": "efgh", "overlap_seconds": overlap}
    admitted(acme.life(RotateLicenseKey, **fields))


@pytest.mark.parametrize(("overlap", "after", "opens"), [(60, -1, True), (60, 0, False)])
def test_an_old_key_opens_until_its_overlap_has_passed(
    overlap: int, after: int, opens: bool
) -> None:
    acme = Licensee()
    acme.issue()
    rotate(acme, NEW_KEY, overlap)
    acme.now += overlap * SECOND + after
    assert (code(acme.validate(license_key=KEY)) == "done") == opens
    assert code(acme.validate(license_key=NEW_KEY)) == "done"
    assert code(acme.validate(license_key="c" * 32)) == "license_key_invalid"


def test_without_an_overlap_the_old_key_ends_at_once() -> None:
    acme = Licensee()
    acme.issue()
    rotate(acme, NEW_KEY, 0)
    assert code(acme.validate(license_key=KEY)) == "license_key_invalid"


def test_a_later_rotation_never_lengthens_the_life_of_an_older_key() -> None:
    acme = Licensee()
    acme.issue()
    rotate(acme, NEW_KEY, 60)
    rotate(acme, "c" * 32, OVERLAP_MAX_SECONDS)
    acme.now += 60 * SECOND
    assert code(acme.validate(license_key=KEY)) == "license_key_invalid"
    assert code(acme.validate(license_key=NEW_KEY)) == "done"


def test_only_so_many_keys_are_good_at_a_time() -> None:
    acme = Licensee()
    acme.issue()
    for number in range(1, KEYS_MAX):
        rotate(acme, f"{number}" * 32, HOUR // SECOND)
    with pytest.raises(Invalid) as caught:
        rotate(acme, NEW_KEY, 1)
    assert caught.value.facts["field"] == "overlap_seconds"
    rotate(acme, NEW_KEY, 0)
    assert [key.hash for key in acme.licenses[LICENSE].keys] == [NEW_KEY]
