"""Loading: aggregates folded from their streams, as of a position."""

from collections.abc import Iterable, Sequence

from application.ports import EventStore, Fact
from domain import license, parking, pipeline, pricebook, registry, reservation, screening
from domain.balance import Balance
from domain.events import OF_RESERVATION
from domain.folding import evolve
from domain.license import License
from domain.license_events import LimitsIssued, PolicyPublished
from domain.license_folding import after_issues
from domain.license_life import Template
from domain.parking import ParkedUsage
from domain.pipeline import Pipeline, StagesHeld
from domain.pipeline_events import PipelinePublished
from domain.pricebook import PriceBook
from domain.registry import Model
from domain.reservation import Reservation
from domain.screening import ExportList
from domain.tiers import TEMPLATES

CUSTOMERS_AT_ONCE = 64
"""So few that their events since their snapshots fit into memory easily."""


def load_balance(store: EventStore, customer: str, position: int) -> Balance:
    """Fold a customer's events up to a position, from the newest usable snapshot on."""
    balance = Balance()
    snapshot = store.snapshot(customer)
    if snapshot is not None and snapshot.position <= position:
        balance = snapshot.balance
    for recorded in store.customer_events(customer, balance.sequence, position):
        balance = evolve(balance, recorded.event, recorded.recorded_at)
    return balance


def load_balances(store: EventStore, customers: Sequence[str], position: int) -> dict[str, Balance]:
    """Fold the events of many customers at once; unknown ones have empty balances."""
    balances: dict[str, Balance] = {}
    for start in range(0, len(customers), CUSTOMERS_AT_ONCE):
        some = customers[start : start + CUSTOMERS_AT_ONCE]
        histories = store.histories(some, position)
        for name in some:
            history = histories.get(name)
            balances[name] = (
                load_balance(store, name, position) if history is None else _folded(*history)
            )
    return balances


def _folded(balance: Balance, facts: Iterable[Fact]) -> Balance:
    """Fold events into a balance; issues that follow one another at once."""
    issued: list[LimitsIssued] = []
    last = 0
    for event, at in facts:
        if type(event) is LimitsIssued:
            issued.append(event)
            last = at
            continue
        if issued:
            balance = after_issues(balance, issued, last)
            issued = []
        balance = evolve(balance, event, at)
    return after_issues(balance, issued, last) if issued else balance


def load_reservation(store: EventStore, name: str, position: int) -> Reservation | None:
    """Fold a reservation's stream up to a position."""
    state: Reservation | None = None
    for recorded in store.stream_events(OF_RESERVATION + name, position):
        state = reservation.evolve(state, recorded.event, recorded.recorded_at, recorded.command)
    return state


def load_parked(store: EventStore, name: str, position: int) -> ParkedUsage | None:
    """Fold a parked usage record's stream up to a position."""
    state: ParkedUsage | None = None
    for recorded in store.stream_events(f"usage-{name}", position):
        state = parking.evolve(state, recorded.event, recorded.position, recorded.command)
    return state


def load_book(store: EventStore, name: str, position: int) -> PriceBook:
    """Fold a price book's stream up to a position."""
    book = PriceBook(name)
    for recorded in store.stream_events(f"prices-{name}", position):
        book = pricebook.evolve(book, recorded.event)
    return book


def load_model(store: EventStore, name: str, position: int) -> Model:
    """Fold a model's stream up to a position; nobody may have registered it."""
    model = registry.unregistered(name)
    for recorded in store.stream_events(f"model-{name}", position):
        model = registry.evolve(model, recorded.event, recorded.recorded_at)
    return model


def load_pipeline(store: EventStore, name: str, position: int) -> Pipeline:
    """Fold a pipeline's stream up to a position; nobody may have published it."""
    state = pipeline.unpublished(name)
    for recorded in store.stream_events(f"pipeline-{name}", position):
        if isinstance(recorded.event, PipelinePublished):
            state = pipeline.evolve(state, recorded.event)
    return state


def load_stages(store: EventStore, name: str, position: int) -> StagesHeld | None:
    """Fold what binds the stages of a run through a pipeline, up to a position."""
    state: StagesHeld | None = None
    for recorded in store.stream_events(f"stages-{name}", position):
        state = pipeline.stages_after(state, recorded.event)
    return state


def load_runs(store: EventStore, names: Sequence[str], position: int) -> dict[str, StagesHeld]:
    """Fold what binds the stages of many runs at once; those that there are not are left out."""
    states: dict[str, StagesHeld] = {}
    for recorded in store.streams_events([f"stages-{name}" for name in names], position):
        name = recorded.stream.removeprefix("stages-")
        state = pipeline.stages_after(states.get(name), recorded.event)
        if state is not None:
            states[name] = state
    return states


def load_export_list(store: EventStore, position: int) -> ExportList:
    """Fold the export list's stream up to a position."""
    listed = ExportList()
    for recorded in store.stream_events("export-0", position):
        listed = screening.evolve(listed, recorded.event)
    return listed


def load_license(store: EventStore, name: str, position: int) -> License | None:
    """Fold a licence's stream up to a position."""
    state: License | None = None
    for recorded in store.stream_events(f"license-{name}", position):
        state = license.evolve(state, recorded.event, recorded.recorded_at)
    return state


def load_licenses(store: EventStore, names: Sequence[str], position: int) -> dict[str, License]:
    """Fold the streams of many licences at once; those that there are not are left out."""
    states: dict[str, License] = {}
    for recorded in store.streams_events([f"license-{name}" for name in names], position):
        name = recorded.stream.removeprefix("license-")
        state = license.evolve(states.get(name), recorded.event, recorded.recorded_at)
        if state is not None:
            states[name] = state
    return states


def load_template(store: EventStore, name: str, position: int) -> Template | None:
    """Return the newest published version of a policy template, else the one that is built in."""
    built_in = TEMPLATES.get(name)
    found = None if built_in is None else Template(name, 0, built_in)
    for recorded in store.stream_events(f"policy-{name}", position):
        if isinstance(recorded.event, PolicyPublished):
            found = Template(name, recorded.event.version, recorded.event.policy)
    return found
