"""What became of a gateway's inferences between two samples, against notes beside the ledger."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from typing import Any, NamedTuple

import pytest
from tollbook.times import SECOND, format_instant

from adapters.event_store.store import PostgresEventStore
from application.tollbook import Tollbook
from domain.parking import parked_id
from domain.reconciliation import BOUNDS, INSIDE, UNSEEN, Ended
from domain.server_counters import Sample
from entrypoints.bootstrap import tollbook_on
from projections.inferences import ended
from tests.support.databases import TestDatabase
from tests.support.views import project

STEPS = 250
GATEWAY, OTHER = "gateway:one", "gateway:two"
FAILED = "the server failed it"
REASONS = {
    f"{FAILED}: boom": (FAILED, ""),
    f"{FAILED}: [request id: ID] unexpected shape": (FAILED, "refused"),
    f"{FAILED}: [request id: another] unexpected shape": (FAILED, ""),
    f"{FAILED}: unexpected inference output 'X' for model": (FAILED, "refused"),
    f"{FAILED}: no server took it": (FAILED, "untaken"),
    "its client left before anything was produced": (
        "its client left before anything was produced",
        "",
    ),
}
"""What a gateway may say, and what is read in it."""


class Note(NamedTuple):
    """What a test did with one inference."""

    model: str
    begun: int
    ended: int | None = None
    how: str = "open"
    reason: str = ""
    mark: str = ""
    device_time: int = 0


class Ledger:
    """A ledger, and notes of everything that was done in it."""

    def __init__(self, tollbook: Tollbook) -> None:
        """Make a customer with money."""
        self.tollbook = tollbook
        self.notes: dict[str, Note] = {}
        self.models: dict[str, str] = {}
        models = [{"name": name, "prices": {"gpu_seconds": "1"}} for name in ("a", "b")]
        book = {"id": "default", "currency": "USD", "effective_from": "2020-01-01T00:00:00Z"}
        tollbook.publish({**book, "models": models}).result()
        self.run("create_customer", {"id": "c", "name": "C", "currency": "USD"})
        self.run("issue_grant", {"id": "g", "customer": "c", "kind": "paid", "amount": "1000"})

    def run(self, kind: str, body: dict[str, Any], actor: str = GATEWAY) -> int:
        """Run a command that must succeed, and return its position."""
        answer = self.tollbook.run(kind, body, actor=actor)
        answer.result()
        assert answer.recorded is not None
        return answer.recorded.position

    def hold(self, model: str, actor: str = GATEWAY, prefix: str = "inf_") -> str:
        """Hold an inference; that of another gateway is not noted."""
        name = f"{prefix}{len(self.models)}"
        body = {"id": name, "customer": "c", "model": model, "estimate": {"gpu_seconds": "1"}}
        position = self.run("reserve", body, actor)
        self.models[name] = model
        if actor == GATEWAY and prefix == "inf_":
            self.notes[name] = Note(model, position)
        return name

    def charge(self, name: str) -> None:
        """Charge an inference."""
        position = self.run("usage", self._record(name))
        self._note(name, ended=position, how="charged", device_time=7)

    def park(self, name: str, reason: str) -> None:
        """Park an inference."""
        position = self.run("park_usage", {**self._record(name), "reason": reason})
        self._note(name, ended=position, how="parked", reason=reason.partition(":")[0])

    def _record(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "source": f"gateway/{'one' if name in self.notes else 'two'}",
            "reservation": name,
            "customer": "c",
            "model": self.models[name],
            "usage": {"gpu_seconds": "0.000007"},
            "occurred_at": self.occurred(),
        }

    def _note(self, name: str, **more: Any) -> None:
        if name in self.notes:
            self.notes[name] = self.notes[name]._replace(**more)

    def release(self, name: str, reason: str) -> None:
        """Release an inference."""
        body = {"id": name, "reservation": name, "reason": reason.replace("ID", name)}
        position = self.run("release", body)
        stem, mark = REASONS[reason]
        self._note(name, ended=position, how="released", reason=stem, mark=mark)

    def release_parked(self, name: str) -> None:
        """Charge what was parked after all: its end stays where it was."""
        parked = parked_id("gateway/one", name)
        self.run("release_usage", {"id": f"by-hand-{name}", "parked": parked})
        self._note(name, how="charged", device_time=7)

    def occurred(self) -> str:
        """Return the ledger's time."""
        return format_instant(self.tollbook.now())

    def sample(self) -> Sample:
        """Return a sample without any server."""
        head = self.tollbook.store.head().position
        return Sample(self.tollbook.now(), head, head, {}, {})

    def hold_for_a_second(self) -> None:
        """Hold an inference whose gateway then dies."""
        name = f"inf_brief{self.tollbook.now()}"
        body = {"id": name, "customer": "c", "model": "a", "estimate": {"gpu_seconds": "1"}}
        self.run("reserve", {**body, "ttl_seconds": 1}, GATEWAY)

    def pass_a_second(self) -> None:
        """Wait until what was held for a second has expired, by the ledger's clock."""
        until = self.tollbook.now() + SECOND
        while self.tollbook.now() <= until:
            time.sleep(0.05)

    def elsewhere(self, name: str) -> None:
        """Let somebody else do something."""
        self.run("create_customer", {"id": name, "name": "D", "currency": "USD"})


