"""Parked usage under audit: whatever a superuser rewrites about it is found and named."""

import pytest

from tests.integration.audit_fixtures import audited, fill, rewrite, whats
from tests.support.databases import TestDatabase


@pytest.fixture
def ledger(embedded_database: TestDatabase) -> TestDatabase:
    """Give the test a ledger with parked and released usage; it is clean before."""
    fill(embedded_database)
    report = audited(embedded_database)
    assert report.ok, report.differences
    return embedded_database


def last(database: TestDatabase, name: str) -> int:
    """Return where the last event of a kind stands."""
    ((position,),) = database.query("SELECT max(position) FROM events WHERE name = %s", name)
    assert isinstance(position, int), f"there is no {name}"
    return position


@pytest.mark.parametrize(
    ("event", "old", "new", "what"),
    [
        ("usage_parked", '"code":"unknown_reservation"', '"code":"unknown_model"', "code"),
        ("usage_parked", '"reservation":"late-r"},"p', '"reservation":"late-s"},"p', "facts"),
        ("usage_parked", '"parked":"', '"parked":"0', "parked"),
        ("usage_parked", '"record":"u3"', '"record":"u4"', "command"),
        ("usage_released", '"charged":"0.025', '"charged":"0.024', "charged"),
        ("usage_released", '"receivable":"0.0', '"receivable":"0.1', "receivable"),
        ("usage_released", '"released":"0.0', '"released":"0.1', "released"),
        ("usage_released", '"source":"//meter"', '"source":"//other"', "source"),
        ("reservation_settled", '"record":"u3"', '"record":"u4"', "record"),
        ("reservation_settled", '"record":"u3",', "", "charged"),
        ("reservation_settled", '"input_tokens":1000', '"input_tokens":1001', "usage"),
        ("command_refused", '"already_released"', '"already_settled"', "code"),
        ("command_refused", '"kind":"release_usage"},"p', '"kind":"release"},"p', "facts"),
    ],
)
def test_a_rewritten_fact_about_parked_usage_is_found(
    ledger: TestDatabase, event: str, old: str, new: str, what: str
) -> None:
    position = last(ledger, event)
    before = ledger.query("SELECT data FROM events WHERE position = %s", position)
    rewrite(ledger, position, old, new, with_leaf=True)
    assert ledger.query("SELECT data FROM events WHERE position = %s", position) != before
    found = {name for _, name in whats(audited(ledger))}
    assert any(name.endswith(f".{what}") for name in found), found


def test_usage_that_was_parked_for_nobody_must_name_nobody(ledger: TestDatabase) -> None:
    ((position,),) = ledger.query(
        "SELECT position FROM events WHERE name = 'usage_parked' AND customer IS NULL"
    )
    assert isinstance(position, int)
    rewrite(ledger, position, '"customer":"nobody"', '"customer":"cust-1"', with_leaf=True)
    assert (position, "usage_parked.customer") in whats(audited(ledger))
