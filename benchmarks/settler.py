"""The second process of `two_writers`: settles the reservations whose ids it reads.

`python -m benchmarks.settler OWNER_URL APP_URL`; on standard input a number and then so many ids,
again and again; on standard output `ready`, then `settled` for each such load.
"""

import sys
import threading

from application.executor import Executor
from application.jobs import Item, Job
from benchmarks.load import PATIENCE_SECONDS, settle
from benchmarks.pairs import HOT_AT_ONCE
from entrypoints.bootstrap import Database, tollbook_on


class Settles:
    """Sends settles, so many in flight at most."""

    def __init__(self, executor: Executor) -> None:
        """Drive an executor."""
        self._executor = executor
        self._free = threading.Semaphore(HOT_AT_ONCE)
        self._failed: list[str] = []

    def send(self, name: str) -> None:
        """Settle a reservation as soon as fewer than the most are in flight."""
        self._take()
        self._executor.submit(Job([Item(settle(name))], on_done=self._answered))

    def finish(self) -> None:
        """Wait until every settle is answered; raises RuntimeError when one was not done."""
        for _ in range(HOT_AT_ONCE):
            self._take()
        self._free.release(HOT_AT_ONCE)
        if self._failed:
            raise RuntimeError(f"settles were not done: {self._failed[:3]}")

    def _take(self) -> None:
        if not self._free.acquire(timeout=PATIENCE_SECONDS):
            raise RuntimeError("a settle was not answered")

    def _answered(self, job: Job) -> None:
        answer = job.items[0].answer
        if answer is None or not answer.done:
            self._failed.append(str(answer and answer.problem()))
        self._free.release()


def main(owner_url: str, app_url: str) -> None:
    """Settle load after load until standard input ends."""
    with tollbook_on(Database(owner_url, app_url, None)) as tollbook:
        settles = Settles(tollbook.executor)
        print("ready", flush=True)
        for count in sys.stdin:
            for _ in range(int(count)):
                settles.send(sys.stdin.readline().strip())
            settles.finish()
            print("settled", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
