"""The ledger beside the stream: a worker's transactions are decided in a process of their own.

An interpreter computes on one core. A worker reads records on one, and decides what they tell on
another: the ledger is asked through pipes, and nobody else can write to them. The process ends when
the worker's end of its pipe is closed, so with the worker however that ends; a worker that finds it
ended cannot go on.
"""

import json
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import IO, Any

from tollbook.errors import TollbookError, Unavailable, Unknown

from application.ports import Rider
from entrypoints.bootstrap import Database, tollbook_on
from entrypoints.http.logs import Logging
from entrypoints.settings import serve_settings_from
from entrypoints.tuning import tune, tune_malloc
from streams.ledger import Ledger, OwnLedger, Untaken, packed, unpacked
from streams.runs import Told

_log = logging.getLogger("tollbook.stream")

LEAVE_SECONDS = 35.0
"""So long it may take to decide what it was given; an executor stops within 30 s."""


class LedgerProcess:
    """The ledger by a process of its own; for one thread that asks, and one that stops it."""

    def __init__(self, database: Database) -> None:
        """Begin at once; `ready` waits until it answers, `stop` ends it."""
        self._stopping = False
        self._asked = self._heard = 0
        self._process = subprocess.Popen(
            (sys.executable, "-P", "-m", "entrypoints.ledger_process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A Ctrl-C is for the worker, which then closes the pipe.
            start_new_session=True,
        )
        told = {"owner_url": database.owner_url, "app_url": database.app_url}
        with suppress(ChildProcessError):  # `ready` says so
            self._write(json.dumps(told).encode() + b"\n")

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ready(self) -> None:
        """Wait until the ledger is open; raises what kept it from that."""
        try:
            self._read()
        except ChildProcessError as error:
            raise Unavailable(str(error)) from None

    def begin(self, told: Sequence[Told], riders: Sequence[Rider]) -> int:
        """Have a transaction decided."""
        if self._stopping:
            raise Unavailable("this process is shutting down")
        self._write(packed(told, riders))
        self._asked += 1
        return self._asked

    def answers(self, begun: int) -> Sequence[Untaken]:
        """Wait for a transaction."""
        self._heard += 1
        assert begun == self._heard, "transactions are asked for in their order"
        found: Sequence[Untaken] = self._read()
        return found

    def stop(self) -> None:
        """Let it decide what it was given, and wait for its end."""
        self._stopping = True
        assert self._process.stdin is not None
        # From here on: where it stands still, somebody writes to a full pipe, which cannot be
        # closed before it ends.
        late = threading.Timer(LEAVE_SECONDS, self._process.kill)
        late.daemon = True
        late.start()
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        late.cancel()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except (OSError, ValueError):  # a pipe without a reader, or closed by `stop`
            raise self._ended() from None

    def _read(self) -> Any:
        assert self._process.stdout is not None
        try:
            found = pickle.load(self._process.stdout)  # noqa: S301 - of our own process
        except (EOFError, pickle.UnpicklingError):
            raise self._ended() from None
        if isinstance(found, Exception):
            raise found
        return found

    def _ended(self) -> Exception:
        if self._stopping:
            return Unknown("this process is shutting down: ask for the outcome by id")
        return ChildProcessError("the process that decides what the stream settles has ended")


def serve(ledger: Ledger, source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer transactions in their order until the source ends, and then those under way."""
    begun: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def answer() -> None:
        while (each := begun.get()) is not None:
            with suppress(BrokenPipeError):  # nobody listens, and it is settled all the same
                _tell(sink, _answers(ledger, each))

    answering = threading.Thread(target=answer, name="answers", daemon=True)
    answering.start()
    with suppress(EOFError, pickle.UnpicklingError):  # a worker that ended as it wrote
        while True:
            begun.put(_begun(ledger, *pickle.load(source)))  # noqa: S301 - of our own process
    begun.put(None)
    answering.join()


def _begun(ledger: Ledger, *request: Any) -> Any:
    try:
        return ledger.begin(*unpacked(*request))
    except TollbookError as error:
        return error.kept()


def _answers(ledger: Ledger, begun: Any) -> Sequence[Untaken] | Exception:
    try:
        return begun if isinstance(begun, TollbookError) else ledger.answers(begun)
    except TollbookError as error:
        return error.kept()
    except Exception as error:  # noqa: BLE001 - a bug, whichever
        return _unanswered(error)


def _tell(sink: IO[bytes], told: Any) -> None:
    try:
        data = pickle.dumps(told)
    except Exception as error:  # noqa: BLE001 - whatever does not go through a pipe
        data = pickle.dumps(_unanswered(error))
    sink.write(data)
    sink.flush()


def _unanswered(error: Exception) -> Exception:
    """Return what ends a worker, which would wait for an answer for ever otherwise."""
    _log.error("a transaction cannot be answered", exc_info=error)
    return ChildProcessError(f"internal error: {type(error).__name__}")


def main() -> None:
    """Decide for the worker that wrote which ledger it is, until it closes the pipe."""
    for number in (signal.SIGTERM, signal.SIGINT):  # sent to all of a service: the worker's to obey
        signal.signal(number, signal.SIG_IGN)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    line = source.readline()
    if not line:
        return
    tune_malloc()
    with Logging(serve_settings_from().log_level), ExitStack() as stack:
        try:
            database = Database(**json.loads(line), master_key=None)
            tollbook = stack.enter_context(tollbook_on(database))
        except TollbookError as error:
            _tell(sink, error.kept())
            return
        tune()  # nobody waits for each answer here
        _tell(sink, None)
        serve(OwnLedger(tollbook.executor), source, sink)


if __name__ == "__main__":
    main()
    # What did not end in time is not waited for.
    os._exit(0)
