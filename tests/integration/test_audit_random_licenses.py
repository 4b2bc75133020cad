"""Random ledgers with licences: the program and the recomputation agree on every decision."""

import json
from collections.abc import Iterator

import pytest
from tollbook.recompute import recompute

from domain.denials import DENIALS, LIFE_REFUSALS
from tests.integration.audit_workload import Rows
from tests.integration.license_workload import LicensedWorkload
from tests.integration.meeting import met_by
from tests.integration.test_audit_random_ledgers import (
    OF_ANY_LEDGER,
    folded,
    misspelt,
    recomputed,
    states,
)
from tests.support.sizes import in_full_or

STEPS = 500
ROUNDS = in_full_or(12, 30)


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_no_decision_differs_and_the_states_are_equal(seed: int, round_number: int) -> None:
    rows = LicensedWorkload(seed + round_number).run(STEPS)
    recomputation, differences = recomputed(rows)
    assert differences == [], f"seed {seed + round_number}"
    assert states(recomputation) == states(folded(rows)), f"seed {seed + round_number}"


def test_every_payload_about_a_licence_is_stored_in_its_one_spelling(seed: int) -> None:
    assert misspelt(LicensedWorkload(seed).run(STEPS)) == []


EVENTS = (
    *("lease_renewed", "license_activated", "license_deactivated", "license_expired"),
    *("license_issued", "license_key_rotated", "license_reinstated", "license_renewed"),
    *("license_revoked", "license_suspended", "license_upgraded", "license_validated"),
    *("policy_published", "seat_leased", "seat_returned"),
)
"""What only a ledger with licences holds."""

PASSAGES = ('"field":"license"', '"licensed":', '"grace":true')


def told_by(rows: Rows) -> Iterator[str]:
    """Yield what the events of a ledger are, say and refuse."""
    for row in rows:
        yield row[1]
        yield from (passage for passage in PASSAGES if passage in row[13])
        if row[1] in ("command_refused", "usage_parked"):
            yield f"{row[1]}: {json.loads(row[13])['code']}"


def test_the_workload_reaches_every_event_and_denial(seed: int) -> None:
    refused = {f"command_refused: {code}" for code in DENIALS.keys() | LIFE_REFUSALS.keys()}
    wanted = {*OF_ANY_LEDGER, *EVENTS, *refused, "usage_parked: unknown_license", *PASSAGES}
    met = met_by(lambda one: told_by(LicensedWorkload(one).run(STEPS)), seed, wanted)
    assert {name for name in met if name.isidentifier()} == {*OF_ANY_LEDGER, *EVENTS}


def test_a_customer_can_recompute_without_the_registry_and_the_templates(seed: int) -> None:
    rows = LicensedWorkload(seed).run(STEPS)
    whole, _ = recomputed(rows)
    for customer, account in whole.accounts.items():
        mine = [row for row in rows if row[5] == customer or row[1] == "prices_published"]
        own = recompute(mine)
        assert own.ok, own.differences
        assert own.customers[customer].balance == account.balance()
