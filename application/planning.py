"""Planning: decide a batch of jobs; when a resource turns out to exist, decide again with care."""

from collections.abc import Callable, Iterable
from typing import Any

from tollbook.errors import TollbookError

from application.deciding import Plan
from application.draft import Draft
from application.handlers import TakenResourceError, customer_of
from application.jobs import Item, Job
from application.ports import EventStore, Key
from application.prefetching import prefetch, prefetch_ids
from application.world import World


def make_plan(
    world: World,
    store: EventStore,
    recent: dict[Key, int],
    clock: Callable[[], int],
    jobs: Iterable[Job],
    careful: bool,
) -> Plan:
    """Decide a batch of jobs; when a resource turns out to exist, decide again with care.

    With care it is decided until no id that it would take is taken: that of a command on something
    which the batch itself creates has no key before that is decided.
    """
    jobs = list(jobs)
    items = [item for job in jobs for item in job.items]
    prefetch(world, world.ahead, items)
    while True:
        if careful:  # before the clock is read: what is asked at once does not age the decisions
            prefetch_ids(world, world.ahead, [item.command for item in items])
            recent.update(store.taken(_keys(Draft(world), items)))
        plan = Plan(world, store, recent, clock())
        plan.careful = careful
        try:
            for job in jobs:
                plan.add(job)
        except TakenResourceError:
            assert not careful, "with care, a resource that exists is refused, not raised"
            careful = True
            continue
        taken = store.taken(list(plan.ids)) if careful and plan.ids else {}
        if taken.keys() <= recent.keys():
            return plan
        recent.update(taken)


def _keys(draft: Draft, items: Iterable[Item]) -> list[Key]:
    keys: list[Any] = []
    for item in items:
        try:
            keys.append(item.command.key(customer_of(draft, item.command) or ""))
        except TollbookError:
            continue
    return keys
