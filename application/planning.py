"""Planning: decide a batch of jobs; when a resource turns out to exist, decide again with care."""

from collections.abc import Callable, Iterable
from typing import Any

from tollbook.errors import TollbookError

from application.deciding import Plan
from application.draft import Draft
from application.handlers import TakenResourceError, customer_of
from application.jobs import Job
from application.ports import EventStore, Key
from application.prefetching import prefetch
from application.world import World


def make_plan(
    world: World,
    store: EventStore,
    recent: dict[Key, int],
    clock: Callable[[], int],
    jobs: Iterable[Job],
    careful: bool,
) -> Plan:
    """Decide a batch of jobs; when a resource turns out to exist, decide again with care."""
    jobs = list(jobs)
    prefetch(world, store, (item for job in jobs for item in job.items))
    for care in (careful, True):
        plan = Plan(world, store, recent, clock())
        plan.careful = care
        if care:
            recent.update(store.taken(_keys(plan.draft, jobs)))
        try:
            for job in jobs:
                plan.add(job)
        except TakenResourceError:
            continue
        return plan
    raise AssertionError("with care, a resource that exists is refused, not raised")


def _keys(draft: Draft, jobs: Iterable[Job]) -> list[Key]:
    keys: list[Any] = []
    for job in jobs:
        for item in job.items:
            try:
                keys.append(item.command.key(customer_of(draft, item.command) or ""))
            except TollbookError:
                continue
    return keys
