"""The folded ledger: the state that a ledger's events come to, as lines of the state format.

Nothing here looks at snapshots, at the clock or at anything else than the events, so the same
events give the same lines on every machine (docs/formats/state.md).
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from tollbook import canonical

from domain import license, pipeline, pricebook, registry, reservation, screening
from domain.balance import Balance
from domain.event import Event, Recorded
from domain.events import MinReaderRaised, PricesPublished, ReservationReleased, ReservationSettled
from domain.folding import evolve
from domain.license import License
from domain.license_events import OF_LICENSE, PolicyPublished
from domain.license_life import Template
from domain.license_state import license_to_wire, template_to_wire
from domain.pipeline import Pipeline, StagesHeld, pipeline_to_wire, stages_to_wire
from domain.pipeline_events import OF_STAGES, PipelinePublished
from domain.pricebook import PriceBook
from domain.registry import Model, model_to_wire
from domain.registry_events import OF_MODEL, ExportListPublished
from domain.reservation import Reservation
from domain.screening import ExportList, export_list_to_wire
from domain.stages import stage_id, whole_of
from domain.state import balance_to_wire, book_to_wire, reservation_to_wire

STATE_FORMAT = "tollbook/state/5"

STATE_LINE_BYTES_MAX = 256 * 2**20
"""The longest line of the state format: one customer with all open holds."""

_NOBODY = Balance()


class FoldedLedger:
    """The state of a ledger after some events: balances, open reservations, what all share."""

    def __init__(self) -> None:
        """Start before the first event."""
        self.balances: dict[str, Balance] = {}
        self.reservations: dict[str, Reservation] = {}
        self.books: dict[str, PriceBook] = {}
        self.exports = ExportList()
        self.models: dict[str, Model] = {}
        self.templates: dict[str, Template] = {}
        self.licenses: dict[str, License] = {}
        self.pipelines: dict[str, Pipeline] = {}
        self.stages: dict[str, StagesHeld] = {}
        """What binds the stages of each run of which one has no outcome yet."""
        self.min_reader = 0
        self.position = 0
        self.recorded_at = 0

    def apply(self, recorded: Recorded) -> None:
        """Apply one recorded event; what is closed is forgotten."""
        self.fold(recorded.event, recorded.customer, recorded.command, recorded.recorded_at)
        self.position = recorded.position
        self.recorded_at = recorded.recorded_at

    def fold(self, event: Event, customer: str | None, command: str, at: int) -> None:
        """Apply an event to what it concerns."""
        if customer is not None:
            self.balances[customer] = evolve(self.balances.get(customer, _NOBODY), event, at)
            name: str | None = getattr(event, "reservation", None)
            if name is not None:
                self._fold_reservation(name, event, at, command)
            if isinstance(event, OF_LICENSE):
                self._fold_license(event, at)
            if isinstance(event, OF_STAGES):
                self._fold_stages(event.reserved, event)
        else:
            self._fold_of_ledger(event, at)

    def _fold_license(self, event: Any, at: int) -> None:
        state = license.evolve(self.licenses.get(event.license), event, at)
        if state is not None:
            self.licenses[event.license] = state

    def _fold_of_ledger(self, event: Event, at: int) -> None:
        if isinstance(event, PricesPublished):
            book = self.books.get(event.book) or PriceBook(event.book)
            self.books[event.book] = pricebook.evolve(book, event)
        elif isinstance(event, OF_MODEL):
            model = self.models.get(event.model) or registry.unregistered(event.model)
            self.models[event.model] = registry.evolve(model, event, at)
        elif isinstance(event, PolicyPublished):
            self.templates[event.name] = Template(event.name, event.version, event.policy)
        elif isinstance(event, PipelinePublished):
            known = self.pipelines.get(event.pipeline) or pipeline.unpublished(event.pipeline)
            self.pipelines[event.pipeline] = pipeline.evolve(known, event)
        elif isinstance(event, ExportListPublished):
            self.exports = screening.evolve(self.exports, event)
        elif isinstance(event, MinReaderRaised):
            self.min_reader = max(self.min_reader, event.reader)

    def _fold_reservation(self, name: str, event: Event, at: int, command: str) -> None:
        known = self.reservations.pop(name, None)
        closes = isinstance(event, ReservationReleased) or (
            isinstance(event, ReservationSettled) and event.final
        )
        if not closes:
            state = reservation.evolve(known, event, at, command)
            if state is not None:
                self.reservations[name] = state
        elif self.stages:
            self._forget_stages(whole_of(name))

    def _fold_stages(self, name: str, event: Event) -> None:
        state = pipeline.stages_after(self.stages.get(name), event)
        if state is not None:
            self.stages[name] = state
            self._forget_stages(name)

    def _forget_stages(self, name: str) -> None:
        """Forget what binds the stages of a run once each of them has its outcome."""
        held = self.stages.get(name)
        if held is None:
            return
        if not any(stage_id(name, stage) in self.reservations for stage in held.stages):
            del self.stages[name]

    def customer_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each customer's state as docs/formats/state.md writes it, in order of id."""
        for name in sorted(self.balances):
            yield name, balance_to_wire(self.balances[name])

    def book_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each price book as docs/formats/state.md writes it, in order of id."""
        for name in sorted(self.books):
            yield name, book_to_wire(self.books[name])

    def export_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the export list as docs/formats/state.md writes it, once there is one."""
        if self.exports.version:
            yield "0", export_list_to_wire(self.exports)

    def model_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each registered model as docs/formats/state.md writes it, in order of name."""
        for name in sorted(self.models):
            yield name, model_to_wire(self.models[name])

    def policy_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each published template as docs/formats/state.md writes it, in order of name."""
        for name in sorted(self.templates):
            yield name, template_to_wire(self.templates[name])

    def pipeline_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each pipeline as docs/formats/state.md writes it, in order of name."""
        for name in sorted(self.pipelines):
            yield name, pipeline_to_wire(self.pipelines[name])

    def stages_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what binds open stages as docs/formats/state.md writes it, in order of id."""
        for name in sorted(self.stages):
            yield name, stages_to_wire(self.stages[name])

    def license_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each licence as docs/formats/state.md writes it, in order of id."""
        for name in sorted(self.licenses):
            yield name, license_to_wire(self.licenses[name])

    def reservation_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each open reservation as docs/formats/state.md writes it, in order of id."""
        for name in sorted(self.reservations):
            yield name, reservation_to_wire(self.reservations[name])


