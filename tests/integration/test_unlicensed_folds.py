"""What the fold leaves out for customers whose licences count nothing would have done nothing."""

from collections.abc import Iterator

from adapters.event_store.mapper import recorded_from
from domain.balance import Balance
from domain.folding import evolve
from domain.license_folding import OF_KNOWN_USE, uses_after
from tests.integration.audit_workload import Workload
from tests.integration.license_workload import LicensedWorkload
from tests.integration.meeting import met_by


def unused(workload: Workload) -> Iterator[str]:
    """Yield what happened without a known use, having checked that it changed nothing."""
    balances: dict[str, Balance] = {}
    for row in workload.run(600):
        recorded = recorded_from(row)
        if recorded.customer is None:
            continue
        event, at = recorded.event, recorded.recorded_at
        before = balances.get(recorded.customer, Balance())
        after = evolve(before, event, at)
        if type(event) in OF_KNOWN_USE and not before.uses:
            assert uses_after(before, event, at, after.holds) is None
            yield event.NAME
        balances[recorded.customer] = after


def test_an_event_that_needs_a_known_use_changes_nothing_without_one(seed: int) -> None:
    """Whether or not the ledger has licences."""
    wanted = {each.NAME for each in OF_KNOWN_USE}
    met_by(lambda one: unused(LicensedWorkload(one)), seed, wanted, 2)
    met_by(lambda one: unused(Workload(one)), seed, wanted, 4)
