"""Whatever a superuser rewrites in the database, the audit finds and names it."""

import pytest

from application.ports import Snapshot
from domain.state import STATE_VERSION, untouched_since
from tests.integration.audit_fixtures import (
    audited,
    fill,
    position_of,
    rewrite,
    roots,
    superuser,
    whats,
)
from tests.support.databases import TestDatabase
from tests.support.ledger import PRICE_OF_USAGE, open_ledger, reserve


@pytest.fixture
def ledger(embedded_database: TestDatabase) -> TestDatabase:
    """Give the test a ledger of its own to spoil; it is clean before."""
    fill(embedded_database)
    report = audited(embedded_database)
    assert report.ok, report.differences
    return embedded_database


def test_a_changed_payload_no_longer_has_its_leaf_hash(ledger: TestDatabase) -> None:
    position = position_of(ledger, "customer_created")
    rewrite(ledger, position, '"plan":"standard"', '"plan":"reserved_only"')
    assert (position, "leaf") in whats(audited(ledger))


def test_a_changed_envelope_no_longer_has_its_leaf_hash(ledger: TestDatabase) -> None:
    with superuser(ledger) as connection:
        connection.execute("UPDATE events SET actor = 'somebody else' WHERE position = 4")
    assert whats(audited(ledger)) == {(4, "leaf")}


def test_a_row_and_its_hash_rewritten_are_caught_by_an_expected_root(ledger: TestDatabase) -> None:
    before = roots(ledger)
    position = position_of(ledger, "customer_created")
    # Nothing else depends on it: this customer has no direct usage.
    rewrite(ledger, position, '"plan":"standard"', '"plan":"reserved_only"', with_leaf=True)
    head = max(before)
    assert audited(ledger).ok
    report = audited(ledger, (head, before[head]))
    (difference,) = report.differences
    assert difference.position == head
    assert difference.what.startswith(f"root at {head}")
    assert (difference.expected, difference.found) == (before[head], report.root)


def test_several_expected_roots_close_in_on_what_was_changed(ledger: TestDatabase) -> None:
    before = roots(ledger)
    position = position_of(ledger, "reservation_settled")
    rewrite(ledger, position, "gateway", "gatewaY", with_leaf=True)
    given = (2, position - 1, position + 2, max(before))
    report = audited(ledger, *((each, before[each]) for each in given))
    found = [each.what for each in report.differences if each.what.startswith("root at")]
    assert found == [
        f"root at {position + 2}: an event from {position} to {position + 2} was changed",
        f"root at {max(before)}",
    ]


def test_a_wrong_charge_written_consistently_is_found(ledger: TestDatabase) -> None:
    position = position_of(ledger, "reservation_settled")
    rewrite(ledger, position, PRICE_OF_USAGE, "0.025000000001", with_leaf=True)
    report = audited(ledger)
    first = report.differences[0]
    assert (first.position, first.what) == (position, "reservation_settled.charged")
    assert (first.expected, first.found) == (PRICE_OF_USAGE, "0.025000000001")
    assert any(each.what == "customer cust-1: spent" for each in report.differences)


def test_a_deleted_event_is_named_by_the_gap_it_leaves(ledger: TestDatabase) -> None:
    with superuser(ledger) as connection:
        connection.execute("DELETE FROM events WHERE position = 6")
    report = audited(ledger)
    assert {(7, "position"), (6, "command_ids")} <= whats(report)
    assert report.events == report.position - 1


def test_events_cut_off_the_end_are_missed_by_the_head(ledger: TestDatabase) -> None:
    with superuser(ledger) as connection:
        connection.execute("DELETE FROM events WHERE position = (SELECT max(position) FROM events)")
    report = audited(ledger)
    assert (report.position, "head: position") in whats(report)


