"""Several writers on one ledger: they see each other's facts at once, and none stops the others."""

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import _GeneratorContextManager, contextmanager
from typing import Any

import pytest

from adapters.clock import DatabaseClock
from adapters.event_store.store import PostgresEventStore
from application import committing
from application.deciding import Plan
from application.executor import Executor
from application.planning import make_plan
from application.ports import Concerns, Head
from application.tollbook import Tollbook
from domain.commands import Reserve
from domain.event import Recorded
from tests.faults.invariants import assert_sound
from tests.support.databases import TestDatabase
from tests.support.ledger import (
    MODEL,
    a_customer,
    create_customer,
    issue_grant,
    open_ledger,
    price_book,
    release,
    reserve,
    settle,
)


class CountingStore(PostgresEventStore):
    """Counts how often the head was held for a decision."""

    held = 0
    read_while_held = 0

    def since(self, position: int, limit: int, concerns: Concerns | None = None) -> list[Recorded]:
        """Count what is read of others while nobody else can append."""
        found = super().since(position, limit, concerns)
        self.read_while_held += len(found) if self._holding else 0
        return found

    def locked(self) -> _GeneratorContextManager[Head, None, None]:
        """Count, and hold the head."""
        self.held += 1
        return super().locked()


@contextmanager
def writer(database: TestDatabase) -> Iterator[tuple[Executor, CountingStore]]:
    """Open an executor on a store that counts."""
    store = CountingStore(database.app_url)
    executor = Executor(store, DatabaseClock())
    try:
        yield executor, store
    finally:
        executor.close()
        store.close()


def hold(name: str) -> Reserve:
    """Return a command that holds next to nothing."""
    return Reserve(
        id=name, customer="cust-1", model=MODEL, estimate={"input_tokens": 1, "output_tokens": 1}
    )


def take_turns(other: Tollbook, one: Executor, turns: int, each: int = 1) -> None:
    """Have one write after every write of the other, so often each time."""
    for turn in range(turns):
        reserve(other, f"other-{turn}").result()
        for number in range(each):
            assert one.one(hold(f"one-{turn}-{number}")).code == "done"


@pytest.fixture
def ledgers(embedded_database: TestDatabase) -> Iterator[tuple[Tollbook, Tollbook]]:
    """Open the same ledger twice."""
    with open_ledger(embedded_database) as one, open_ledger(embedded_database) as other:
        yield one, other


def test_a_writer_knows_at_once_what_another_one_wrote(
    ledgers: tuple[Tollbook, Tollbook],
) -> None:
    """`not_found` is no event, so nothing but a look at the head shows that it is out of date."""
    one, other = ledgers
    one.publish(price_book()).result()
    create_customer(one).result()
    issue_grant(other).result()
    reserve(one, "r-1").result()
    assert settle(other, "r-1").code == "done"
    reserve(other, "r-2").result()
    assert release(one, "r-2").code == "done"


def test_an_idle_writer_settles_what_another_one_reserved(
    ledgers: tuple[Tollbook, Tollbook],
) -> None:
    one, other = ledgers
    a_customer(one)
    reserve(one, "r-1").result()
    assert settle(other, "r-1").code == "done"


def test_an_idle_writer_sees_a_customer_that_another_one_created(
    ledgers: tuple[Tollbook, Tollbook],
) -> None:
    one, other = ledgers
    a_customer(one)
    assert reserve(other, "r-1").code == "done"


