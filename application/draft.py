"""The draft: a batch's changes over the world, while it is decided and until it is committed.

The world advances by a draft when the batch is sent, so that the next one can be decided meanwhile;
if the batch was not committed, the world goes back to the position before it.
"""

from collections.abc import Sequence
from typing import Any

from application.world import World
from domain.balance import Balance
from domain.license import License
from domain.license_life import Template
from domain.parking import ParkedUsage
from domain.pipeline import Pipeline, StagesHeld
from domain.pricebook import PriceBook
from domain.registry import Model
from domain.reservation import Reservation
from domain.screening import ExportList


class Draft:
    """A batch's view of the world: its own changes first, then what is committed."""

    def __init__(self, world: World) -> None:
        """Start without changes."""
        self._world = world
        self.balances: dict[str, Balance] = {}
        self.reservations: dict[str, Reservation | None] = {}
        self.books: dict[str, PriceBook] = {}
        self.parked: dict[str, ParkedUsage] = {}
        self.models: dict[str, Model] = {}
        self.exports: ExportList | None = None
        self.pipelines: dict[str, Pipeline] = {}
        self.held_stages: dict[str, StagesHeld] = {}
        self.licenses: dict[str, License] = {}
        self.templates: dict[str, Template] = {}
        self.position = world.position
        self.recorded_at = world.recorded_at
        self.ledger_version = world.ledger_version

    def balance(self, customer: str) -> Balance:
        """Return the balance as this batch has left it."""
        found = self.balances.get(customer)
        return self._world.balance(customer) if found is None else found

    def reservation(self, name: str) -> Reservation | None:
        """Return the reservation as this batch has left it."""
        found = self.reservations.get(name)
        return self._world.reservation(name) if found is None else found

    def reservation_in_memory(self, name: str) -> Reservation | None:
        """Return a reservation if it is in memory; never asks the store."""
        return self.reservations.get(name) or self._world.reservations.get(name)

    def copy(self) -> "Draft":
        """Return a draft that can be gone back to when a group of commands fails."""
        other = Draft(self._world)
        other.balances = self.balances.copy()
        other.reservations = self.reservations.copy()
        other.books = self.books.copy()
        other.parked = self.parked.copy()
        other.models, other.exports = self.models.copy(), self.exports
        other.pipelines, other.held_stages = self.pipelines.copy(), self.held_stages.copy()
        other.licenses, other.templates = self.licenses.copy(), self.templates.copy()
        other.position, other.recorded_at = self.position, self.recorded_at
        other.ledger_version = self.ledger_version
        return other

    def book(self, name: str) -> PriceBook:
        """Return the price book as this batch has left it."""
        found = self.books.get(name)
        return self._world.book(name) if found is None else found

    def parked_usage(self, name: str) -> ParkedUsage | None:
        """Return the parked usage record as this batch has left it."""
        found = self.parked.get(name)
        return self._world.parked_usage(name) if found is None else found

    def model(self, name: str) -> Model:
        """Return the model as this batch has left it."""
        found = self.models.get(name)
        return self._world.model(name) if found is None else found

    def pipeline(self, name: str) -> Pipeline:
        """Return the pipeline as this batch has left it."""
        found = self.pipelines.get(name)
        return self._world.pipeline(name) if found is None else found

    def stages(self, name: str) -> StagesHeld | None:
        """Return what binds the stages of a run, as this batch has left it, or None."""
        found = self.held_stages.get(name)
        return self._world.stages(name) if found is None else found

    def stages_in_memory(self, name: str) -> StagesHeld | None:
        """Return what binds the stages of a run if it is in memory; never asks the store."""
        return self.held_stages.get(name) or self._world.held_stages.get(name)

    def export_list(self) -> ExportList:
        """Return the export list as this batch has left it."""
        return self._world.export_list() if self.exports is None else self.exports

    def license(self, name: str) -> License | None:
        """Return the licence as this batch has left it, or None when there is none by that id."""
        found = self.licenses.get(name)
        return self._world.license(name) if found is None else found

    def template(self, name: str) -> Template | None:
        """Return the newest version of a policy template, or None when there is none."""
        found = self.templates.get(name)
        return self._world.template(name) if found is None else found

    def advance(self) -> "Undo":
        """Make this batch's changes the state that the next batch is decided on.

        Returns what takes them back, should the batch turn out not to be committed.
        """
        world = self._world
        # First, so that what this batch changes stays in memory until it is committed: nothing
        # else knows of it before.
        world.trim()
        undo = Undo(world, self._changes())
        for known, changed in self._changes():
            known.update(changed)
        if self.exports is not None:
            world.exports = self.exports
        world.position, world.recorded_at = self.position, self.recorded_at
        world.ledger_version = self.ledger_version
        undo.mark()
        return undo

    def _changes(self) -> "Changes":
        """Return what the world has of each kind, and what this batch has changed of it."""
        world = self._world
        return (
            (world.balances, self.balances),
            (world.reservations, self.reservations),
            (world.books, self.books),
            (world.parked, self.parked),
            (world.models, self.models),
            (world.pipelines, self.pipelines),
            (world.held_stages, self.held_stages),
            (world.licenses, self.licenses),
            (world.templates, self.templates),
        )


Changes = Sequence[tuple[dict[str, Any], dict[str, Any]]]
"""Of each kind of aggregate, all that is in memory, and some that replace theirs."""

_NOTHING = object()


class Undo:
    """The way back to the position before a batch that was not committed."""

    def __init__(self, world: World, changes: Changes) -> None:
        """Remember where the world stands, and what the batch is about to change."""
        self._world = world
        self._marks = world.position, world.recorded_at, world.ledger_version
        self._exports = world.exports
        self._before = [
            (known, {name: known.get(name, _NOTHING) for name in changed})
            for known, changed in changes
        ]
        self._lengths: list[int] = []
        balances = self._before[0][1]
        self.sequences = {
            name: 0 if before is _NOTHING else before.sequence for name, before in balances.items()
        }
        """Each concerned customer's number of events before the batch."""

    def mark(self) -> None:
        """Remember how much is in memory once the changes are made: what is loaded comes after."""
        self._lengths = [len(known) for known, _ in self._before]

    def take_back(self) -> None:
        """Stand at the old position again, with the state that the batch had changed.

        What was loaded since may hold other writers' events, so it is forgotten. It stands at the
        end of its dictionary, for nothing is taken out of memory while a batch is under way.
        """
        world = self._world
        for (known, before), length in zip(self._before, self._lengths, strict=True):
            while len(known) > length:
                known.popitem()
            for name, value in before.items():
                if value is _NOTHING:
                    del known[name]
                else:
                    known[name] = value
        world.exports = self._exports
        world.position, world.recorded_at, world.ledger_version = self._marks
