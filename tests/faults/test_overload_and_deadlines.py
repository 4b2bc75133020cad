"""Too much at once, too late, or shutting down: every command is answered, and honestly."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from tollbook.errors import TollbookError

from adapters.clock import DatabaseClock
from adapters.event_store.store import PostgresEventStore
from application.executor import Executor
from application.jobs import COMMANDS_MAX
from application.tollbook import Tollbook
from domain.commands import Reserve
from tests.faults.invariants import assert_sound
from tests.support.databases import TestDatabase
from tests.support.ledger import MODEL, a_customer, open_ledger

Codes = dict[str, str]
"""Id to the code of the answer."""


def hold(name: str, tokens: int = 10) -> Reserve:
    """Return a command that holds next to nothing."""
    estimate = {"input_tokens": tokens, "output_tokens": 1}
    return Reserve(id=name, customer="cust-1", model=MODEL, estimate=estimate)


@contextmanager
def head_held(database: TestDatabase) -> Iterator[None]:
    """Hold the head from outside while the block runs, so that nobody can commit."""
    with psycopg.connect(database.super_url) as connection:
        connection.execute("SELECT lock_head()")
        yield


@pytest.fixture
def ledger(embedded_database: TestDatabase) -> Iterator[Tollbook]:
    """Open a ledger with a customer who has money."""
    with open_ledger(embedded_database) as opened:
        a_customer(opened)
        yield opened


@pytest.fixture
def small(embedded_database: TestDatabase, ledger: Tollbook) -> Iterator[Executor]:
    """Give the test an executor whose queue has room for five commands."""
    store = PostgresEventStore(embedded_database.app_url)
    executor = Executor(store, DatabaseClock(), queue_max=5)
    yield executor
    executor.close()
    store.close()


def started(
    executor: Executor, codes: Codes, command: Reserve, timeout: float = 30
) -> threading.Thread:
    """Send a command from a thread of its own, which notes the code of the answer."""

    def work() -> None:
        try:
            codes[command.id] = executor.one(command, timeout=timeout).code
        except TollbookError as error:
            codes[command.id] = error.code

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def busy(executor: Executor, codes: Codes) -> threading.Thread:
    """Occupy an executor with a command that cannot commit yet."""
    thread = started(executor, codes, hold("busy"))
    wait_until(executor._turn.locked)
    return thread


def test_a_full_queue_refuses_and_loses_nothing_that_it_took(
    embedded_database: TestDatabase, small: Executor
) -> None:
    codes: Codes = {}
    with head_held(embedded_database):
        threads = [busy(small, codes)]
        threads += [started(small, codes, hold(f"r-{n}")) for n in range(12)]
        wait_until(lambda: list(codes.values()) == ["overloaded"] * 7)
    for thread in threads:
        thread.join(30)
    taken = [name for name, code in codes.items() if code == "done"]
    assert len(taken) == 6
    assert set(assert_sound(embedded_database.super_url)["cust-1"].holds) == set(taken)


def test_a_deadline_before_the_decision_leaves_the_id_free(
    embedded_database: TestDatabase, small: Executor
) -> None:
    codes: Codes = {}
    with head_held(embedded_database):
        first = busy(small, codes)
        second = started(small, codes, hold("late"), timeout=0.2)
        second.join(10)
        assert codes == {"late": "overloaded"}
    first.join(30)
    assert small.one(hold("late", tokens=99)).code == "done", "the id is free for another body"


def test_a_deadline_during_the_commit_is_unknown_until_asked(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    """A command from the queue: the executor's own thread is at it when the time is over."""
    codes: Codes = {}
    with ledger.executor._turn:
        thread = started(ledger.executor, codes, hold("r-1"), timeout=3.0)
        wait_until(lambda: bool(ledger.executor._queue))
        keeping = head_held(embedded_database)
        keeping.__enter__()
    thread.join(30)
    assert codes == {"r-1": "unknown"}
    keeping.__exit__(None, None, None)
    assert ledger.executor.one(hold("r-1")).code == "done"
    assert ledger.outcome("reserve", "cust-1", "r-1").code == "done"
    assert set(assert_sound(embedded_database.super_url)["cust-1"].holds) == {"r-1"}


def test_a_lone_command_is_told_at_its_deadline_as_well(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    """A command that comes alone is committed in its caller's thread."""
    codes: Codes = {}
    with head_held(embedded_database):
        began = time.monotonic()
        thread = started(ledger.executor, codes, hold("r-1"), timeout=2.0)
        thread.join(7)  # before the lock itself is given up
        waited = time.monotonic() - began
        late = thread.is_alive()
    thread.join(30)
    assert not late, f"no answer {waited:.1f} s after it came with a deadline of 2 s"
    assert codes == {"r-1": "unknown"}


def test_a_head_that_nobody_lets_go_is_answered_in_bounded_time(
    embedded_database: TestDatabase, ledger: Tollbook
) -> None:
    """The lock is waited for 10 s; then it is certain that nothing was written."""
    codes: Codes = {}
    with head_held(embedded_database):
        thread = started(ledger.executor, codes, hold("r-1"))
        thread.join(25)
        assert codes == {"r-1": "unavailable"}
    assert assert_sound(embedded_database.super_url)["cust-1"].holds == {}
    assert ledger.executor.one(hold("r-1")).code == "done"


def test_closing_answers_everything(embedded_database: TestDatabase, small: Executor) -> None:
    codes: Codes = {}
    with head_held(embedded_database):
        threads = [busy(small, codes)]
        threads += [started(small, codes, hold(f"r-{n}")) for n in range(5)]
        wait_until(lambda: len(small._queue) == 5)
        small.close(timeout=0.2)
        wait_until(lambda: len(codes) == 5)
        threads.append(started(small, codes, hold("too-late")))
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert codes.pop("busy") == "done"
    assert set(codes.values()) == {"unavailable"}
    assert set(assert_sound(embedded_database.super_url)["cust-1"].holds) == {"busy"}


def test_closing_decides_what_is_queued_when_there_is_time(
    embedded_database: TestDatabase, small: Executor
) -> None:
    codes: Codes = {}
    with head_held(embedded_database):
        threads = [busy(small, codes)]
        threads += [started(small, codes, hold(f"r-{n}")) for n in range(5)]
        wait_until(lambda: len(small._queue) == 5)
    small.close()
    for thread in threads:
        thread.join(30)
    assert set(codes.values()) == {"done"}


def test_the_largest_job_is_decided(embedded_database: TestDatabase, ledger: Tollbook) -> None:
    commands = [hold(f"r-{number}") for number in range(COMMANDS_MAX)]
    codes = {answer.code for answer in ledger.executor.execute(commands)}
    assert codes == {"done"}
    assert len(assert_sound(embedded_database.super_url)["cust-1"].holds) == COMMANDS_MAX
