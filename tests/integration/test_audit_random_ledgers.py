"""Random ledgers: the program that wrote them and the independent recomputation agree on all."""

import json
from collections import Counter
from typing import Any

import pytest
from tollbook.recompute import Difference, Recomputation, recompute

from adapters.event_store.mapper import recorded_from
from application.folded import FoldedLedger, state_hash
from tests.integration.audit_workload import Rows, Workload

PARKING_REASONS = {
    *("already_released", "already_settled", "occurred_at_out_of_range", "parked_by_hand"),
    *("plan_forbids", "reservation_mismatch", "unknown_customer", "unknown_model"),
    *("unknown_reservation", "unknown_unit"),
}

STEPS = 400
ROUNDS = 40


def recomputed(rows: Rows) -> tuple[Recomputation, list[Difference]]:
    """Recompute a whole ledger; return the recomputation and what differs."""
    differences: list[Difference] = []
    recomputation = Recomputation(differences.append, whole=True)
    for row in rows:
        recomputation.add(row)
    return recomputation, differences


def folded(rows: Rows) -> FoldedLedger:
    """Fold a whole ledger as the program does."""
    ledger = FoldedLedger()
    for row in rows:
        ledger.apply(recorded_from(row))
    return ledger


def states(of: Recomputation | FoldedLedger) -> dict[str, dict[str, Any]]:
    """Return everything that a ledger has come to."""
    return {
        "books": dict(of.book_states()),
        "customers": dict(of.customer_states()),
        "exports": dict(of.export_states()),
        "licenses": dict(of.license_states()),
        "models": dict(of.model_states()),
        "policies": dict(of.policy_states()),
        "reservations": dict(of.reservation_states()),
    }


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_no_number_differs_and_the_states_are_equal(seed: int, round_number: int) -> None:
    rows = Workload(seed + round_number).run(STEPS)
    recomputation, differences = recomputed(rows)
    assert differences == [], f"seed {seed + round_number}"
    assert states(recomputation) == states(folded(rows)), f"seed {seed + round_number}"


def test_the_workload_reaches_every_event_and_refusal(seed: int) -> None:
    rows = [row for number in range(32) for row in Workload(seed + number).run(STEPS)]
    names = Counter(row[1] for row in rows)
    assert len(names) == 19, names
    for code in ("insufficient_balance", "already_settled", "already_released", "expired"):
        assert any(f'"code":"{code}"' in row[13] for row in rows), code
    parked = [row for row in rows if row[1] == "usage_parked"]
    assert {json.loads(row[13])["code"] for row in parked} == PARKING_REASONS
    assert any('"kind":"release_usage"' in row[13] for row in rows)
    assert any('"final":false' in row[13] for row in rows)
    assert any('"inferences":' in row[13] for row in rows if row[1] == "reservation_held")
    assert any('"inferences":' in row[13] for row in rows if row[1] == "command_refused")
    assert any('"inference":true' in row[13] for row in rows)
    assert any(
        '"receivable":"0.000000000000"' not in row[13]
        for row in rows
        if row[1] == "reservation_settled"
    )


def test_a_customer_can_recompute_from_their_own_events_and_the_prices(seed: int) -> None:
    rows = Workload(seed).run(STEPS)
    whole, _ = recomputed(rows)
    for customer, account in whole.accounts.items():
        own = recompute(row for row in rows if row[5] in (customer, None))
        assert own.ok, own.differences
        assert own.customers[customer].balance == account.balance()
        assert list(own.customers) == [customer]


def test_the_same_events_give_the_same_hash_and_another_event_another(seed: int) -> None:
    rows = Workload(seed).run(STEPS)
    assert state_hash(folded(rows)) == state_hash(folded(rows))
    assert state_hash(folded(rows[:-1])) != state_hash(folded(rows))
