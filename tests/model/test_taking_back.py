"""A batch that was not committed leaves memory as it was before, and nothing that came since."""

from typing import Any

import pytest

from application.catching_up import catch_up
from application.jobs import Item, Job
from application.planning import make_plan
from application.ports import HeadMovedError
from application.world import World
from domain.state import balance_to_wire
from tests.integration.audit_workload import Workload
from tests.integration.license_workload import LicensedWorkload

KINDS = (
    *("balances", "reservations", "books", "parked", "models", "pipelines", "held_stages"),
    *("licenses", "templates"),
)
MARKS = ("exports", "position", "recorded_at", "ledger_version")


def memory(world: World) -> dict[str, Any]:
    """Return all that is in memory, and where it stands."""
    kinds = {kind: dict(getattr(world, kind)) for kind in KINDS}
    return {**kinds, **{mark: getattr(world, mark) for mark in MARKS}}


def assert_alike(one: World, other: World) -> None:
    """Compare what both have in memory of balances, reservations and price books."""
    common = one.balances.keys() & other.balances.keys()
    assert len(common) > 1
    for name in common:
        assert balance_to_wire(one.balances[name]) == balance_to_wire(other.balances[name])
    for name in one.reservations.keys() & other.reservations.keys():
        assert one.reservations[name] == other.reservations[name]
    for name in one.books.keys() & other.books.keys():
        assert one.books[name] == other.books[name]


def sent(workload: Workload, count: int) -> list[Item]:
    """Return random commands, as the workload would send them."""
    kinds, weights = zip(*workload._actions(), strict=True)
    items: list[Item] = []
    for _ in range(count):
        made = workload.random.choices(kinds, weights)[0]()
        items += [each for each in (made if isinstance(made, list) else [made]) if each]
    return items


def planned(world: World, workload: Workload, count: int) -> Any:
    """Decide random commands on what is in memory."""
    store, now = workload.store, workload.now
    job = Job(sent(workload, count))
    return make_plan(world, store, {}, lambda: now, [job], careful=False)


def load_all(world: World, workload: Workload) -> None:
    """Load whatever the ledger has."""
    for customer in workload.customers:
        world.balance(customer)
    for name, _, _ in workload.reservations:
        world.reservation(name)
    for name in workload.parked:
        world.parked_usage(name)
    world.export_list()
    for book in ("default", "other"):
        world.book(book)


@pytest.mark.parametrize("kind", [Workload, LicensedWorkload])
@pytest.mark.parametrize("round_number", range(12))
def test_what_a_batch_changed_is_taken_back_and_what_was_loaded_since_forgotten(
    kind: type[Workload], round_number: int, seed: int
) -> None:
    workload = kind(seed + round_number)
    workload.run(150)
    world = World(workload.store)
    planned(world, workload, 20)  # what is decided and dropped has only loaded
    for _ in range(10):
        plan = planned(world, workload, workload.random.randint(1, 30))
        before = memory(world)
        undo = plan.draft.advance()
        changed = memory(world)
        assert changed["position"] == before["position"] + len(plan.events)
        if workload.random.random() < 0.5:
            load_all(world, workload)
        planned(world, workload, 20)
        undo.take_back()
        assert memory(world) == before
        plan.draft.advance()
        assert memory(world) == changed
        workload.store.append(plan.batch())
        fresh = World(workload.store)
        load_all(fresh, workload)
        load_all(world, workload)
        assert_alike(world, fresh)


def test_another_writers_events_are_met_after_it(seed: int) -> None:
    """The one that was faster has changed the same customers."""
    workload = Workload(seed)
    workload.run(150)
    ours, theirs = World(workload.store), World(workload.store)
    undo = planned(ours, workload, 20).draft.advance()
    faster = planned(theirs, workload, 20)
    workload.store.append(faster.batch())
    load_all(ours, workload)
    undo.take_back()
    with pytest.raises(HeadMovedError):
        workload.store.append(planned(ours, workload, 20).batch()._replace(expected=ours.position))
    catch_up(ours, workload.store)
    theirs = World(workload.store)
    load_all(ours, workload)
    load_all(theirs, workload)
    assert_alike(ours, theirs)
