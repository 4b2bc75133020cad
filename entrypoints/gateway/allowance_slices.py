"""Slices as one gateway knows them: what the ledger holds for each, and what was drawn from it.

What a slice is, a gateway reads in the ledger, whoever set it aside: what hands out its places
says no more than which reservation it is and where that is recorded.
"""

import json
import time
from collections import Counter
from typing import Any, NamedTuple, Protocol

from application.license_answers import decision_result
from application.license_tokens import license_at
from domain.command import Command
from domain.events import ReservationHeld
from domain.meters_format import Meter
from domain.slicing import drawn_until, serves_until
from domain.values import SECOND
from entrypoints.gateway.admission import Admitted
from entrypoints.gateway.config import Pool
from entrypoints.http.readers import Reader

LATE_NS = 200_000_000
"""So long after a slice was left, every draw from it has been answered, or never will be."""
EARLY = SECOND // 2
"""So long before a slice ends the next one is set aside; a shorter one is of no use."""

SET_ASIDE = "set_aside_at"
"""Where the ledger has a slice: what is in the line of no inference in the intent log."""
_POSITION = "position"
_ASKED = ("customer", "facts", "license", "license_key", "model")
"""The fields of a reservation that are the question."""


class Terms(NamedTuple):
    """What the ledger says of a slice."""

    held: ReservationHeld
    position: int
    opened_at: int
    serves_until: int
    pool: str
    priority: int

    def answers(self, command: Command) -> bool:
        """Say whether it was set aside for the question of this command."""
        return all(getattr(self.held, name) == getattr(command, name) for name in _ASKED)


def written(position: int) -> str:
    """Write what is told of a slice to who draws from it."""
    return json.dumps({_POSITION: position})


def read(text: str | None) -> int:
    """Return the position that was written; raises ValueError for anything else."""
    found = json.loads(text or "null")
    position = found.get(_POSITION) if isinstance(found, dict) else None
    if type(position) is not int or not 0 < position < 2**63:
        raise ValueError("no position")
    return position


def terms_at(reader: Reader, position: int, reservation: str) -> Terms | None:
    """Return what the ledger says of a slice; None where it never set that aside."""
    recorded = reader.store.at([position]).get(position)
    held = None if recorded is None else recorded.event
    if recorded is None or not isinstance(held, ReservationHeld) or held.license is None:
        return None
    if held.reservation != reservation or held.inferences is None or held.decision is None:
        return None
    license = license_at(reader.store, held.license, position)
    at, policy = recorded.recorded_at, license.policy
    until = serves_until(held, license, at)
    return Terms(held, position, at, until, policy.pool, policy.priority)


