"""The ledger beside the stream: a process of its own decides as this one would, and is missed."""

import inspect
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from io import BytesIO
from pickle import load
from typing import Any

import pytest
from tollbook.errors import Conflict, TollbookError, Unavailable, Unknown

from adapters.event_store.store import PostgresEventStore
from application.ports import Rider
from domain.commands import ChargeUsage
from entrypoints.bootstrap import Database
from entrypoints.ledger_process import LedgerProcess, serve
from streams import runs, wire
from streams.ledger import Untaken, packed, unpacked
from streams.runs import Told
from tests.streams import records, test_runs, test_settlement
from tests.streams.records import record, usage_event
from tests.streams.settling import Stream
from tests.streams.test_runs import run_event
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger
from tests.support.pipelines import publish_pipeline, reserve_pipeline


class Beside(Stream):
    """A ledger and workers on it, each of which asks a process of its own."""

    def __init__(self, stack: ExitStack, *given: Any) -> None:
        """Have the stack end those processes."""
        self._stack = stack
        super().__init__(*given)

    def asked(self) -> LedgerProcess:
        """Start such a process."""
        return self._stack.enter_context(running(of(self.database)))


def of(database: TestDatabase) -> Database:
    """Return where a ledger is, without its keys."""
    return Database(database.owner_url, database.app_url, None)


@contextmanager
def running(database: Database, *, ready: bool = True) -> Iterator[LedgerProcess]:
    """Run such a process."""
    process = LedgerProcess(database)
    assert process._process.stdout is not None
    with process._process.stdout:
        try:
            if ready:
                process.ready()
            yield process
        finally:
            process.stop()


@pytest.fixture
def beside(embedded_database: TestDatabase) -> Iterator[Beside]:
    with ExitStack() as stack:
        ledger = stack.enter_context(open_ledger(embedded_database))
        store = stack.enter_context(closing(PostgresEventStore(embedded_database.app_url)))
        a_customer(ledger)
        records.forget()
        yield Beside(stack, ledger, store, embedded_database)


def facts(module: Any, takes: str) -> list[Callable[[Stream], None]]:
    """Return the tests of a module that need nothing but a stream."""
    found = [each for name, each in vars(module).items() if name.startswith("test_")]
    return [each for each in found if list(inspect.signature(each).parameters) == [takes]]


@pytest.mark.parametrize("fact", facts(test_settlement, "stream"), ids=lambda each: each.__name__)
def test_what_holds_of_settlement_holds_where_another_process_decides(
    beside: Beside, fact: Callable[[Stream], None]
) -> None:
    fact(beside)


@pytest.mark.parametrize("fact", facts(test_runs, "rag"), ids=lambda each: each.__name__)
def test_what_holds_of_runs_holds_where_another_process_decides(
    beside: Beside, fact: Callable[[Stream], None]
) -> None:
    publish_pipeline(beside.ledger).result()
    for run in ("run-1", "run-2"):
        reserve_pipeline(beside.ledger, run).result()
    fact(beside)


def test_facts_were_found() -> None:
    """Else the two tests before could not fail."""
    assert len(facts(test_settlement, "stream")) >= 10
    assert len(facts(test_runs, "rag")) >= 7


def told_of_every_kind() -> list[Told]:
    """Return what each kind of event tells."""
    records.forget()
    parked = {**usage_event("i-3", reason="lost"), "type": wire.PARKED}
    released: dict[str, Any] = {
        "specversion": "1.0",
        "type": wire.RELEASED,
        "source": records.SOURCE,
    }
    released |= {"id": "i-4", "subject": "i-4", "data": {"customer": "cust-1", "reason": "no"}}
    events = [
        usage_event("i-1"),
        {**usage_event("i-2", license="lic-1", request_hash="0a" * 32), "subject": "cust-1"},
        {**usage_event("i-2", final=False), "subject": "slice-1"},
        parked,
        released,
        run_event("run-1"),
        {**run_event("run-2", reason="lost"), "type": runs.RUN_PARKED},
    ]
    return [told for event in events for told in wire.told_by(event)]


