"""The state in memory: aggregates as of one position, which may be forgotten at any time.

Memory is only a cache of a position. The changes of a batch that is being decided lie over it, in
`application.draft`. Nobody is answered, and nothing is read, from here before the commit.
"""

from itertools import islice
from typing import Any

from tollbook.errors import Unavailable

from application.loading import (
    load_balance,
    load_book,
    load_export_list,
    load_license,
    load_model,
    load_parked,
    load_pipeline,
    load_reservation,
    load_stages,
    load_template,
)
from application.moments import Moments
from application.ports import EventStore
from domain import pricebook, registry, reservation, screening
from domain.balance import Balance
from domain.event import Event, Recorded
from domain.events import OF_RESERVATION, MinReaderRaised, PricesPublished
from domain.folding import evolve
from domain.license import License
from domain.license_events import OF_LICENSE, PolicyPublished
from domain.license_life import Template
from domain.parking import ParkedUsage
from domain.pipeline import Pipeline, StagesHeld
from domain.pipeline_events import OF_PIPELINES
from domain.pricebook import PriceBook
from domain.registry import Model
from domain.registry_events import OF_MODEL, ExportListPublished
from domain.reservation import Reservation
from domain.screening import ExportList
from domain.usage_events import UsageParked, UsageReleased

READER = 1
"""The newest event generation this code can read; see the event `min_reader_raised`."""

BALANCES_MAX = 50_000
RESERVATIONS_MAX = 50_000
PARKED_MAX = 5_000
MODELS_MAX = 5_000
PIPELINES_MAX = 5_000
STAGES_MAX = 20_000
LICENSES_MAX = 50_000
"""How many aggregates stay in memory; the rest is loaded again when needed."""


