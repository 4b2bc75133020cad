"""Catching up: what other writers have appended is applied to what this process has in memory.

What concerns nothing in memory is not even decoded. A customer whom only others write to by now,
as after a stream's partitions have moved, is let go of.
"""

from application.ports import EventStore
from application.world import World

CHUNK = 2_000
BEHIND_MAX = 100_000
"""Further behind than this, forgetting everything and loading again is faster."""

UNASKED_MAX = 1_000
"""After so many events of others a balance that nobody asked for here costs as much to keep up as
it would to load again. A transaction of the stream has no more of them, so that one alone does not
part a customer from who admits their inferences."""


def catch_up(world: World, store: EventStore) -> None:
    """Apply what other writers have appended since the world's position, as far as it matters."""
    first = True
    while True:
        stood = world.position
        for recorded in store.since(stood, CHUNK, world.concerns):
            world.apply(recorded)
        _let_go(world)
        if world.position - stood < CHUNK:  # positions have no gaps
            world.trim()
            return
        if first and store.head().position - world.position > BEHIND_MAX:
            world.reset()
            return
        first = False


def _let_go(world: World) -> None:
    """Forget the balances that only others have use for."""
    for customer in [name for name, events in world.unasked.items() if events > UNASKED_MAX]:
        del world.unasked[customer]
        world.balances.pop(customer, None)
