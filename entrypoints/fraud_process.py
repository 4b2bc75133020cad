"""Fraud beside the stream: scoring and notices in a process of their own, next to a worker.

Settlement shares neither an interpreter nor a connection with them, goes before them on a busy
processor, and ends without them. What such a process leaves undone, the next one does again, under
the same ids: one of all processes scores, and one tells security.
"""

import json
import logging
import os
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress

from tollbook.errors import TollbookError

from entrypoints.bootstrap import Database, tollbook_on
from entrypoints.fraud_watching import (
    LEAVE_SECONDS,
    STANDBY_SECONDS,
    Notifying,
    Scoring,
    scores,
    security_webhook,
)
from entrypoints.http.logs import Logging
from entrypoints.settings import serve_settings_from

BEHIND = 5
"""So much nicer than a worker the process is to whatever else wants the processor."""

_log = logging.getLogger("tollbook.fraud")


class FraudProcess:
    """Keeps the process running until it is stopped; another follows one that ends."""

    def __init__(self, database: Database) -> None:
        """Begin at once; `stop` ends it."""
        told = {"owner_url": database.owner_url, "app_url": database.app_url}
        self._told = json.dumps(told).encode() + b"\n"
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="fraud-process", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The number of the process, if one was started."""
        return None if self._process is None else self._process.pid

    def renew(self) -> None:
        """End the process that there is; another follows."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """Let what is under way end, but not for long."""
        with self._guard:
            self._stopping.set()
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(LEAVE_SECONDS)
        process.kill()
        self._thread.join(LEAVE_SECONDS)

    def _keep(self) -> None:
        while True:
            with self._guard:
                if self._stopping.is_set():
                    return
                try:
                    process = self._process = self._started()
                except OSError as error:
                    _log.warning("scoring is not begun: %s", error)
                    process = None
            code = None if process is None else process.wait()
            if code is not None and not self._stopping.is_set():
                _log.warning("scoring has ended with %d and is begun again", code)
            self._stopping.wait(STANDBY_SECONDS)

    def _started(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            (sys.executable, "-P", "-m", "entrypoints.fraud_process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # A Ctrl-C is for the worker, which then closes the pipe.
            start_new_session=True,
        )
        assert process.stdin is not None
        with suppress(OSError):  # it may have ended already
            process.stdin.write(self._told)
            process.stdin.flush()
        return process


def main() -> None:
    """Score and tell for the ledger that the first line names, until the worker closes the pipe.

    However the worker ends, its end of the pipe is closed.
    """
    line = sys.stdin.buffer.readline()
    if not line:
        return
    os.nice(BEHIND)
    database = Database(**json.loads(line), master_key=None)
    with Logging(serve_settings_from().log_level), ExitStack() as stack:
        try:
            webhook = security_webhook()
            if scores():
                scoring = Scoring(database, lambda: tollbook_on(database))
                stack.callback(scoring.stop)
            if webhook is not None:
                stack.callback(Notifying(database, webhook).stop)
            sys.stdin.buffer.read()
        except TollbookError as error:
            _log.warning("scoring does not begin: %s", error)


if __name__ == "__main__":
    main()
    # What did not end in time is not waited for.
    os._exit(0)
