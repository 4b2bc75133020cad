"""What others wrote: memory is then as if it were loaded anew, and holds nothing needlessly."""

from typing import Any

import pytest
from tollbook import canonical

from adapters.event_store.mapper import decode
from application import catching_up
from application.catching_up import catch_up
from application.world import World
from domain.event import EVENT_TYPES, Event, Recorded
from domain.events import OF_RESERVATION
from tests.compat.golden_events import EXAMPLES
from tests.integration.audit_workload import Workload
from tests.integration.license_workload import LicensedWorkload
from tests.model.test_taking_back import KINDS, MARKS, assert_alike, load_all, memory, planned

ROUNDS = 8


def example(name: tuple[str, int]) -> Event:
    """Return a golden event."""
    return decode(*name, canonical.dumps(EXAMPLES[name]))


OF_RESERVATIONS = [
    name for name in EVENT_TYPES if example(name).stream().startswith(OF_RESERVATION)
]


class Other:
    """Another writer on a workload's ledger."""

    def __init__(self, workload: Workload) -> None:
        """Stand where the ledger does."""
        self._workload, self._world = workload, World(workload.store)

    def write(self, batches: int) -> None:
        """Append batches of random commands."""
        for _ in range(batches):
            self._workload._let_time_pass()
            plan = planned(self._world, self._workload, 8)
            if plan.events:
                self._workload.store.append(plan.batch())
                plan.draft.advance()


def some_loaded(world: World, workload: Workload) -> None:
    """Load a random part of what the ledger has."""
    for customer in workload.customers:
        if workload.random.random() < 0.5:
            world.balance(customer)
    for name, _, _ in workload.reservations:
        if workload.random.random() < 0.2:
            world.reservation(name)


@pytest.mark.parametrize("unasked", [0, 3, catching_up.UNASKED_MAX])
@pytest.mark.parametrize("kind", [Workload, LicensedWorkload])
@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_what_is_in_memory_is_what_would_be_loaded(
    kind: type[Workload],
    round_number: int,
    unasked: int,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catching_up, "UNASKED_MAX", unasked)
    workload = kind(seed + round_number)
    workload.run(100)
    world, other = World(workload.store), Other(workload)
    for _ in range(4):
        some_loaded(world, workload)
        other.write(12)
        catch_up(world, workload.store)
        assert world.position == workload.store.head().position
        assert world.recorded_at == workload.store.head().recorded_at
        fresh = World(workload.store)
        load_all(fresh, workload)
        for name in world.reservations.keys() - fresh.reservations.keys():
            assert world.reservations[name] == fresh.reservation(name)
        load_all(world, workload)
        assert_alike(world, fresh)


def test_only_what_concerns_memory_is_read(seed: int) -> None:
    workload = Workload(seed)
    workload.run(300)
    world, stood = World(workload.store), workload.store.head().position
    known = workload.customers[0]
    world.balance(known)
    Other(workload).write(40)
    read = workload.store.since(stood, 10_000, world.concerns)
    others = [each for each in read[:-1] if each.customer != known]
    assert not [each for each in others if each.stream.startswith(OF_RESERVATION)]
    all_of_them = workload.store.since(stood, 10_000)
    assert [each for each in all_of_them if each.customer == known] == [
        each for each in read if each.customer == known
    ]
    assert read[-1] == all_of_them[-1]
    assert len(read) < len(all_of_them)


@pytest.mark.parametrize("name", OF_RESERVATIONS)
def test_an_event_of_a_reservation_changes_it_and_its_customers_balance_alone(
    name: tuple[str, int], seed: int
) -> None:
    """So it may be passed over where neither is in memory, whatever else is."""
    event = example(name)
    workload = LicensedWorkload(seed)
    workload.run(150)
    world = World(workload.store)
    load_all(world, workload)
    world.balances.pop("cust-1", None)
    before: dict[str, Any] = memory(world)
    assert not world.concerns(event.stream(), "cust-1")
    now = world.recorded_at + 1
    place = (world.position + 1, *name, event.stream(), 2, "cust-1", 2)
    world.apply(Recorded._make((*place, "c-1", None, None, "test", now, now, event)))
    after = memory(world)
    assert {each: after[each] for each in (*KINDS, "exports", "ledger_version")} == {
        each: before[each] for each in (*KINDS, "exports", "ledger_version")
    }
    assert set(MARKS) == {"exports", "ledger_version", "position", "recorded_at"}


def test_a_balance_that_only_others_need_is_let_go_of(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching_up, "UNASKED_MAX", 20)
    workload = Workload(seed)
    workload.run(300)
    asked, unasked, others = World(workload.store), World(workload.store), Other(workload)
    known = list(workload.customers)
    for world in (asked, unasked):
        for customer in known:
            world.balance(customer)
    for _ in range(60):
        others.write(1)
        for customer in known:
            asked.balance(customer)
        catch_up(asked, workload.store)
        catch_up(unasked, workload.store)
    assert set(known) == asked.balances.keys() > unasked.balances.keys()
    assert all(events <= 20 for events in unasked.unasked.values())
    assert unasked.unasked.keys() <= unasked.balances.keys()


def test_the_chunks_are_read_to_the_end(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "CHUNK", 7)
    workload = Workload(seed)
    workload.run(50)
    world = World(workload.store)
    Other(workload).write(30)
    assert workload.store.head().position > world.position + 14
    catch_up(world, workload.store)
    assert world.position == workload.store.head().position
