"""Loading: aggregates folded from their streams, as of a position."""

from collections.abc import Iterable, Sequence

from application.ports import EventStore, Fact
from domain import license, parking, pricebook, registry, reservation, screening
from domain.balance import Balance
from domain.folding import evolve
from domain.license import License
from domain.license_events import LimitsIssued, PolicyPublished
from domain.license_folding import after_issues
from domain.license_life import Template
from domain.parking import ParkedUsage
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
    balances = dict.fromkeys(customers, Balance())
    for name, snapshot in store.snapshots(customers).items():
        if snapshot.position <= position:
            balances[name] = snapshot.balance
    wanted = [(name, balance.sequence) for name, balance in balances.items()]
    for start in range(0, len(wanted), CUSTOMERS_AT_ONCE):
        some = wanted[start : start + CUSTOMERS_AT_ONCE]
        _fold(balances, store.customers_facts(some, position))
    return balances


def _fold(balances: dict[str, Balance], facts: Iterable[Fact]) -> None:
    """Fold events into the balances of their customers; issues that follow one another at once."""
    issued: dict[str, tuple[list[LimitsIssued], int]] = {}
    for customer, event, at in facts:
        if type(event) is LimitsIssued:
            waiting = issued[customer][0] if customer in issued else []
            waiting.append(event)
            issued[customer] = waiting, at
            continue
        if customer in issued:
            balances[customer] = after_issues(balances[customer], *issued.pop(customer))
        balances[customer] = evolve(balances[customer], event, at)
    for customer, issues in issued.items():
        balances[customer] = after_issues(balances[customer], *issues)


def load_reservation(store: EventStore, name: str, position: int) -> Reservation | None:
    """Fold a reservation's stream up to a position."""
    state: Reservation | None = None
    for recorded in store.stream_events(f"reservation-{name}", position):
        state = reservation.evolve(state, recorded.event, recorded.recorded_at, recorded.command)
    return state


def load_reservations(
    store: EventStore, names: Sequence[str], position: int
) -> dict[str, Reservation]:
    """Fold the streams of many reservations at once; those that there are not are left out."""
    states: dict[str, Reservation] = {}
    streams = [f"reservation-{name}" for name in names]
    for recorded in store.streams_events(streams, position):
        name = recorded.stream.removeprefix("reservation-")
        at, command = recorded.recorded_at, recorded.command
        state = reservation.evolve(states.get(name), recorded.event, at, command)
        if state is not None:
            states[name] = state
    return states


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