class Held:
    """A slice, and what this gateway drew from it; only the event loop's thread touches it."""

    def __init__(self, terms: Terms, seconds: int, longest: int, *, mine: bool) -> None:
        """Draw from it for so many seconds, for inferences of `longest` seconds at most."""
        held = terms.held
        assert held.inferences is not None
        assert held.decision is not None
        self.terms = terms
        self.reservation = held.reservation
        self.customer = held.customer
        self.envelope = held.estimate
        self.places = held.inferences
        self.mine = mine
        """Whether this process set it aside, and gives back what is left."""
        self.until = drawn_until(
            terms.serves_until, terms.opened_at, held.expires_at, seconds, longest
        )
        goes_on = self.until == terms.opened_at + seconds * SECOND
        self.renew_at = self.until - EARLY if goes_on else self.until
        """When the next one is due; at the end of a window there is no use in being early."""
        self._template = str(held.decision["policy"]).rsplit(":", 2)[0]
        self._remaining: list[dict[str, Any]] = decision_result(held.decision)["remaining"]
        self.stock = 0
        """How many places were drawn ahead, and are taken without asking."""
        self.left = self.places
        """How many places there were when one was drawn here last."""
        self.drawn = 0
        self.drawn_ns = time.monotonic_ns()
        """When that was."""
        self._taken_ns = 0
        self.under_way: set[str] = set()
        self.ended: set[str] = set()
        """Those of whose end the ledger may not have been told."""
        self.told: set[str] = set()
        """Those of whose end it was told, and may have parked it."""
        self.is_parked = False
        """Whether somebody has to look at one of them, who will need the reservation open."""
        self.is_over = False
        """Nothing is admitted from it any more, whatever is drawn."""
        self.is_resting = False
        """The same, for as long as it is asked whether somebody closed it."""
        self.is_abandoned = False
        """What handed it out has forgotten it, or may have: nobody can say who drew from it."""
        self.is_closed = False
        self.is_tallied = False
        self.tallied_ns = 0
        self._left_ns: int | None = None

    def admit(self, id: str, meter: Meter, pool: Pool, now: int) -> Admitted:
        """Return an inference that was admitted from it, at the ledger's time."""
        self.under_way.add(id)
        self.drawn += 1
        self._taken_ns = time.monotonic_ns()
        held, terms = self.terms.held, self.terms
        assert held.license is not None
        return Admitted(
            id,
            held.customer,
            held.license,
            meter,
            pool,
            terms.priority,
            max(now, terms.opened_at),
            held.expires_at,
            self._remaining,
            self._template,
            self.reservation,
        )

    def end(self, id: str, *, parked: bool) -> None:
        """Take note that an inference is over, and its outcome written down."""
        self.under_way.discard(id)
        self.ended.add(id)
        self.is_parked = self.is_parked or parked

    def leave(self) -> None:
        """Draw no more; what is on its way still counts."""
        if self._left_ns is None:
            self._left_ns = time.monotonic_ns()

    def is_stocked(self) -> bool:
        """Say whether a place is at hand."""
        return self.stock > 0 and not (self.is_over or self.is_resting)

    def is_idle(self, for_ns: int) -> bool:
        """Say whether nothing was drawn or taken from it for so long."""
        return time.monotonic_ns() - max(self.drawn_ns, self._taken_ns) > for_ns

    def is_left(self) -> bool:
        """Say whether it was left so long ago that nothing can be on its way any more."""
        return self._left_ns is not None and time.monotonic_ns() - self._left_ns > LATE_NS


class Book(Protocol):
    """Where it stands what a later process may give back: the intent log."""

    def begin(self, id: str, intent: dict[str, Any]) -> None:
        """Write down what is set aside; raises Unavailable."""

    def told(self, id: str) -> None:
        """Forget what is given back."""


class Holding:
    """All slices that this gateway knows, by reservation."""

    def __init__(self, book: Book | None = None) -> None:
        """Know of none; there is a `book` where nobody but this process draws from them."""
        self._book = book
        self.open: dict[str, Held] = {}
        self.gone: dict[str, int] = {}
        """Those that are done with here, and when their holds end: no draw from them counts."""
        self.ends: Counter[str] = Counter()
        """What became of those that were set aside here."""

    def set_aside(self, held: Held) -> None:
        """Know of a slice that this process set aside; raises Unavailable."""
        if self._book is not None:
            until = held.terms.held.expires_at
            line = {SET_ASIDE: held.terms.position, "customer": held.customer, "until": until}
            self._book.begin(held.reservation, line)
        self.open[held.reservation] = held
        self.ends["opened"] += 1

    def keep(self, held: Held) -> None:
        """Take note that nobody may give it back: somebody has to look at a part of it first."""
        if self._book is not None:
            self._book.told(held.reservation)

    def drop(self, held: Held, end: str) -> None:
        """Forget a slice that is done with."""
        was_open = self.open.pop(held.reservation, None) is not None
        self.gone[held.reservation] = held.terms.held.expires_at
        if held.mine and was_open:
            self.ends[end] += 1
            if self._book is not None:
                self._book.told(held.reservation)

    def forget_gone(self, now: int) -> None:
        """Forget those whose holds are over for good."""
        self.gone = {name: until for name, until in self.gone.items() if now < until + SECOND}