def state_lines(ledger: FoldedLedger) -> Iterator[bytes]:
    """Yield the lines of the state format, each canonical JSON and a newline."""
    yield head_line(ledger.position, ledger.min_reader)
    of_all = (*book_lines(ledger), *catalogue_lines(ledger))
    of_customers = (*customer_lines(ledger), *license_lines(ledger), *reservation_lines(ledger))
    for _, line in (*of_all, *of_customers, *stages_lines(ledger)):
        yield line


Lines = Iterator[tuple[str, bytes]]
"""(id, line), each kind in order of id."""


def head_line(position: int, min_reader: int) -> bytes:
    """Return the first line: format, position, and the oldest program that may decide."""
    return _line([STATE_FORMAT, position, min_reader])


def book_lines(ledger: FoldedLedger) -> Lines:
    """Yield the lines of the price books."""
    return _lines("book", ledger.book_states())


def catalogue_lines(ledger: FoldedLedger) -> Lines:
    """Yield the lines of what else belongs to no customer: export list, models, and so on."""
    yield from _lines("export_list", ledger.export_states())
    yield from _lines("model", ledger.model_states())
    yield from _lines("pipeline", ledger.pipeline_states())
    yield from _lines("policy", ledger.policy_states())


def customer_lines(ledger: FoldedLedger) -> Lines:
    """Yield the lines of the customers."""
    return _lines("customer", ledger.customer_states())


def license_lines(ledger: FoldedLedger) -> Lines:
    """Yield the lines of the licences."""
    return _lines("license", ledger.license_states())


def reservation_lines(ledger: FoldedLedger) -> Lines:
    """Yield the lines of the open reservations."""
    return _lines("reservation", ledger.reservation_states())


def stages_lines(ledger: FoldedLedger) -> Lines:
    """Yield the lines of what binds the stages of pipelines."""
    return _lines("stages", ledger.stages_states())


def _lines(kind: str, states: Iterable[tuple[str, dict[str, Any]]]) -> Lines:
    for name, state in states:
        yield name, _line([kind, name, state])


def _line(value: list[Any]) -> bytes:
    return canonical.dumps(value, max_bytes=STATE_LINE_BYTES_MAX) + b"\n"


def state_hash(ledger: FoldedLedger) -> str:
    """Return the SHA-256 over the state format, in hex."""
    return hash_lines(state_lines(ledger))


def hash_lines(lines: Iterable[bytes]) -> str:
    """Return the SHA-256 over lines of the state format, in hex."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest()
