"""Prefetching: what a batch will need and memory does not have is loaded in a few queries.

It is only a shortcut: whatever is not prefetched is loaded one by one when a rule asks for it.
"""

import gc
from collections.abc import Iterable, Mapping
from typing import Any

from application.jobs import Item
from application.loading import load_balances, load_licenses, load_runs
from application.ports import EventStore
from application.world import World
from domain.command import Command
from domain.commands import COMMANDS, Reserve
from domain.pipeline_commands import ReservePipeline
from domain.reservation import of_hold
from domain.stages import stage_id

WORTH_IT = 2
"""A single aggregate is loaded when it is asked for, in as many queries."""

MOST = 2_000
"""So many aggregates of a kind are loaded ahead at most, for the sake of memory."""

LOOK_AFTER = 200
"""So many aggregates are loaded before the garbage collector looks at them. All of them stay, so a
look finds nothing and holds up every answer: at thousands, as it would by itself, for too long."""

RARELY = 50_000
"""Where the collector comes by itself after so many objects or more, nobody waits for each answer,
and it is left to that: by then most of what is under way has gone."""

_NAMING = ("license", "reservation", "customer")
_FIELDS: dict[type[Command], tuple[str, ...]] = {
    kind: tuple(name for name in _NAMING if hasattr(kind, name)) for kind in COMMANDS.values()
}
"""Which fields of a command may name something to load."""


def prefetch(world: World, store: EventStore, items: Iterable[Item]) -> None:
    """Load the licences, runs, reservations and customers that commands name and memory lacks.

    It may run while the batch before is being committed, on a store that does not know of it yet:
    what that batch changes is in memory.
    """
    licenses: dict[str, None] = {}
    reservations: dict[str, None] = {}
    customers: dict[str, None] = {}
    named = {"license": licenses, "reservation": reservations, "customer": customers}
    known: dict[str, Mapping[str, object]] = {
        "license": world.licenses,
        "reservation": world.reservations,
        "customer": world.balances,
    }
    commands = [item.command for item in items]
    for command in commands:
        for field in _FIELDS[type(command)]:
            name = getattr(command, field)
            if name is not None and name not in known[field]:
                named[field][name] = None
    reservations.update(dict.fromkeys(_stages_of_runs(world, store, commands)))
    world.unseen += len(licenses) + len(reservations)
    if len(licenses) >= WORTH_IT:
        world.licenses.update(load_licenses(store, list(licenses)[:MOST], world.position))
    if len(reservations) >= WORTH_IT:
        _load_customers(world, store, customers, 1)
        _take_from_holds(world, commands, reservations)
    if len(reservations) >= WORTH_IT:
        _load_reservations(world, store, list(reservations)[:MOST])
    for licensed in filter(None, map(world.licenses.get, licenses)):
        customers[licensed.customer] = None
    for reserved in filter(None, map(world.reservations.get, reservations)):
        customers[reserved.customer] = None
    _load_customers(world, store, customers)
    if world.unseen >= LOOK_AFTER:
        if gc.get_threshold()[0] < RARELY:
            gc.collect(0)
        world.unseen = 0


def prefetch_ids(world: World, store: EventStore, commands: Iterable[Command]) -> None:
    """Load what has the ids that reservations would take, if anything has.

    A decision with care asks for that, of each stage of a pipeline too.
    """
    named = dict.fromkeys(name for command in commands for name in _begun(world, command))
    reservations = [name for name in named if name not in world.reservations][:MOST]
    if len(reservations) >= WORTH_IT:
        _load_reservations(world, store, reservations)
    _load_customers(world, store, named)


def _begun(world: World, command: Command) -> list[str]:
    """Return the ids of the reservations that a command would begin, as far as can be known."""
    if isinstance(command, Reserve):
        return [command.id]
    if isinstance(command, ReservePipeline):
        return [stage_id(command.id, each.name) for each in world.pipeline(command.pipeline).stages]
    return []


def _stages_of_runs(world: World, store: EventStore, commands: Iterable[Any]) -> list[str]:
    """Load the runs that commands name, and return those of their reservations to be loaded."""
    runs = dict.fromkeys(each.reserved for each in commands if hasattr(each, "reserved"))
    unknown = [name for name in runs if name not in world.held_stages][:MOST]
    if unknown:
        world.held_stages.update(load_runs(store, unknown, world.position))
    held = [world.held_stages[name] for name in runs if name in world.held_stages]
    names = [stage_id(run.id, stage) for run in held for stage in run.stages]
    return [name for name in names if name not in world.reservations]


def _load_customers(
    world: World, store: EventStore, names: Iterable[str], worth_it: int = WORTH_IT
) -> None:
    """Load the balances that memory lacks."""
    lacking = [name for name in names if name not in world.balances][:MOST]
    if len(lacking) >= worth_it:
        world.balances.update(load_balances(store, lacking, world.position))
        world.unseen += len(lacking)


def _take_from_holds(world: World, commands: Iterable[Any], reservations: dict[str, None]) -> None:
    """Take the reservations that their customers' holds tell, and want them no more."""
    for command in commands:
        name: str = getattr(command, "reservation", None) or ""
        balance = world.balances.get(getattr(command, "customer", None) or "")
        hold = None if name not in reservations or balance is None else balance.holds.get(name)
        found = None if hold is None else of_hold(name, command.customer, hold)
        if found is not None:
            world.reservations[name] = found
            del reservations[name]


def _load_reservations(world: World, store: EventStore, names: list[str]) -> None:
    """Load reservations, and remember where there are none."""
    found = store.reservations(names, world.position)
    world.reservations.update(dict.fromkeys(names) | found)
