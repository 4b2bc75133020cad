"""Random ledgers with licences: the program and the recomputation agree on every decision."""

import json
from collections import Counter

import pytest
from tollbook.recompute import recompute

from domain.denials import DENIALS, LIFE_REFUSALS
from tests.integration.license_workload import LicensedWorkload
from tests.integration.test_audit_random_ledgers import folded, recomputed, states

STEPS = 500
ROUNDS = 30


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_no_decision_differs_and_the_states_are_equal(seed: int, round_number: int) -> None:
    rows = LicensedWorkload(seed + round_number).run(STEPS)
    recomputation, differences = recomputed(rows)
    assert differences == [], f"seed {seed + round_number}"
    assert states(recomputation) == states(folded(rows)), f"seed {seed + round_number}"


def test_the_workload_reaches_every_event_and_denial(seed: int) -> None:
    rows = [row for number in range(48) for row in LicensedWorkload(seed + number).run(STEPS)]
    names = Counter(row[1] for row in rows)
    assert len(names) == 34, names
    codes = Counter(json.loads(row[13])["code"] for row in rows if row[1] == "command_refused")
    assert codes.keys() >= DENIALS.keys() | LIFE_REFUSALS.keys(), codes
    parked = Counter(json.loads(row[13])["code"] for row in rows if row[1] == "usage_parked")
    assert parked["unknown_license"], parked
    assert any('"field":"license"' in row[13] for row in rows)
    assert any('"licensed":' in row[13] for row in rows)
    assert any('"grace":true' in row[13] for row in rows)


def test_a_customer_can_recompute_without_the_registry_and_the_templates(seed: int) -> None:
    rows = LicensedWorkload(seed).run(STEPS)
    whole, _ = recomputed(rows)
    for customer, account in whole.accounts.items():
        mine = [row for row in rows if row[5] == customer or row[1] == "prices_published"]
        own = recompute(mine)
        assert own.ok, own.differences
        assert own.customers[customer].balance == account.balance()
