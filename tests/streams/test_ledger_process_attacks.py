"""The ledger beside the stream, where it is stopped, told to end, or fails in a way of its own."""

import os
import signal
import threading
from collections.abc import Sequence
from io import BytesIO

import pytest
from tollbook.errors import Unavailable

from application.ports import Rider
from entrypoints import ledger_process
from entrypoints.ledger_process import LedgerProcess, serve
from streams import wire
from streams.ledger import Untaken, packed
from streams.runs import Told
from tests.streams.records import record, usage_event
from tests.streams.test_ledger_process import Beside, beside, loads_from, of, running
from tests.support.databases import TestDatabase

__all__ = ["beside"]  # a fixture

MANY = 4_000
"""So many records are more than the system keeps of a pipe that nobody reads."""


def much() -> list[Told]:
    """Return more than goes into a pipe at once."""
    return [told for n in range(MANY) for told in wire.told_by(usage_event(f"i-{n}"))]


def test_a_stop_does_not_wait_for_ever_for_a_process_that_stands_still(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pipe is full then, and whoever writes to it holds what closes it."""
    monkeypatch.setattr(ledger_process, "LEAVE_SECONDS", 1.0)
    failed: list[Exception] = []

    def ask(process: LedgerProcess) -> None:
        try:
            process.begin(much(), [])
        except Exception as error:  # looked at below
            failed.append(error)

    with running(of(embedded_database)) as process:
        os.kill(process.pid, signal.SIGSTOP)
        asking = threading.Thread(target=ask, args=(process,), daemon=True)
        asking.start()
        asking.join(1.0)
        assert asking.is_alive(), "the pipe takes all of it"
        stopping = threading.Thread(target=process.stop, daemon=True)
        stopping.start()
        stopping.join(20.0)
        ended = not stopping.is_alive()
        if not ended:
            os.kill(process.pid, signal.SIGKILL)  # else this test would wait as well
        asking.join(20.0)
        assert ended
    assert "shutting down" in str(failed)


def test_a_signal_to_all_processes_of_a_service_leaves_the_end_to_the_worker(
    beside: Beside,
) -> None:
    """A supervisor may send it to each of them; the batch under way is decided all the same."""
    beside.hold("i-1", "i-2")
    process = beside.asked()
    worker = beside.worker_on(process)
    worker.apply([record(0, usage_event("i-1"))])
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(process.pid, number)
    worker.apply([record(1, usage_event("i-2"))])
    assert (beside.charged, dict(beside.offsets())) == (2, {0: 2})
    process.stop()
    assert process._process.returncode == 0


def test_a_process_that_ends_before_it_is_ready_says_so(embedded_database: TestDatabase) -> None:
    with running(of(embedded_database), ready=False) as process:
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="has ended"):
            process.ready()


class Broken:
    """A ledger with a bug."""

    def begin(self, told: Sequence[Told], riders: Sequence[Rider]) -> int:
        """Begin something."""
        return len(told) + len(riders)

    def answers(self, begun: int) -> Sequence[Untaken]:
        """Fail at the first, and answer what no pipe takes for the second."""
        if begun == 1:
            raise ZeroDivisionError
        return [Untaken("i-1", Unavailable("?", why=threading.Lock()))]


def test_a_bug_ends_the_worker_instead_of_leaving_it_to_wait() -> None:
    told = wire.told_by(usage_event("i-1"))
    source, sink = BytesIO(packed(told, []) + packed(told * 2, [])), BytesIO()
    serve(Broken(), source, sink)
    sink.seek(0)
    for _ in range(2):
        assert isinstance(loads_from(sink), ChildProcessError)


def test_what_was_told_twice_to_be_looked_up_is_looked_up_once(beside: Beside) -> None:
    beside.hold("i-1")
    store = beside.ledger.store
    head = store.head().position
    (once,) = store.reservations(["i-1"], head).values()
    (twice,) = store.reservations(["i-1", "i-1"], head).values()
    assert twice == once
    names = ["reservation-i-1"]
    assert list(store.streams_events(names * 2, head)) == list(store.streams_events(names, head))
    customers = ["cust-1", "cust-1"]
    assert store.histories(customers, head) == store.histories(customers[:1], head)
