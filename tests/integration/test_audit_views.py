"""The views under audit: whatever stands in them and does not follow from the log is found."""

from contextlib import closing

import pytest
from tollbook.errors import Unavailable

from adapters.event_store.log_reader import LogReader
from adapters.postgres import connect
from entrypoints.projecting import compare, rebuild
from projections import comparing, states
from projections.charges import Charges
from projections.model import Change
from tests.integration.audit_fixtures import audited, fill, superuser
from tests.support.databases import TestDatabase
from tests.support.ledger import open_ledger, reserve
from tests.support.views import dump, project, random_rows, store_rows

SPOILED = """
UPDATE views.balance_history SET state = regexp_replace(state, '"spent": "[0-9]', '"spent": "9')
WHERE position = (SELECT min(position) FROM views.balance_history WHERE WHICH)
RETURNING position, customer
"""
ONE_MORE = """
INSERT INTO views.charges
SELECT (jsonb_populate_record(kept, '{"line": 9}')).* FROM views.charges AS kept
"""


@pytest.fixture
def ledger(embedded_database: TestDatabase) -> TestDatabase:
    """Give the test a ledger whose views are up to date; it is clean before."""
    fill(embedded_database)
    project(embedded_database)
    assert found(embedded_database) == []
    return embedded_database


def found(database: TestDatabase) -> list[str]:
    """Return what an audit finds."""
    return [each.what for each in audited(database).differences]


def compared(database: TestDatabase) -> list[str]:
    """Return what differs in the views of a ledger that has no ids, so cannot be audited."""
    return [each.what for each in compare(database.parts, lambda _label, _total: lambda _: None)]


def test_an_amount_of_a_charge_is_told_with_what_it_should_be(ledger: TestDatabase) -> None:
    ((position,),) = ledger.query(
        "UPDATE views.charges SET charged = charged + 1e-12 "
        "WHERE position = (SELECT min(position) FROM views.charges) RETURNING position"
    )
    assert [tuple(each) for each in audited(ledger).differences] == [
        (position, f"views.charges {position} 1: charged", "0.025000000000", "0.025000000001")
    ]


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("DELETE FROM views.charges", "charges"),
        ("UPDATE views.journal SET amounts = amounts[2:] || amounts[1]", "journal"),
        ("UPDATE views.usage SET input_tokens = input_tokens - 1", "usage"),
        ("UPDATE views.balances SET available = 7 WHERE customer = 'cust-2'", "balances"),
        ("UPDATE views.customers SET terms = '{}' WHERE customer = 'cust-2'", "customers"),
        ("UPDATE views.reservations SET status = 'expired'", "reservations"),
        ("UPDATE views.parked_usage SET released_position = 1", "parked_usage"),
        ("UPDATE views.tree_edges SET edge = sha256(edge)", "tree_edges"),
        ("DELETE FROM views.tree_edges", "tree_edges"),
        ("UPDATE views.checkpoint SET position = position + 1", "checkpoint"),
        (ONE_MORE, "charges"),
    ],
)
def test_a_row_that_does_not_follow_from_the_log_is_found(
    ledger: TestDatabase, statement: str, table: str
) -> None:
    ledger.query(statement)
    assert {what.split()[0].rstrip(":") for what in found(ledger)} == {f"views.{table}"}


def test_views_that_are_behind_are_compared_as_far_as_they_are(ledger: TestDatabase) -> None:
    with open_ledger(ledger) as tollbook:
        reserve(tollbook, "one-more").result()
    assert found(ledger) == []
    ledger.query("UPDATE views.usage SET charged = 0")
    assert found(ledger) != []


def test_views_that_move_on_meanwhile_are_compared_as_they_end(database: TestDatabase) -> None:
    store_rows(database, random_rows(7))
    project(database, 100)
    ends = iter((200, 300))

    def move_on(_events: int) -> None:
        project(database, next(ends))

    with closing(connect(database.app_url)) as reading, closing(connect(database.app_url)) as ours:
        found = list(comparing.unlike(LogReader(reading), ours, move_on))
    assert found == []
    assert next(ends, None) is None


def test_views_of_another_version_are_left_to_the_next_projector(ledger: TestDatabase) -> None:
    ledger.query("UPDATE views.checkpoint SET fingerprint = 'older'")
    ledger.query("DELETE FROM views.charges")
    assert found(ledger) == []


def test_a_log_that_cannot_be_followed_to_the_end_is_audited_all_the_same(
    ledger: TestDatabase,
) -> None:
    with superuser(ledger) as connection:
        connection.execute("UPDATE events SET name = 'money_printed' WHERE position = 3")
    assert {"leaf", "data", "name", "views"} <= set(found(ledger))


def test_an_event_that_a_model_does_not_take_is_told(
    ledger: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((position,),) = ledger.query("SELECT max(position) FROM views.charges")
    collect = Charges.collect

    def fastidious(charges: Charges, change: Change) -> None:
        if change.recorded.position == position:
            raise ValueError("a charge that I do not like")
        collect(charges, change)

    monkeypatch.setattr(Charges, "collect", fastidious)
    assert {"views: model charges", f"views.charges {position} 1"} <= set(found(ledger))
    rebuild(ledger.parts)
    assert found(ledger) == ["views: model charges"]


def test_an_event_that_went_is_missed_by_the_views(ledger: TestDatabase) -> None:
    ((position,),) = ledger.query("SELECT max(position) FROM views.charges")
    with superuser(ledger) as connection:
        connection.execute("DELETE FROM events WHERE position = %s", (position,))
    assert f"views.charges {position} 1" in found(ledger)


def test_without_the_right_to_temporary_tables_an_audit_says_so(
    embedded_database: TestDatabase,
) -> None:
    revoke = f"REVOKE TEMPORARY ON DATABASE {embedded_database.name} FROM PUBLIC, tollbook_app"
    embedded_database.query(revoke)
    with pytest.raises(Unavailable, match="views cannot be compared"):
        audited(embedded_database)


def test_a_ledger_without_views_has_none_to_compare(ledger: TestDatabase) -> None:
    ledger.query("DROP SCHEMA views CASCADE")
    assert found(ledger) == []


def test_an_audit_leaves_the_views_as_they_are(ledger: TestDatabase) -> None:
    ledger.query("UPDATE views.usage SET charged = 0")
    before = dump(ledger)
    assert found(ledger) != []
    assert dump(ledger) == before


def test_kept_states_are_true_whichever_are_kept(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which ones are kept hangs on how many customers were in memory."""
    monkeypatch.setattr(states, "KEPT_EVERY", 16)
    store_rows(embedded_database, random_rows(7))
    with monkeypatch.context() as crowded:
        crowded.setattr(states, "CUSTOMERS_MAX", 1)
        for until in (50, 150, 250, None):
            project(embedded_database, until)
    ((odd,),) = embedded_database.query(
        "SELECT count(*) FROM views.balance_history WHERE sequence % 16 <> 0"
    )
    assert odd != 0
    assert compared(embedded_database) == []
    for which in ("= 0", "<> 0"):
        ((position, customer),) = embedded_database.query(
            SPOILED.replace("WHICH", f"sequence % 16 {which}")
        )
        told = f"views.balance_history {position} {customer}: state"
        assert told in compared(embedded_database)
