"""Usage caps on a real ledger: what they stop, what they never stop, and that the audit knows."""

from typing import Any

import pytest

from application.answers import Answer
from application.committing import SNAPSHOT_EVERY
from tests.integration.audit_fixtures import audited, rewrite
from tests.integration.guarded_ledger import HOUR, NOON, SECOND, Guarded, guarded
from tests.support.databases import TestDatabase

DAILY = {"id": "daily", "unit": "requests", "limit": 10, "calendar": "day"}
ROLLING = {"id": "rolling", "unit": "requests", "limit": 5, "rolling_seconds": 600}
PAGES = {"id": "pages", "unit": "pages", "limit": 3, "calendar": "month", "models": ["other"]}


def set_caps(acme: Guarded, at: int, *caps: dict[str, Any]) -> Answer:
    """Replace the customer's caps."""
    return acme.one(at, "set_caps", caps=list(caps))


def facts(answer: Answer) -> dict[str, Any]:
    """Return the facts of a refusal by a cap, its end apart."""
    assert answer.code == "usage_capped"
    problem = answer.problem()
    assert problem is not None
    return {name: value for name, value in problem.facts.items() if name != "resets_at"}


def test_a_cap_stops_reservations_beyond_it_until_it_resets(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        answer = set_caps(acme, NOON, DAILY, PAGES)
        assert answer.result()["caps"] == [DAILY, PAGES]
        acme.use(NOON, 4).result()
        acme.reserve(NOON, 5, ttl_seconds=600).result()
        refused = acme.reserve(NOON, 2)
        expected = {"cap": "daily", "limit": 10, "used": 4, "held": 5, "requested": 2}
        assert facts(refused) == {**expected, "unit": "requests"}
        problem = refused.problem()
        assert problem is not None
        assert problem.facts["resets_at"] == "2026-03-11T00:00:00.000000Z"
        assert refused.recorded is not None, "recorded like every refusal"
        acme.reserve(NOON, 1).result()
        acme.reserve(NOON + 12 * HOUR, 10).result()
    assert audited(embedded_database).differences == ()


def test_a_hold_counts_until_it_is_settled_released_or_expired(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        set_caps(acme, NOON, DAILY).result()
        first, second, third = (acme.reserve(NOON, each, ttl_seconds=60) for each in (4, 3, 3))
        assert acme.reserve(NOON).code == "usage_capped"
        acme.settle(NOON, first.id, 1, final=False).result()
        assert caps_of(acme) == [(1, 9)], "a part moves what it used from held to used"
        acme.settle(NOON, first.id, 2).result()
        assert caps_of(acme) == [(3, 6)]
        acme.send(NOON, ("release", {"id": "l", "reservation": second.id}))
        assert caps_of(acme) == [(3, 3)]
        acme.reserve(NOON + 60 * SECOND, 7).result()
        assert caps_of(acme) == [(3, 7)], "the third has expired"
        acme.settle(NOON + 61 * SECOND, third.id, 50).result()
        assert caps_of(acme) == [(53, 7)], "work that happened counts, also above the cap"
    assert audited(embedded_database).differences == ()


def caps_of(acme: Guarded) -> list[tuple[Any, Any]]:
    """Return (used, held) of each cap."""
    return [(cap["used"], cap["held"]) for cap in acme.ledger.caps("acme")]


def test_an_extension_is_gated_by_the_units_it_adds_and_not_by_time(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        set_caps(acme, NOON, DAILY).result()
        held = acme.reserve(NOON, 8, ttl_seconds=60)
        body = {"reservation": held.id, "ttl_seconds": 900}
        more = {**body, "id": "e1", "estimate": {"requests": 3}}
        assert facts(acme.send(NOON, ("extend", more))[0])["requested"] == 3
        enough = {**body, "id": "e2", "estimate": {"requests": 2}}
        acme.send(NOON, ("extend", enough))[0].result()
        assert caps_of(acme) == [(0, 10)]
        acme.use(NOON, 50).result()
        acme.send(NOON, ("extend", {**body, "id": "e3"}))[0].result()
        assert acme.reserve(NOON, 1).code == "usage_capped"
    assert audited(embedded_database).differences == ()


def test_direct_usage_is_never_stopped_and_always_counted(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        set_caps(acme, NOON, {**DAILY, "limit": 0}).result()
        acme.use(NOON, 5).result()
        assert caps_of(acme) == [(5, 0)]
    assert audited(embedded_database).differences == ()


def test_caps_follow_limits_rolling_windows_and_zones(embedded_database: TestDatabase) -> None:
    with guarded(embedded_database) as acme:
        set_caps(acme, NOON, ROLLING, DAILY).result()
        acme.use(NOON + SECOND, 5).result()
        refused = acme.reserve(NOON + 9 * SECOND)
        problem = refused.problem()
        assert facts(refused)["cap"] == "rolling"
        assert problem is not None
        assert problem.facts["resets_at"] == "2026-03-10T12:10:10.000000Z"
        acme.reserve(NOON + 610 * SECOND, 5).result()
        set_caps(acme, NOON + HOUR, {**ROLLING, "limit": 1}, {**DAILY, "limit": 11}).result()
        acme.use(NOON + HOUR, 2).result()
        assert caps_of(acme) == [(2, 0), (7, 0)], "another limit alone keeps the count"
        acme.one(NOON + HOUR, "change_customer", time_zone="Pacific/Auckland").result()
        assert caps_of(acme) == [(2, 0), (7, 0)], "the present count goes on in the new window"
        shown = acme.ledger.caps("acme")
        assert shown[1]["resets_at"] == "2026-03-11T11:00:00.000000Z"
        set_caps(acme, NOON + HOUR).result()
        acme.reserve(NOON + HOUR, 100).result()
        assert acme.ledger.caps("acme") == []
    assert audited(embedded_database).differences == ()


def test_measured_units_are_counted_and_shown_as_decimals(
    embedded_database: TestDatabase,
) -> None:
    cap = {"id": "gpu", "unit": "gpu_seconds", "limit": "1.5", "calendar": "hour"}
    with guarded(embedded_database) as acme:
        set_caps(acme, NOON, cap).result()
        assert acme.ledger.caps("acme") == [
            {**cap, "used": "0", "held": "0", "resets_at": "2026-03-10T13:00:00.000000Z"}
        ]
        estimate = {"requests": 1, "gpu_seconds": "1.500001"}
        refused = facts(acme.reserve(NOON, estimate=estimate))
        assert (refused["requested"], refused["limit"]) == ("1.500001", "1.5")
        acme.reserve(NOON, estimate={**estimate, "gpu_seconds": "1.5"}).result()
        assert caps_of(acme) == [("0", "1.5")]
    assert audited(embedded_database).differences == ()


def test_caps_are_the_same_after_a_restart_from_a_snapshot(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SNAPSHOT_EVERY > 3
    monkeypatch.setattr("application.committing.SNAPSHOT_EVERY", 3)
    with guarded(embedded_database) as acme:
        set_caps(acme, NOON, DAILY, ROLLING).result()
        acme.use(NOON, 3).result()
        acme.reserve(NOON, 2).result()
        before = acme.ledger.caps("acme")
    with guarded(embedded_database) as acme:
        assert acme.ledger.caps("acme") == before
        assert facts(acme.reserve(NOON))["cap"] == "rolling"
    assert audited(embedded_database).differences == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [('"used":9', '"used":8'), ('"held":0', '"held":1'), ("-11T00:", "-11T01:")],
)
def test_a_refusal_with_other_figures_is_found(
    embedded_database: TestDatabase, old: str, new: str
) -> None:
    with guarded(embedded_database) as acme:
        set_caps(acme, NOON, DAILY).result()
        acme.use(NOON, 9).result()
        refused = acme.reserve(NOON, 2).recorded
        assert refused is not None
    rewrite(embedded_database, refused.position, old, new, with_leaf=True)
    differences = audited(embedded_database).differences
    assert "command_refused.facts" in {each.what for each in differences}


def test_what_a_cap_should_have_stopped_is_found(embedded_database: TestDatabase) -> None:
    with guarded(embedded_database) as acme:
        caps = set_caps(acme, NOON, DAILY).recorded
        acme.reserve(NOON, 9).result()
        assert caps is not None
    rewrite(embedded_database, caps.position, '"limit":10', '"limit":8', with_leaf=True)
    differences = audited(embedded_database).differences
    assert "reservation_held.held" in {each.what for each in differences}
