"""Submitting: commands from the event loop to the executor, and their answers back.

Neither side waits for the other. The executor's thread leaves finished jobs in a queue and wakes
the loop once for all that it finds there.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from tollbook.errors import Unavailable, Unknown

from application.answers import Answer
from application.executor import Executor
from application.jobs import Item, Job

COMMAND_SECONDS = 10.0
"""How long a command may take until its caller is told that nothing, or nothing sure, came."""


class _Waiting:
    """A request that waits for its job; the executor's thread calls it when the job is done."""

    __slots__ = ("finished", "future", "owner")

    def __init__(self, owner: "Submitter", future: "asyncio.Future[None]") -> None:
        """Wait with a future of the loop."""
        self.owner = owner
        self.future = future
        self.finished = False

    def __call__(self, _job: Job) -> None:
        """Take note, in the executor's thread, that every item has its answer."""
        self.finished = True
        self.owner.wake(self)


class Submitter:
    """Carries jobs from one event loop to the executor; made while that loop runs."""

    def __init__(self, executor: Executor, seconds: float = COMMAND_SECONDS) -> None:
        """Give every job so many seconds from its arrival."""
        self._executor = executor
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._done: deque[_Waiting] = deque()
        self._woken = False

    def wake(self, waiting: _Waiting) -> None:
        """Queue who is to be woken, and wake the loop unless it is on its way already."""
        self._done.append(waiting)
        if self._woken:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            self._done.clear()  # the loop is closed: nobody waits any more

    def _deliver(self) -> None:
        """Give all finished jobs to those who wait, in the loop's thread."""
        self._woken = False  # first of all: who comes from now on wakes the loop again
        done = self._done
        while done:
            future = done.popleft().future
            if not future.done():
                future.set_result(None)

    async def submit(self, items: Sequence[Item], *, atomic: bool = False) -> list[Answer]:
        """Have commands decided together; return their answers in order.

        Raises Unavailable (`overloaded`) when nothing was done, and Unknown when the deadline
        passed while it may have been. A caller that goes away undoes nothing.
        """
        loop = self._loop
        future = loop.create_future()
        waiting = _Waiting(self, future)
        deadline = time.monotonic() + self._seconds
        job = Job(items, atomic=atomic, deadline=deadline, on_done=waiting)
        self._executor.submit(job)
        # A little later than the deadline, so that the executor, when it can, says it itself.
        timer = loop.call_later(self._seconds + 0.5, _give_up, future)
        try:
            await future
        finally:
            timer.cancel()
        if not waiting.finished:
            if self._executor.withdraw(job):
                raise Unavailable(
                    "the deadline passed before the decision: nothing was done", code="overloaded"
                )
            raise Unknown("the deadline passed during the commit: ask for the outcome by id")
        return job.answers()


def _give_up(future: "asyncio.Future[None]") -> None:
    """Wake a request whose deadline has passed."""
    if not future.done():
        future.set_result(None)
