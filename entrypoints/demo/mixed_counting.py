"""What became of each kind of inference: the ledger's account of it, beside the models' own.

A line of a model's log is what the model itself did; it owes nothing to the gateway, to Triton's
counters or to the ledger.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from application.tollbook import Tollbook
from domain.events import ReservationHeld, ReservationReleased, ReservationSettled
from domain.free_inferences import Free
from domain.inferences import apart
from domain.usage_events import UsageParked
from entrypoints.demo.kinds import KINDS, MODELS, Kind, Line, from_the_cache
from entrypoints.gateway.admission import PREFIX

_INFERENCE = f"{PREFIX}_"
"""How the ids of inferences begin, and those of no other holds."""

Charge = tuple[str, tuple[tuple[str, int], ...]]
"""An inference, and what it was charged for."""

Logs = Mapping[str, Sequence[Line]]
"""The lines of each model's own log."""


class Ledgered(NamedTuple):
    """What the ledger has of one kind."""

    charges: list[Charge]
    amount: int
    held: set[str]
    released: set[str]
    parked: set[str]
    free: frozenset[str] = frozenset()
    """What ran for nothing in part of a slice: its gateway notes it, and tells no ledger."""
    in_parts: frozenset[str] = frozenset()
    """What was charged in part of a slice."""

    @property
    def is_ended(self) -> bool:
        """Whether something has become of everything that was held."""
        return self.held <= {id for id, _ in self.charges} | self.released | self.parked


class Counted(NamedTuple):
    """One kind in numbers."""

    kind: Kind
    inferences: int
    """How many were asked for."""
    charged: int
    parked: int
    released: int
    amount: int
    ran: int
    """How many, by the models' own logs, have to be paid for."""
    equal: bool
    """Whether these are the ones that were charged, each once and for what its model counted."""


def ledgered(tollbook: Tollbook, kind: Kind, notes: Sequence[Free] = ()) -> Ledgered:
    """Read what became of one kind, from the ledger's events and a gateway's notes."""
    found = Ledgered([], 0, set(), set(), set())
    amount, in_parts = 0, set[str]()
    position = tollbook.store.head().position
    events = tollbook.store.customer_events(kind.customer, 0, position)
    for recorded in chain.from_iterable(map(apart, events)):
        event = recorded.event
        if isinstance(event, ReservationSettled):
            id = event.record or recorded.command
            found.charges.append((id, _sorted(event.usage)))
            amount += event.charged
            if event.reservation != id:
                in_parts.add(id)
        elif isinstance(event, ReservationHeld) and event.reservation.startswith(_INFERENCE):
            found.held.add(event.reservation)
        elif isinstance(event, ReservationReleased) and event.reservation.startswith(_INFERENCE):
            found.released.add(event.reservation)
        elif isinstance(event, UsageParked):
            found.parked.add(event.record)
    free = frozenset(each.id for each in notes if each.customer == kind.customer)
    return found._replace(amount=amount, free=free, in_parts=frozenset(in_parts))


def read_logs(folder: Path) -> dict[str, list[Line]]:
    """Read the logs of all models; a line stands there before its answer leaves the server."""
    found: dict[str, list[Line]] = {}
    for model in MODELS:
        path = folder / f"{model}.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        found[model] = [json.loads(line) for line in lines]
    return found


def counted(
    ledger: Mapping[Kind, Ledgered],
    logs: Logs,
    inferences: int,
    answered_as: Mapping[str, str],
) -> list[Counted]:
    """Compare each kind's charges with the models' logs; so many were asked for of each."""
    return [_counted(kind, ledger[kind], logs, inferences, answered_as) for kind in ledger]


def unclaimed(ledger: Mapping[Kind, Ledgered], logs: Logs, before: Logs) -> int:
    """Return how many inferences the models ran since an earlier reading that nobody had held."""
    known = {id for each in ledger.values() for id in _known(each)}
    known |= {line["request_id"] for lines in before.values() for line in lines}
    return sum(line["request_id"] not in known for lines in logs.values() for line in lines)


def _known(found: Ledgered) -> set[str]:
    return found.held | found.free | {id for id, _ in found.charges}


def _counted(
    kind: Kind, found: Ledgered, logs: Logs, inferences: int, answered_as: Mapping[str, str]
) -> Counted:
    known = _known(found)
    lines = {
        model: [
            line for line in logs[model] if line["request_id"] in known and line["outcome"] == "ok"
        ]
        for model in kind.ran_by
    }
    paid, *others = lines.values()
    due = [(str(line["request_id"]), _sorted(kind.usage(line))) for line in paid]
    due += _from_the_cache(kind, paid, known, answered_as)
    ids = Counter(id for id, _ in due)
    same_stages = all(Counter(str(line["request_id"]) for line in each) == ids for each in others)
    return Counted(
        kind=kind,
        inferences=inferences,
        charged=len(found.charges),
        parked=len(found.parked),
        released=len(found.released | found.free),
        amount=found.amount,
        ran=len(due),
        equal=same_stages and Counter(due) == Counter(found.charges),
    )


def _from_the_cache(
    kind: Kind, paid: Sequence[Line], known: set[str], answered_as: Mapping[str, str]
) -> list[Charge]:
    """Return what is due for answers that were another one's before; no model ran for these."""
    usages = {str(line["request_id"]): kind.usage(line) for line in paid}
    return [
        (id, _sorted(from_the_cache(usages[original])))
        for id, original in answered_as.items()
        if id != original and id in known and original in usages
    ]


def _sorted(usage: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(usage.items()))


def all_ended(tollbook: Tollbook) -> bool:
    """Say whether something has become of every inference of every kind."""
    return all(ledgered(tollbook, kind).is_ended for kind in KINDS)
