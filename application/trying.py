"""Trying: what a command would be answered now, with nothing recorded and no id taken."""

from application.answers import Answer
from application.jobs import Item, Job
from application.planning import make_plan
from application.ports import EventStore
from application.world import World
from domain.command import Command


def tried(store: EventStore, command: Command, now: int) -> Answer:
    """Decide a command on the ledger as it stands, by the same rules, and let it go again."""
    job = Job([Item(command)])
    make_plan(World(store), store, {}, lambda: now, [job], careful=True)
    (answer,) = job.answers()
    return answer
