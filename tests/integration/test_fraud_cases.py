"""Fraud cases in the ledger: opened with the block, settled by one command, audited, replayed."""

import json

import pytest
from tollbook.errors import NotFound
from tollbook.recompute import recompute

from adapters.event_store.store import PostgresEventStore
from application.folded import FoldedLedger, state_hash
from domain.fraud_case import CLEARED, CONFIRMED, FLAGGED
from projections import fraud_cases
from tests.integration.audit_fixtures import audited
from tests.integration.guarded_ledger import HOUR, MINUTE, NOON, SECOND, Guarded, guarded
from tests.support.databases import TestDatabase
from tests.support.views import project

BURST = NOON + HOUR + 5 * MINUTE


def burst(acme: Guarded) -> None:
    """Use so much at once that the hard rule blocks."""
    acme.use(NOON, 1).result()
    acme.use(BURST, 1001).result()


def status(acme: Guarded) -> str | None:
    """Return how the customer's newest case stands."""
    case = acme.balance().case
    return None if case is None else case.status


def test_the_block_of_the_hard_rule_opens_a_case_in_the_settling_transaction(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        acme.use(NOON, 1).result()
        assert status(acme) is None
        before = acme.ledger.store.head().position
        acme.use(BURST, 1001).result()
        assert acme.ledger.store.head().position == before + 2, "the charge and the block"
        assert status(acme) == FLAGGED
    assert audited(embedded_database).differences == ()


def test_clearing_unblocks_in_one_step_and_the_same_burst_does_not_block_again(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        burst(acme)
        answer = acme.one(BURST + 1, "clear_case", case="acme.1", reason="a test")
        assert answer.result()["case"] == "acme.1"
        acme.reserve(BURST + 2).result()
        acme.use(BURST + 3, 5000).result()
        assert (status(acme), acme.balance().block) == (CLEARED, None)
        again = acme.one(BURST + 4, "clear_case", case="acme.1", reason="a test")
        assert again.code == "case_cleared"
        acme.use(BURST + 5 * MINUTE + 2 * SECOND, 200_000).result()
        case = acme.balance().case
        assert case is not None
        assert (case.number, case.status) == (2, FLAGGED), "a later burst is another case"
    assert audited(embedded_database).differences == ()


def test_a_confirmed_case_stops_the_account_until_it_is_cleared(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        acme.one(NOON, "flag_customer", reason="a stolen card").result()
        held = acme.reserve(NOON + 1, 5)
        assert held.done, "a flag stops nobody"
        acme.one(NOON + 2, "confirm_case", case="acme.1", reason="the bank says so").result()
        assert status(acme) == CONFIRMED
        assert acme.reserve(NOON + 3).code == "account_blocked"
        body = {"id": "e", "reservation": held.id, "ttl_seconds": 900}
        assert acme.send(NOON + 3, ("extend", body))[0].code == "account_blocked"
        assert acme.one(NOON + 3, "unblock", reason="please").code == "case_confirmed"
        twice = acme.one(NOON + 3, "confirm_case", case="acme.1", reason="again")
        assert twice.code == "case_confirmed"
        acme.settle(NOON + 4, held.id, 1).result()
        acme.one(NOON + 5, "clear_case", case="acme.1", reason="the bank was wrong").result()
        acme.reserve(NOON + 6).result()
    assert audited(embedded_database).differences == ()


def test_a_case_that_there_is_not_is_not_found_and_leaves_the_id_free(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        for case in ("acme.1", "nobody.1"):
            answer = acme.one(NOON, "clear_case", id="c", case=case, reason="why")
            assert isinstance(answer.error, NotFound)
            assert answer.error.facts["field"] == "case"
        acme.one(NOON, "flag_customer", reason="odd").result()
        missing = acme.one(NOON, "confirm_case", id="c", case="acme.2", reason="why")
        assert missing.code == "not_found"
        acme.one(NOON, "confirm_case", id="c", case="acme.1", reason="why").result()


def test_a_score_flags_with_its_signs_and_the_same_id_flags_once(
    embedded_database: TestDatabase,
) -> None:
    scored = {
        "id": "score-1",
        "reason": "the score is 70",
        "score": 70,
        "signs": [["machines", 40], ["rate", 30]],
        "rule": 1,
        "seen": 3,
    }
    with guarded(embedded_database) as acme:
        first = acme.one(NOON, "flag_customer", **scored)
        again = acme.one(NOON + 1, "flag_customer", **scored)
        assert again.repeated
        assert again.result() == first.result()
        other = acme.one(NOON + 1, "flag_customer", **{**scored, "seen": 4})
        assert other.error is not None
        assert (other.code, other.error.facts["field"]) == ("id_reused", "seen")
        assert len(acme.events("fraud_flagged")) == 1
    assert audited(embedded_database).differences == ()


def test_replaying_the_log_gives_the_same_verdicts(embedded_database: TestDatabase) -> None:
    """Folded from nothing, twice, and recomputed by the code that auditors run."""
    with guarded(embedded_database) as acme:
        burst(acme)
        acme.one(BURST + 1, "confirm_case", case="acme.1", reason="stolen").result()
        acme.one(BURST + 2, "clear_case", case="acme.1", reason="it was not").result()
        acme.one(BURST + 3, "flag_customer", reason="again odd").result()
        live = acme.balance()
        rows = acme.rows()
        store = acme.ledger.store
        hashes = set()
        for _ in range(2):
            folded = FoldedLedger()
            for recorded in store.since(0, store.head().position):
                folded.apply(recorded)
            assert folded.balances["acme"].case == live.case
            hashes.add(state_hash(folded))
        assert len(hashes) == 1
    assert recompute(rows).ok
    assert audited(embedded_database).state_hash in hashes


@pytest.mark.parametrize(
    ("name", "field", "value", "what"),
    [
        ("fraud_cleared", "unblocked", False, "fraud_cleared.unblocked"),
        ("fraud_cleared", "case", "acme.2", "fraud_cleared.case"),
        ("fraud_confirmed", "reason", " ", "fraud_confirmed.reason"),
        ("fraud_flagged", "score", 71, "fraud_flagged.score"),
    ],
)
def test_a_fact_of_a_case_that_does_not_follow_is_found(
    embedded_database: TestDatabase, name: str, field: str, value: object, what: str
) -> None:
    with guarded(embedded_database) as acme:
        burst(acme)
        signs = {"signs": [["rate", 70]], "score": 70, "rule": 1, "seen": 3}
        acme.one(BURST + 1, "flag_customer", reason="a score", **signs).result()
        acme.one(BURST + 1, "confirm_case", case="acme.1", reason="stolen").result()
        acme.one(BURST + 2, "clear_case", case="acme.1", reason="it was not").result()
        rows = acme.rows()
    assert recompute(rows).ok
    changed = [
        row._replace(data=json.dumps({**json.loads(str(row.data)), field: value}))
        if row.name == name
        else row
        for row in rows
    ]
    assert what in {each.what for each in recompute(changed).differences}


def test_the_view_tells_each_step_of_a_case(embedded_database: TestDatabase) -> None:
    with guarded(embedded_database) as acme:
        burst(acme)
        signs = {"signs": [["rate", 70]], "score": 70, "rule": 1, "seen": 3}
        acme.one(BURST + 1, "flag_customer", reason="a score", **signs).result()
        acme.one(BURST + 2, "unblock", reason="meanwhile").result()
        acme.one(BURST + 3, "clear_case", case="acme.1", reason="a test").result()
        acme.one(BURST + 4, "flag_customer", reason="odd").result()
        project(embedded_database)
        store = acme.ledger.store
        assert isinstance(store, PostgresEventStore)
        run = store.run
        first, second = fraud_cases.page(run).items
        assert (first["id"], first["status"], first["flags"], first["score"]) == (
            "acme.1",
            "cleared",
            2,
            70,
        )
        assert (second["id"], second["status"], second["flags"]) == ("acme.2", "flagged", 1)
        assert "score" not in second
        assert fraud_cases.waiting(run) == 1
        assert [each["id"] for each in fraud_cases.page(run, status="flagged").items] == ["acme.2"]
        found = fraud_cases.one(run, "acme.1")
        assert found is not None
        told = [(step["what"], step.get("reason", "")) for step in found["steps"]]
        assert told == [
            ("blocked", ""),
            ("flagged", "a score"),
            ("unblocked", "meanwhile"),
            ("cleared", "a test"),
        ]
        assert found["steps"][1]["signs"] == [{"code": "rate", "points": 70}]
        assert fraud_cases.one(run, "acme.3") is None
        assert fraud_cases.one(run, "a\x00") is None