def test_a_tail_cut_off_with_all_its_traces_is_caught_by_an_expected_root(
    ledger: TestDatabase,
) -> None:
    before = roots(ledger)
    head = max(before)
    with superuser(ledger) as connection:
        connection.execute("DELETE FROM events WHERE position = %s", (head,))
        connection.execute("DELETE FROM command_ids WHERE position = %s", (head,))
        connection.execute(
            "UPDATE ledger_head SET position = position - 1, recorded_at = "
            "(SELECT recorded_at FROM events ORDER BY position DESC LIMIT 1)"
        )
    assert audited(ledger).ok
    assert whats(audited(ledger, (head, before[head]))) == {(head, f"root at {head}")}


def test_events_that_changed_places_are_found(ledger: TestDatabase) -> None:
    with superuser(ledger) as connection:
        for old, new in ((5, 1000), (6, 5), (1000, 6)):
            connection.execute("UPDATE events SET position = %s WHERE position = %s", (new, old))
    assert {(5, "leaf"), (6, "leaf")} <= whats(audited(ledger))


def test_a_head_that_says_otherwise_is_found(ledger: TestDatabase) -> None:
    with superuser(ledger) as connection:
        connection.execute("UPDATE ledger_head SET position = 99, recorded_at = 1")
    names = {what for _, what in whats(audited(ledger))}
    assert names == {"head: position", "head: recorded_at"}


def test_a_changed_id_is_found_from_both_sides(ledger: TestDatabase) -> None:
    with superuser(ledger) as connection:
        connection.execute("UPDATE command_ids SET id = 'made-up' WHERE position = 5")
    report = audited(ledger)
    assert whats(report) == {(5, "command_ids")}
    assert [each.found for each in report.differences] == [
        "nothing",
        '["reserve","cust-1","made-up"]',
    ]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM command_ids WHERE position = 5",
        "UPDATE command_ids SET scope = 'cust-2' WHERE position = 5",
        "UPDATE command_ids SET position = 4 WHERE position = 5",
    ],
)
def test_an_event_without_its_id_is_found(ledger: TestDatabase, change: str) -> None:
    with superuser(ledger) as connection:
        connection.execute(change.encode())
    assert (5, "command_ids") in whats(audited(ledger))


def test_an_id_without_an_event_is_found(ledger: TestDatabase) -> None:
    with superuser(ledger) as connection:
        connection.execute("INSERT INTO command_ids VALUES (5, 'r9', 'reserve', 'cust-1')")
    assert whats(audited(ledger)) == {(5, "command_ids")}


def test_another_spelling_of_the_same_payload_is_found(ledger: TestDatabase) -> None:
    rewrite(ledger, 3, '{"amount"', '{ "amount"', with_leaf=True)
    assert whats(audited(ledger)) == {(3, "data")}


def test_another_order_within_the_body_of_a_refusal_is_found(ledger: TestDatabase) -> None:
    position = position_of(ledger, "command_refused")
    ours = '"customer":"cust-1","estimate":{"input_tokens":1000000000}'
    turned = '"estimate":{"input_tokens":1000000000},"customer":"cust-1"'
    rewrite(ledger, position, ours, turned, with_leaf=True)
    assert whats(audited(ledger)) == {(position, "data")}


@pytest.mark.parametrize("data", ["", "{", "[]", '{"amount":1.5}', "null"])
def test_a_payload_that_cannot_be_read_is_found_and_the_audit_goes_on(
    ledger: TestDatabase, data: str
) -> None:
    with superuser(ledger) as connection:
        connection.execute("UPDATE events SET data = %s WHERE position = 3", (data,))
    report = audited(ledger)
    assert {(3, "leaf"), (3, "data"), (3, "event")} <= whats(report)
    assert report.events == report.position


def test_an_event_that_no_program_knows_is_found(ledger: TestDatabase) -> None:
    with superuser(ledger) as connection:
        connection.execute("UPDATE events SET name = 'money_printed' WHERE position = 3")
    assert {(3, "leaf"), (3, "data"), (3, "name")} <= whats(audited(ledger))


