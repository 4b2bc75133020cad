"""Audit: one pass over every stored event that believes nothing that it can compute itself.

Leaf hashes and the Merkle root are computed from the stored bytes; every charge and balance by
`tollbook.recompute`, which knows nothing of this program; the state by this program's own fold.
What two of them disagree on, or what the tables beside the log contradict, is a difference.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from tollbook.merkle import Frontier

from application.auditing_ids import AuditedIds, Entry, IdReader
from application.expecting import Expectation, ExpectedRoots
from application.findings import Difference, Findings
from application.folded import FoldedLedger, state_hash
from application.ports import Head
from application.replaying import Progress
from domain.balance import Balance
from domain.event import Recorded
from domain.state import balance_to_wire, untouched_since


class StoredSnapshot(NamedTuple):
    """A snapshot as it is stored."""

    customer: str
    sequence: int
    data: str


class AuditReader(IdReader, Protocol):
    """Reads everything that is stored, as of one instant."""

    def head(self) -> Head:
        """Return what the ledger says about its own end."""

    def entries(self) -> Iterator[Sequence[Entry]]:
        """Yield every stored event in order of position, in chunks."""

    def snapshots(self) -> Iterator[StoredSnapshot]:
        """Yield the snapshots that this program would use."""

    def open_doors(self) -> list[tuple[str, str, str]]:
        """Return (what, expected, found) for each guard of the log that is not in its place."""


class Recomputation(Protocol):
    """An independent recomputation, such as `tollbook.recompute.Recomputation`."""

    def add(self, event: tuple[Any, ...], /) -> None:
        """Check one event against everything before it."""

    def finish(self) -> None:
        """Report what had to come next and did not."""

    def customer_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each customer's state."""

    def book_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each price book's state."""

    def export_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the state of the export list, once there is one."""

    def license_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each licence's state."""

    def policy_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each published template's state."""

    def model_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each registered model's state."""

    def reservation_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each open reservation's state."""

    def pipeline_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each published pipeline's state."""

    def stages_states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the state of what binds open stages."""


Shown = Callable[[], Iterable[tuple[int, str, object, object]]]
"""Yields (position, what, expected, found) where the read models do not follow from the log."""

Recompute = Callable[[Callable[[Any], None]], Recomputation]
"""Makes a recomputation that reports (position, what, expected, found) to a function."""


class AuditReport(NamedTuple):
    """What an audit found."""

    ok: bool
    position: int
    root: str
    state_hash: str
    events: int
    customers: int
    differences: tuple[Difference, ...]
    differences_total: int

    def document(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        listed = [difference._asdict() for difference in self.differences]
        return {**self._asdict(), "differences": listed}


def verify(
    reader: AuditReader,
    recompute: Recompute,
    expected: Sequence[Expectation] = (),
    progress: Progress | None = None,
    shown: Shown | None = None,
) -> AuditReport:
    """Check everything that a ledger has stored, against itself and against expected roots."""
    audit = _Audit(reader, recompute, expected)
    for chunk in reader.entries():
        audit.examine(chunk)
        if progress is not None:
            progress(len(chunk))
    return audit.report(shown or tuple)


class _Audit:
    """One audit under way."""

    def __init__(
        self, reader: AuditReader, recompute: Recompute, expected: Sequence[Expectation]
    ) -> None:
        self._reader = reader
        self._findings = Findings()
        self._recomputation = recompute(self._findings.add)
        self._ledger = FoldedLedger()
        self._roots = ExpectedRoots(expected, Frontier(), self._findings)
        self._snapshot_at = {each.customer: each.sequence for each in reader.snapshots()}
        self._reached: dict[str, tuple[Balance, int]] = {}
        self._events = self._position = self._recorded_at = 0
        self._ids = AuditedIds(reader, self._findings)

    def examine(self, chunk: Sequence[Entry]) -> None:
        """Check a chunk of events, each by itself and against everything before it."""
        for entry in chunk:
            self._examine(entry)
        self._ids.examine(chunk)

    def _examine(self, entry: Entry) -> None:
        position = entry.row[0]
        self._roots.add(position, entry.leaf)
        if entry.leaf != entry.stored_leaf:
            self._findings.note(position, "leaf", entry.leaf.hex(), entry.stored_leaf.hex())
        if entry.problem is not None:
            self._findings.note(position, "data", "the canonical form", entry.problem)
        self._recomputation.add(entry.row)
        if entry.event is not None:
            self._fold(Recorded._make((*entry.row[:13], entry.event)))
        self._events += 1
        self._position, self._recorded_at = position, entry.row[12]

    def _fold(self, recorded: Recorded) -> None:
        """Apply an event; an event that makes no sense may make the fold fail."""
        try:
            self._ledger.apply(recorded)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            self._findings.note(recorded.position, "fold", "an event that applies", repr(error))
            return
        customer = recorded.customer
        if customer is not None and customer in self._snapshot_at:
            balance = self._ledger.balances[customer]
            if balance.sequence == self._snapshot_at[customer]:
                self._reached[customer] = balance, recorded.position

    def report(self, shown: Shown) -> AuditReport:
        """Check what can only be checked at the end, and sum up."""
        root = self._roots.finish(self._position)
        self._recomputation.finish()
        self._check_head()
        self._ids.finish(self._position)
        self._check_states()
        self._check_snapshots()
        for what, expected, found in self._reader.open_doors():
            self._findings.note(self._position, what, expected, found)
        for difference in shown():
            self._findings.note(*difference)
        findings = self._findings
        return AuditReport(
            ok=findings.total == 0,
            position=self._position,
            root=root.hex(),
            state_hash=state_hash(self._ledger),
            events=self._events,
            customers=len(self._ledger.balances),
            differences=tuple(findings.listed),
            differences_total=findings.total,
        )

    def _check_head(self) -> None:
        head = self._reader.head()
        if head.position != self._position:
            self._findings.note(self._position, "head: position", self._position, head.position)
        if head.recorded_at != self._recorded_at:
            self._findings.note(
                self._position, "head: recorded_at", self._recorded_at, head.recorded_at
            )

    def _check_states(self) -> None:
        """Compare this program's fold with the recomputation, name by name."""
        ledger, other = self._ledger, self._recomputation
        pairs = (
            ("customer", other.customer_states(), ledger.customer_states()),
            ("price book", other.book_states(), ledger.book_states()),
            ("export list", other.export_states(), ledger.export_states()),
            ("model", other.model_states(), ledger.model_states()),
            ("policy", other.policy_states(), ledger.policy_states()),
            ("license", other.license_states(), ledger.license_states()),
            ("reservation", other.reservation_states(), ledger.reservation_states()),
            ("pipeline", other.pipeline_states(), ledger.pipeline_states()),
            ("stages", other.stages_states(), ledger.stages_states()),
        )
        for kind, expected, found in pairs:
            for name, one, another in _paired(expected, found):
                self._findings.compare(self._position, f"{kind} {name}", one, another)

    def _check_snapshots(self) -> None:
        """Compare each snapshot with the fold as it stood at the snapshot's event."""
        for snapshot in self._reader.snapshots():
            what = f"snapshot of {snapshot.customer}"
            balance, position = self._reached.get(snapshot.customer, (None, self._position))
            if balance is None:
                self._findings.note(position, what, "an event", f"number {snapshot.sequence}")
                continue
            try:
                stored = json.loads(snapshot.data)
                taken_at, wire = stored["position"], dict(stored["balance"])
                opened = dict(stored.get("opened", {}))
            except (ValueError, LookupError, TypeError) as error:
                self._findings.note(position, what, "a snapshot", repr(error))
                continue
            self._findings.compare(position, what, balance_to_wire(balance), wire)
            since = untouched_since(balance)
            for name, at in opened.items():
                if type(at) is not int or at != since.get(name):  # false is 0 to Python
                    self._findings.note(position, f"{what}: opened: {name}", since.get(name), at)
            if type(taken_at) is not int or not position <= taken_at <= self._position:
                self._findings.note(position, f"{what}: position", position, taken_at)


States = Iterator[tuple[str, dict[str, Any]]]


def _paired(ones: States, others: States) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the states of both sides by name; who is on one side only has an empty other one."""
    one, other = next(ones, None), next(others, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield *one, {}
            one = next(ones, None)
        elif one is None or other[0] < one[0]:
            yield other[0], {}, other[1]
            other = next(others, None)
        else:
            yield *one, other[1]
            one, other = next(ones, None), next(others, None)
