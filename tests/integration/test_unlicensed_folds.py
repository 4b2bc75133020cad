"""What the fold leaves out for customers whose licences count nothing would have done nothing."""

from adapters.event_store.mapper import recorded_from
from domain.balance import Balance
from domain.event import Event
from domain.folding import evolve
from domain.license_folding import OF_KNOWN_USE, uses_after
from tests.integration.audit_workload import Workload
from tests.integration.license_workload import LicensedWorkload


def test_an_event_that_needs_a_known_use_changes_nothing_without_one(seed: int) -> None:
    seen: set[type[Event]] = set()
    licensed = [LicensedWorkload(seed + number) for number in range(2)]
    for workload in (*licensed, *[Workload(seed + number) for number in range(4)]):
        balances: dict[str, Balance] = {}
        for row in workload.run(600):
            recorded = recorded_from(row)
            if recorded.customer is None:
                continue
            event, at = recorded.event, recorded.recorded_at
            before = balances.get(recorded.customer, Balance())
            after = evolve(before, event, at)
            if type(event) in OF_KNOWN_USE and not before.uses:
                seen.add(type(event))
                assert uses_after(before, event, at, after.holds) is None
            balances[recorded.customer] = after
    assert seen == OF_KNOWN_USE