class World:
    """Aggregates as of `position`, loaded when they are first needed."""

    def __init__(self, store: EventStore, ahead: EventStore | None = None) -> None:
        """Start empty at the store's head; `ahead` is the store to load much at once from."""
        self._store = store
        self.ahead = store if ahead is None else ahead
        self.moments = Moments(store)
        self.position = 0
        self.recorded_at = 0
        self.balances: dict[str, Balance] = {}
        self.unasked: dict[str, int] = {}
        """How many events of other writers balances took since they were last asked for here."""
        self.reservations: dict[str, Reservation | None] = {}
        self.books: dict[str, PriceBook] = {}
        self.parked: dict[str, ParkedUsage] = {}
        self.models: dict[str, Model] = {}
        self.exports: ExportList | None = None
        self.pipelines: dict[str, Pipeline] = {}
        self.held_stages: dict[str, StagesHeld] = {}
        self.licenses: dict[str, License] = {}
        self.templates: dict[str, Template] = {}
        self.ledger_version = 0
        self.unseen = 0
        """How many aggregates were loaded ahead since the garbage collector looked at them."""
        self.reset()

    def reset(self) -> None:
        """Forget everything and stand at the store's head."""
        head = self._store.head()
        self.position, self.recorded_at = head.position, head.recorded_at
        self.forget()
        self.ledger_version = 0
        for recorded in self._store.stream_events("ledger-0", self.position):
            self.ledger_version = recorded.stream_version
            check_reader(recorded.event)

    def forget(self) -> None:
        """Let go of every aggregate; each is loaded again when it is needed."""
        self.balances.clear()
        self.unasked.clear()
        self.reservations.clear()
        self.books.clear()
        self.parked.clear()
        self.models.clear()
        self.pipelines.clear()
        self.held_stages.clear()
        self.licenses.clear()
        self.templates.clear()
        self.exports = None

    def balance(self, customer: str) -> Balance:
        """Return a customer's balance; an unknown customer has an empty one."""
        found = self.balances.get(customer)
        if self.unasked:
            self.unasked.pop(customer, None)
        if found is None:
            found = load_balance(self._store, customer, self.position)
            self.balances[customer] = found
        return found

    def reservation(self, name: str) -> Reservation | None:
        """Return a reservation, or None when there is none by that id."""
        if name in self.reservations:
            return self.reservations[name]
        found = load_reservation(self._store, name, self.position)
        self.reservations[name] = found  # that there is none, too: many ask whether an id is free
        return found

    def book(self, name: str) -> PriceBook:
        """Return a price book; an unknown one has no versions."""
        found = self.books.get(name)
        if found is None:
            found = load_book(self._store, name, self.position)
            self.books[name] = found
        return found

    def parked_usage(self, name: str) -> ParkedUsage | None:
        """Return a parked usage record, or None when there is none by that id."""
        found = self.parked.get(name)
        if found is None:
            found = load_parked(self._store, name, self.position)
            if found is not None:
                self.parked[name] = found
        return found

    def model(self, name: str) -> Model:
        """Return a model of the registry; one that nobody has registered has no versions."""
        found = self.models.get(name)
        if found is None:
            found = self.models[name] = load_model(self._store, name, self.position)
        return found

    def pipeline(self, name: str) -> Pipeline:
        """Return a pipeline as it was published last; one that nobody has published is empty."""
        found = self.pipelines.get(name)
        if found is None:
            found = self.pipelines[name] = load_pipeline(self._store, name, self.position)
        return found

    def stages(self, name: str) -> StagesHeld | None:
        """Return what binds the stages of a run, or None when there is none by that id."""
        found = self.held_stages.get(name)
        if found is None:
            found = load_stages(self._store, name, self.position)
            if found is not None:
                self.held_stages[name] = found
        return found

    def export_list(self) -> ExportList:
        """Return the export list in force."""
        if self.exports is None:
            self.exports = load_export_list(self._store, self.position)
        return self.exports

    def license(self, name: str) -> License | None:
        """Return a licence, or None when there is none by that id."""
        found = self.licenses.get(name)
        if found is None:
            found = load_license(self._store, name, self.position)
            if found is not None:
                self.licenses[name] = found
        return found

    def template(self, name: str) -> Template | None:
        """Return the newest version of a policy template, or None when there is none."""
        found = self.templates.get(name)
        if found is None:
            found = load_template(self._store, name, self.position)
            if found is not None:
                self.templates[name] = found
        return found

    def concerns(self, stream: str, customer: str | None) -> bool:
        """Say whether an event of another writer may change what is in memory.

        One of a reservation changes that, and the balance of its customer, and nothing else.
        """
        if not stream.startswith(OF_RESERVATION):
            return True
        return customer in self.balances or stream[len(OF_RESERVATION) :] in self.reservations

    def apply(self, recorded: Recorded) -> None:
        """Apply an event that another writer appended, to what is in memory."""
        event = recorded.event
        check_reader(event)
        if recorded.customer is not None:
            balance = self.balances.get(recorded.customer)
            if balance is not None and recorded.customer_sequence == balance.sequence + 1:
                self.balances[recorded.customer] = evolve(balance, event, recorded.recorded_at)
                self.unasked[recorded.customer] = self.unasked.get(recorded.customer, 0) + 1
        name: str | None = getattr(event, "reservation", None)
        if name is not None:
            self._apply_to_reservation(name, recorded)
        if isinstance(event, PricesPublished):
            book = self.books.get(event.book)
            if book is not None and event.version == len(book.versions) + 1:
                self.books[event.book] = pricebook.evolve(book, event)
        if isinstance(event, MinReaderRaised):
            self.ledger_version = recorded.stream_version
        if isinstance(event, UsageParked | UsageReleased):
            self.parked.pop(event.parked, None)  # seldom met again: loaded when it is
        if isinstance(event, OF_MODEL):
            model = self.models.get(event.model)
            if model is not None and recorded.stream_version == model.version + 1:
                self.models[event.model] = registry.evolve(model, event, recorded.recorded_at)
        if isinstance(event, OF_PIPELINES):
            self.pipelines.pop(event.pipeline, None)
            self.held_stages.pop(getattr(event, "reserved", ""), None)
        if isinstance(event, OF_LICENSE):
            self.licenses.pop(event.license, None)  # seldom changed: loaded when it is needed
        if isinstance(event, PolicyPublished):
            self.templates.pop(event.name, None)
        if isinstance(event, ExportListPublished) and self.exports is not None:
            self.exports = screening.evolve(self.exports, event)
        self.position = recorded.position
        self.recorded_at = max(self.recorded_at, recorded.recorded_at)

    def _apply_to_reservation(self, name: str, recorded: Recorded) -> None:
        """Apply an event to a reservation in memory, unless it was loaded with it already."""
        known = self.reservations.get(name)
        version = 0 if known is None else known.version
        if recorded.stream_version == version + 1:
            self.reservations[name] = reservation.evolve(
                known, recorded.event, recorded.recorded_at, recorded.command
            )

    def trim(self) -> None:
        """Let go of the aggregates that were put in longest ago, when there are too many."""
        _trim(self.balances, BALANCES_MAX)
        _trim(self.unasked, BALANCES_MAX)
        _trim(self.reservations, RESERVATIONS_MAX)
        _trim(self.parked, PARKED_MAX)
        _trim(self.models, MODELS_MAX)
        _trim(self.pipelines, PIPELINES_MAX)
        _trim(self.held_stages, STAGES_MAX)
        _trim(self.licenses, LICENSES_MAX)


def _trim(cache: dict[str, Any], most: int) -> None:
    if len(cache) > most:
        for key in list(islice(cache, len(cache) - most * 9 // 10)):
            del cache[key]


def check_reader(event: Event) -> None:
    """Stop code that is too old for what may be written from this event on."""
    if isinstance(event, MinReaderRaised) and event.reader > READER:
        raise Unavailable(
            f"the ledger needs a program that reads generation {event.reader}; "
            f"this one reads {READER}: upgrade it",
            reader=event.reader,
        )
