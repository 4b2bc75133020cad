"""Prefetching: what a batch will need and memory does not have is loaded in a few queries.

It is only a shortcut: whatever is not prefetched is loaded one by one when a rule asks for it.
"""

from collections.abc import Iterable

from application.jobs import Item
from application.loading import load_balances, load_licenses, load_reservations
from application.ports import EventStore
from application.world import World

WORTH_IT = 2
"""A single aggregate is loaded when it is asked for, in as many queries."""

MOST = 2_000
"""So many aggregates of a kind are loaded ahead at most, for the sake of memory."""


def prefetch(world: World, store: EventStore, items: Iterable[Item]) -> None:
    """Load the licences, reservations and customers that commands name and memory lacks."""
    licenses: dict[str, None] = {}
    reservations: dict[str, None] = {}
    customers: dict[str, None] = {}
    for item in items:
        command = item.command
        for field, wanted, known in (
            ("license", licenses, world.licenses),
            ("reservation", reservations, world.reservations),
            ("customer", customers, world.balances),
        ):
            name = getattr(command, field, None)
            if name is not None and name not in known:
                wanted[name] = None
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
