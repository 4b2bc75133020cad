"""Random ledgers: the program that wrote them and the independent recomputation agree on all."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tollbook import canonical
from tollbook.recompute import Difference, Recomputation, recompute

from adapters.event_store.mapper import recorded_from
from application.folded import FoldedLedger, state_hash
from tests.integration.audit_workload import Rows, Workload
from tests.integration.meeting import met_by
from tests.support.sizes import in_full_or

PARKING_REASONS = {
    *("already_released", "already_settled", "occurred_at_out_of_range", "parked_by_hand"),
    *("plan_forbids", "reservation_mismatch", "unknown_customer", "unknown_model"),
    *("unknown_reservation", "unknown_unit"),
}

OF_ANY_LEDGER = (
    *("command_refused", "customer_changed", "customer_created", "export_list_published"),
    *("grant_issued", "grants_expired", "holds_expired", "inferences_settled", "model_registered"),
    *("model_version_released", "model_version_yanked", "prices_published"),
    *("reservation_extended", "reservation_held", "reservation_released", "reservation_settled"),
    *("usage_charged", "usage_parked", "usage_released"),
)
"""The events of a ledger without licences."""

PASSAGES = ('"kind":"release_usage"', '"final":false', '"inference":true')

STEPS = 400
ROUNDS = in_full_or(15, 40)


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


def misspelt(rows: Rows) -> list[str]:
    """Return the payloads that are not stored in their one spelling."""
    return [row[13] for row in rows if not canonical.is_canonical(row[13].encode())]


def test_every_payload_is_stored_in_its_one_spelling(seed: int) -> None:
    assert misspelt(Workload(seed).run(STEPS)) == []


def told_by(rows: Rows) -> Iterator[str]:
    """Yield what the events of a ledger are and say."""
    for name, data in ((row[1], row[13]) for row in rows):
        yield name
        yield from (passage for passage in PASSAGES if passage in data)
        if name in ("command_refused", "usage_parked"):
            yield f"{name}: {json.loads(data)['code']}"
        if '"inferences":' in data:
            yield f"{name} of several inferences"
        if name == "reservation_settled" and '"receivable":"0.000000000000"' not in data:
            yield "a receivable"


def test_the_workload_reaches_every_event_and_refusal(seed: int) -> None:
    codes = ("insufficient_balance", "already_settled", "already_released", "expired")
    wanted = {
        *OF_ANY_LEDGER,
        *PASSAGES,
        *(f"command_refused: {code}" for code in codes),
        *(f"usage_parked: {reason}" for reason in PARKING_REASONS),
        *("reservation_held of several inferences", "command_refused of several inferences"),
        "a receivable",
    }
    met = met_by(lambda one: told_by(Workload(one).run(STEPS)), seed, wanted)
    assert {name for name in met if name.startswith("usage_parked: ")} <= wanted
    assert {name for name in met if name.isidentifier()} == {*OF_ANY_LEDGER}


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
