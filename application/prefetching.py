"""Prefetching: what a batch will need and memory does not have is loaded in a few queries.

It is only a shortcut: whatever is not prefetched is loaded one by one when a rule asks for it.
"""

import gc
from collections.abc import Iterable, Mapping

from application.jobs import Item
from application.loading import load_balances, load_licenses, load_reservations
from application.ports import EventStore
from application.world import World
from domain.command import Command
from domain.commands import COMMANDS

WORTH_IT = 2
"""A single aggregate is loaded when it is asked for, in as many queries."""

MOST = 2_000
"""So many aggregates of a kind are loaded ahead at most, for the sake of memory."""

LOOK_AFTER = 200
"""So many aggregates are loaded before the garbage collector looks at them. All of them stay, so a
look finds nothing and holds up every answer: at thousands, as it would by itself, for too long."""

_NAMING = ("license", "reservation", "customer")
_FIELDS: dict[type[Command], tuple[str, ...]] = {
    kind: tuple(name for name in _NAMING if hasattr(kind, name)) for kind in COMMANDS.values()
}
"""Which fields of a command may name something to load."""


def prefetch(world: World, store: EventStore, items: Iterable[Item]) -> None:
    """Load the licences, reservations and customers that commands name and memory lacks.

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
    for item in items:
        command = item.command
        for field in _FIELDS[type(command)]:
            name = getattr(command, field)
            if name is not None and name not in known[field]:
                named[field][name] = None
    if len(licenses) >= WORTH_IT:
        world.licenses.update(load_licenses(store, list(licenses)[:MOST], world.position))
    if len(reservations) >= WORTH_IT:
        found = load_reservations(store, list(reservations)[:MOST], world.position)
        world.reservations.update(found)
    whose = [world.licenses[name].customer for name in licenses if name in world.licenses]
    for name in reservations:
        reservation = world.reservations.get(name)
        if reservation is not None:
            whose.append(reservation.customer)
    customers.update(dict.fromkeys(name for name in whose if name not in world.balances))
    if len(customers) >= WORTH_IT:
        world.balances.update(load_balances(store, list(customers)[:MOST], world.position))
    world.unseen += len(licenses) + len(reservations) + len(customers)
    if world.unseen >= LOOK_AFTER:
        gc.collect(0)
        world.unseen = 0