@pytest.fixture
def ledger(database: TestDatabase) -> Iterator[Ledger]:
    """Open a ledger."""
    with tollbook_on(database.parts) as tollbook:
        yield Ledger(tollbook)


def found(database: TestDatabase, *asked: Any, gateways: tuple[str, ...] = ("one",)) -> list[Ended]:
    """Ask the views, brought up to date."""
    project(database)
    with closing(PostgresEventStore(database.app_url)) as store:
        return ended(store.run, gateways, *asked)


def expected(ledger: Ledger, first: Sample, last: Sample, unseen: list[tuple[int, int]]) -> Any:
    """Say the same from the notes."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for note in ledger.notes.values():
        if note.begun > last.after or (note.ended is not None and note.ended <= first.before):
            continue
        if note.ended is None:
            when = INSIDE
        elif note.begun <= first.after or note.ended > last.before:
            when = BOUNDS
        else:
            seen = any(note.begun <= b and note.ended > a for a, b in unseen)
            when = UNSEEN if seen else INSIDE
        counts[note.model, when, note.how, note.reason, note.mark, note.device_time] += 1
    return counts


def test_a_random_ledger_tells_what_the_notes_tell(
    ledger: Ledger, database: TestDatabase, seed: int
) -> None:
    chosen = random.Random(seed)
    samples = [ledger.sample()]
    under_way: list[str] = []
    for turn in count():
        ways = {note.how for note in ledger.notes.values()}
        if turn >= STEPS and len(ways) == 4 and len(samples) > 1:
            break
        assert turn < 40 * STEPS, "something hardly ever happens"
        if not under_way or chosen.random() < 0.5:
            under_way.append(ledger.hold(chosen.choice("ab"), chosen.choice((GATEWAY, OTHER))))
        elif chosen.random() < 0.8:
            name = under_way.pop(chosen.randrange(len(under_way)))
            if chosen.random() < 0.3:
                ledger.release(name, chosen.choice(list(REASONS)))
            elif chosen.random() < 0.3:
                ledger.park(name, "nobody knows: why")
                if name in ledger.notes and chosen.random() < 0.5:
                    ledger.release_parked(name)
            else:
                ledger.charge(name)
        elif chosen.random() < 0.5:
            samples.append(ledger.sample())
    for _ in range(6):
        places = sorted(chosen.sample(range(len(samples)), min(4, len(samples))))
        first, last = samples[places[0]], samples[places[-1]]
        unseen = [(samples[places[1]].before, samples[places[-2]].after)]
        told = found(database, first, last, unseen)
        got = Counter({(*row[:5], 7 * (row.how == "charged")): row.number for row in told})
        assert got == expected(ledger, first, last, unseen)
        charged = [row for row in told if row.how == "charged"]
        assert [row.device_time for row in charged] == [7 * row.number for row in charged]


def test_several_gateways_are_told_together(ledger: Ledger, database: TestDatabase) -> None:
    first = ledger.sample()
    for actor in (GATEWAY, OTHER):
        ledger.charge(ledger.hold("a", actor))
    last = ledger.sample()
    (one,) = found(database, first, last, [])
    (both,) = found(database, first, last, [], gateways=("one", "two"))
    assert (one.number, both.number) == (1, 2)


def test_what_was_paid_from_a_hold_of_several_counts_by_its_charge(
    ledger: Ledger, database: TestDatabase
) -> None:
    first = ledger.sample()
    slice_ = ledger.hold("a", prefix="slice_")
    for number in range(3):
        at = {"customer": "c", "model": "a", "occurred_at": ledger.occurred(), "final": False}
        body = {"id": f"inf_{number}", "source": "gateway/one", "reservation": slice_, **at}
        ledger.run("usage", {**body, "usage": {"gpu_seconds": "0.5"}})
    ledger.run("release", {"id": "r", "reservation": slice_, "reason": "no outage needs it"})
    told = found(database, first, ledger.sample(), [])
    assert told == [Ended("a", INSIDE, "charged", "", "", 3, 1_500_000)]


def test_a_hold_without_an_outcome_is_open_only_where_it_had_not_expired_before(
    ledger: Ledger, database: TestDatabase
) -> None:
    for _ in range(3):
        ledger.hold_for_a_second()
    alive = ledger.sample()
    ledger.pass_a_second()
    expired = ledger.sample()
    ledger.elsewhere("d")
    last = ledger.sample()
    three_open = [Ended("a", INSIDE, "open", "", "", 3)]
    assert found(database, alive, last, []) == three_open
    assert found(database, expired, last, []) == []
    # A sample whose clock is wrong cannot lie past the events on both sides of it.
    assert found(database, alive._replace(at=0), last, []) == three_open
    assert found(database, expired._replace(at=expired.at + 3_600 * SECOND), last, []) == []
    ledger.run("issue_grant", {"id": "g2", "customer": "c", "kind": "paid", "amount": "1"})
    assert found(database, expired, last, []) == []
    booked = database.query("SELECT status, count(*) FROM views.reservations GROUP BY 1")
    assert booked == [("expired", 3)]
    assert found(database, alive, last, []) == three_open