def test_writers_that_fight_for_the_head_all_make_progress(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who loses twice holds the head while it decides, and so cannot lose again."""
    losses = committing.LOSSES_BEFORE_LOCK
    assert losses == 2
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
    codes: list[str] = []
    rounds = 0

    def work(executor: Executor, name: str) -> None:
        codes.extend(executor.one(hold(f"{name}-{n}")).code for n in range(100))

    with writer(embedded_database) as (one, first), writer(embedded_database) as (other, second):
        while rounds < 20 and not (first.held and second.held):
            threads = [
                threading.Thread(target=work, args=(executor, f"{name}{rounds}-{n}"))
                for name, executor in (("a", one), ("b", other))
                for n in range(3)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
            rounds += 1
        assert first.held and second.held, "neither ever had to hold the head: no fight"
    assert codes == ["done"] * 600 * rounds
    assert len(assert_sound(embedded_database.super_url)["cust-1"].holds) == 600 * rounds


def test_writers_that_take_turns_decide_each_batch_once(
    ledgers: tuple[Tollbook, Tollbook], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch would lose the head, and be decided anew, but for what the first losses told."""
    a_customer(ledgers[0])
    plans: list[Plan] = []

    def counted(*what: Any) -> Plan:
        plans.append(make_plan(*what))
        return plans[-1]

    monkeypatch.setattr(committing, "make_plan", counted)
    for number in range(40):
        reserve(ledgers[number % 2], f"r-{number}").result()
    assert len(plans) < 60


def test_a_writer_that_is_alone_again_holds_the_head_no_longer(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as other, writer(embedded_database) as (one, store):
        a_customer(other)
        take_turns(other, one, 10)
        assert store.held >= 10 - committing.LOSSES_BEFORE_LOCK
        for number in range(committing.CALM_BATCHES):
            one.one(hold(f"alone-{number}"))
        before = store.held
        for number in range(10):
            one.one(hold(f"calm-{number}"))
        assert store.held == before


def test_what_others_wrote_is_read_before_the_head_is_held(
    embedded_database: TestDatabase,
) -> None:
    """Nobody waits for a writer that has been idle for long, however much it has to read."""
    with open_ledger(embedded_database) as other, writer(embedded_database) as (one, store):
        a_customer(other)
        take_turns(other, one, 4)
        before = store.held
        for number in range(50):
            reserve(other, f"more-{number}").result()
        assert one.one(hold("late")).code == "done"
        assert store.held == before + 1
        assert store.read_while_held == 0


def test_a_writer_that_seldom_meets_another_holds_the_head_never(
    embedded_database: TestDatabase,
) -> None:
    with open_ledger(embedded_database) as other, writer(embedded_database) as (one, store):
        a_customer(other)
        take_turns(other, one, 10, each=3)
        assert store.held == 0


@pytest.mark.parametrize("again", [False, True], ids=["lost the race", "met an id that is taken"])
def test_a_batch_that_was_decided_twice_is_forgotten_with_its_answer(
    embedded_database: TestDatabase, again: bool
) -> None:
    """At once: a setback that waits for the garbage collector has the whole batch with it."""

    def plans() -> int:
        return sum(isinstance(each, Plan) for each in gc.get_objects())

    with open_ledger(embedded_database) as other:
        a_customer(other)
        names = [f"r-{number}" for number in range(5)]
        for name in names if again else ():
            reserve(other, name).result()
        with writer(embedded_database) as (executor, _):
            gc.collect()
            gc.disable()
            try:
                before = plans()
                for name in names:
                    if not again:
                        reserve(other, f"other-{name}").result()
                    executor.one(hold(name))
                assert plans() <= before
            finally:
                gc.enable()


class HangingClock(DatabaseClock):
    """A clock that stops its reader, as a suspended process stops in the middle of a decision."""

    def __init__(self) -> None:
        """Run freely until told to hang."""
        super().__init__()
        self.running = threading.Event()
        self.running.set()
        self.reached = threading.Event()

    def now(self) -> int:
        """Return the time, as soon as the process runs again."""
        if not self.running.is_set():
            self.reached.set()
            self.running.wait(60)
        return super().now()


def test_a_writer_that_hangs_while_it_holds_the_head_is_thrown_out(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 10 s the database ends its session; awake again, it decides anew."""
    monkeypatch.setattr(committing, "LOSSES_BEFORE_LOCK", 0)
    codes: list[str] = []
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        store, clock = PostgresEventStore(embedded_database.app_url), HangingClock()
        sleeper = Executor(store, clock)
        clock.running.clear()
        thread = threading.Thread(target=lambda: codes.append(sleeper.one(hold("sleeper")).code))
        thread.start()
        assert clock.reached.wait(10)
        began = time.monotonic()
        assert ledger.executor.one(hold("waiting")).code in {"done", "unavailable"}
        assert ledger.executor.one(hold("others")).code == "done"
        assert time.monotonic() - began < 20
        clock.running.set()
        thread.join(30)
        sleeper.close()
        store.close()
    holds = set(assert_sound(embedded_database.super_url)["cust-1"].holds)
    assert "others" in holds
    assert ("sleeper" in holds, codes) in [(True, ["done"]), (False, ["unavailable"])]


def test_many_may_open_a_ledger_at_the_same_moment(embedded_database: TestDatabase) -> None:
    gate = threading.Barrier(8)
    problems: list[str] = []

    def work() -> None:
        gate.wait(30)
        try:
            for _ in range(5):
                with open_ledger(embedded_database):
                    pass
        except Exception as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
