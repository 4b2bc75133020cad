"""Prices added to the past: parked usage is charged once, and what was priced stays as it was."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from application.tollbook import Tollbook
from tests.integration.audit_fixtures import audited, rewrite, whats
from tests.support.databases import TestDatabase
from tests.support.ledger import (
    MODEL,
    a_customer,
    open_ledger,
    price_book,
    release_usage,
    reserve,
    settle,
    use,
)

LARGE: dict[str, Any] = {"name": "large", "prices": {"input_tokens": "2", "pages": "0.5"}}
OCCURRED = "2026-01-02T10:00:00Z"
SINCE = "2026-01-01T00:00:00Z"


def use_large(ledger: Tollbook, name: str, **more: Any) -> Any:
    """Send a record of the model that has no price at first."""
    asked = {"model": "large", "usage": {"input_tokens": 10**6}, "occurred_at": OCCURRED}
    return use(ledger, name, **{**asked, **more}).result()


def adding(**changes: Any) -> dict[str, Any]:
    """Return a version of the standard book that begins in the past and prices `large`."""
    book = price_book(effective_from=SINCE, **changes)
    return {**book, "models": [*book["models"], LARGE]}


def test_parked_usage_is_charged_once_when_its_price_was_added(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        before = use(ledger, "u0", occurred_at=OCCURRED).result()
        held = reserve(ledger, "r1").result()["held"]
        model = use_large(ledger, "u1")
        unit = use(ledger, "u2", usage={"images": 3}, occurred_at=OCCURRED).result()
        early = use_large(ledger, "u3", occurred_at="2025-12-31T23:59:59.999999Z")
        codes = [each["why"]["code"] for each in (model, unit, early)]
        assert codes == ["unknown_model", "unknown_unit", "unknown_model"]

        assert ledger.publish(adding(prices={"images": "0.25"})).result()["version"] == 2
        charged = [release_usage(ledger, each["parked"]).result() for each in (model, unit)]
        assert [each["charged"]["amount"] for each in charged] == [
            "2.000000000000",
            "0.750000000000",
        ]
        assert {each["price_version"] for each in charged} == {2}
        again = release_usage(ledger, model["parked"], "again")
        assert again.code == "already_released"
        assert use_large(ledger, "u1")["position"] == charged[0]["position"]
        assert release_usage(ledger, early["parked"]).code == "unknown_model"

        assert before["price_version"] == 1
        assert use(ledger, "u0", occurred_at=OCCURRED).result() == before
        assert settle(ledger, "r1").result()["charged"] == held == before["charged"]
        assert [each.version for each in ledger.prices("default").versions] == [1, 2]
    with open_ledger(embedded_database) as restarted:
        assert release_usage(restarted, model["parked"], "once-more").code == "already_released"
    report = audited(embedded_database)
    assert report.ok, report.differences


def test_a_version_that_would_change_the_past_is_refused_and_leaves_no_trace(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        parked = use_large(ledger, "u1")
        answer = ledger.publish(adding(max_output_tokens=16385))
        with pytest.raises(Invalid, match=f"for model {MODEL} in version 1: prices already in fo"):
            answer.result()
        assert release_usage(ledger, parked["parked"]).code == "unknown_model"
        assert ledger.publish(adding()).result()["version"] == 2, "the id was left free"
    report = audited(embedded_database)
    assert report.ok, report.differences


def test_a_hold_needs_a_version_in_force_from_its_start(embedded_database: TestDatabase) -> None:
    """The refusal is recomputed as well."""
    with open_ledger(embedded_database) as ledger:
        soon = price_book("soon", effective_from="2999-01-01T00:00:00Z")
        ledger.publish(soon).result()
        a_customer(ledger, price_book="soon")
        assert reserve(ledger, "r1").code == "unknown_model"
        ledger.publish({**adding(), "id": "soon"}).result()
        reserve(ledger, "r2").result()
        versions = ledger.prices("soon").versions
        assert [each.version for each in versions] == [2, 1]
    report = audited(embedded_database)
    assert report.ok, report.differences


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"output":"30"', '"output":"3"', "models"),
        ('"max_output_tokens":16384', '"max_output_tokens":16383', "models"),
        (f'"name":"{MODEL}"', '"name":"another"', "models"),
        ("2026-01-01T00:00:00.000000Z", "2020-01-01T00:00:00.000000Z", "effective_from"),
    ],
)
def test_a_stored_version_that_changes_a_past_price_is_found(
    embedded_database: TestDatabase, old: str, new: str, what: str
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        position = ledger.publish(adding()).result()["position"]
    assert audited(embedded_database).ok
    rewrite(embedded_database, position, old, new, with_leaf=True)
    assert (position, f"prices_published.{what}") in whats(audited(embedded_database))