def test_what_is_told_comes_out_of_the_pipe_as_it_went_in() -> None:
    told, riders = told_of_every_kind(), [Rider("cluster", "topic", 3, 7, 9)]
    found = unpacked(*loads_from(BytesIO(packed(told, riders))))
    assert found == (told, riders)
    assert [type(each.command) for each in found[0]] == [type(each.command) for each in told]
    assert len({type(each.command) for each in told}) > 3
    charges = [each.command for each in found[0] if type(each.command) is ChargeUsage]
    assert all(ChargeUsage(**fields(each)) == each for each in charges), "as if checked again"


def fields(charge: ChargeUsage) -> dict[str, Any]:
    """Return what a charge was made of."""
    return {"id": charge.id, **dict(charge.fields())}


def loads_from(sink: BytesIO) -> Any:
    """Read what this test had written."""
    return load(sink)  # noqa: S301


class Refusing:
    """A ledger that begins nothing, or does not say what became of it."""

    def __init__(self, error: TollbookError, *, begins: bool) -> None:
        """Raise an error at the beginning or at the end."""
        self._error, self._begins = error, begins

    def begin(self, told: Sequence[Told], riders: Sequence[Rider]) -> int:
        """Begin something, maybe."""
        if not self._begins:
            raise self._error
        return len(told) + len(riders)

    def answers(self, begun: int) -> Sequence[Untaken]:
        """Answer the first, and fail the others."""
        if begun == 1:
            return [Untaken("i-1", Conflict("fenced", code="fenced"))]
        raise self._error


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("error", [Unavailable("busy", code="overloaded", waiting=7), Unknown("?")])
def test_a_failure_reaches_the_worker_as_it_was_raised(error: TollbookError, begins: bool) -> None:
    told = told_of_every_kind()
    source, sink = BytesIO(packed(told[:1], []) + packed(told[:2], [])), BytesIO()
    serve(Refusing(error, begins=begins), source, sink)
    sink.seek(0)
    found = [loads_from(sink), loads_from(sink)]
    assert sink.read() == b""
    if begins:
        ((id, fenced),) = found.pop(0)
        assert (id, type(fenced), fenced.code) == ("i-1", Conflict, "fenced")
    for each in found:
        assert (type(each), str(each)) == (type(error), str(error))
        assert (each.code, each.facts, each.retryable) == (error.code, error.facts, error.retryable)


def test_a_worker_that_ended_while_it_wrote_told_nothing() -> None:
    told = told_of_every_kind()
    whole = packed(told, [])
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        sink = BytesIO()
        serve(Refusing(Unknown("?"), begins=True), BytesIO(whole[:length]), sink)
        assert sink.getvalue() == b"", length


def test_a_worker_whose_process_was_killed_cannot_go_on(beside: Beside) -> None:
    """No failure that could be tried again: the next worker begins where the ledger is."""
    beside.hold("i-1", "i-2")
    process = beside.asked()
    worker = beside.worker_on(process)
    worker.apply([record(0, usage_event("i-1"))])
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ChildProcessError):
        worker.apply([record(1, usage_event("i-2"))])
    assert (beside.charged, dict(beside.offsets())) == (1, {0: 1})


def test_what_was_begun_before_a_stop_is_settled_and_nothing_after_it(beside: Beside) -> None:
    beside.hold("i-1", "i-2")
    process = beside.asked()
    told = [wire.told_by(usage_event(f"i-{number}")) for number in (1, 2)]
    begun = process.begin(told[0], [])
    stopping = threading.Thread(target=process.stop)
    stopping.start()
    stopping.join(60)
    assert not stopping.is_alive()
    assert process.answers(begun) == []
    assert beside.charged == 1
    with pytest.raises(Unavailable, match="shutting down"):
        process.begin(told[1], [])
    with pytest.raises(Unknown, match="shutting down"):
        process.answers(begun + 1)


def test_a_ledger_that_cannot_be_opened_is_told_with_its_reason() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    database = Database(nowhere, nowhere, None)
    with running(database, ready=False) as process, pytest.raises(Unavailable, match="PostgreSQL"):
        process.ready()


def test_the_process_ends_when_the_pipe_is_closed(embedded_database: TestDatabase) -> None:
    """As the system does it for a worker that was killed."""
    with running(of(embedded_database)) as process:
        assert process._process.stdin is not None
        process._process.stdin.close()
        assert process._process.wait(30) == 0