def test_a_snapshot_that_says_otherwise_is_found(ledger: TestDatabase) -> None:
    with superuser(ledger) as connection:
        connection.execute(
            "INSERT INTO snapshots VALUES "
            "('balance-cust-1', 3, %(ours)s, '{\"position\": 5}'), "
            "('balance-cust-2', 999, %(ours)s, '{}'), "
            "('balance-cust-3', 1, 99, 'of another version')",
            {"ours": STATE_VERSION},
        )
    found = {what for _, what in whats(audited(ledger))}
    assert found == {"snapshot of cust-1", "snapshot of cust-2"}


@pytest.mark.parametrize("said", ["{0}", "{0}1", "{0}.0", '"{0}"', "null", "false", "0.0"])
def test_a_snapshot_that_says_otherwise_when_a_hold_was_opened_is_found(
    ledger: TestDatabase, said: str
) -> None:
    """Prices are those of the time at which a reservation was opened."""
    with open_ledger(ledger) as tollbook:
        reserve(tollbook, "r-untouched").result()
        balance, position = tollbook.balance_state("cust-1"), tollbook.store.head().position
        tollbook.store.save_snapshots([Snapshot(balance, position)])
    opened = {name: at for name, at in untouched_since(balance).items() if name == "r-untouched"}
    changed = said.format(opened["r-untouched"])
    with superuser(ledger) as connection:
        connection.execute(
            "UPDATE snapshots SET data = jsonb_set(data::jsonb, '{opened,r-untouched}', %s)::text",
            (changed,),
        )
    found = {what for _, what in whats(audited(ledger))}
    expected = set() if said == "{0}" else {"snapshot of cust-1: opened: r-untouched"}
    assert found == expected


BLUNT = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'
"""
NARROWER = """
DROP TRIGGER ids_are_for_ever ON command_ids;
CREATE TRIGGER ids_are_for_ever BEFORE DELETE ON command_ids
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE command_ids ENABLE ALWAYS TRIGGER ids_are_for_ever
"""
BLIND = """
CREATE FUNCTION look_away() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
DROP TRIGGER events_are_append_only ON events;
CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION look_away();
ALTER TABLE events ENABLE ALWAYS TRIGGER events_are_append_only
"""
WIDER = """
ALTER TABLE command_ids DROP CONSTRAINT command_ids_taken;
ALTER TABLE command_ids ADD CONSTRAINT command_ids_taken
    PRIMARY KEY (id, kind, scope, position)
"""

BACKWARDS = """
CREATE OR REPLACE FUNCTION refuse_going_back() RETURNS trigger
LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'
"""
SELDOM = """
DROP TRIGGER offsets_go_forward ON stream_offsets;
CREATE TRIGGER offsets_go_forward AFTER UPDATE ON stream_offsets
    FOR EACH ROW WHEN (old.topic = 'another') EXECUTE FUNCTION refuse_going_back();
ALTER TABLE stream_offsets ENABLE ALWAYS TRIGGER offsets_go_forward
"""


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (
            "ALTER TABLE events DISABLE TRIGGER events_are_append_only",
            "trigger events_are_append_only",
        ),
        ("ALTER TABLE command_ids ENABLE TRIGGER ids_are_for_ever", "trigger ids_are_for_ever"),
        ("DROP TRIGGER ids_are_for_ever ON command_ids", "trigger ids_are_for_ever"),
        ("ALTER TABLE events DROP CONSTRAINT events_stream", "constraint events_stream"),
        (BLUNT, "function refuse_change"),
        (NARROWER, "trigger ids_are_for_ever"),
        (BLIND, "trigger events_are_append_only"),
        (WIDER, "constraint command_ids_taken"),
        (
            "ALTER TABLE stream_offsets DISABLE TRIGGER offsets_go_forward",
            "trigger offsets_go_forward",
        ),
        (SELDOM, "trigger offsets_go_forward"),
        (BACKWARDS, "function refuse_going_back"),
        ("DROP TRIGGER offsets_are_kept ON stream_offsets", "trigger offsets_are_kept"),
    ],
)
def test_a_guard_of_the_log_that_was_taken_away_or_exchanged_is_found(
    ledger: TestDatabase, statement: str, what: str
) -> None:
    ledger.query(statement)
    assert [name for _, name in whats(audited(ledger))] == [what]
