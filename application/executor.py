"""The batch executor: many commands, one transaction (group commit).

Commands queue up; one thread takes all that are waiting, decides them one after another on the
state in memory, appends their events in a single transaction and then answers each. A command
that comes alone is decided and committed at once, in the caller's thread.

There may be several executors on one ledger. Each appends optimistically at the position it
knows; the one that loses catches up and decides again, and after losing twice it holds the head
while it decides. Answers and reads never show what is not committed.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from tollbook.errors import TollbookError, Unavailable, Unknown

from application.answers import Answer
from application.committing import Committer
from application.jobs import COMMANDS_MAX, Item, Job, too_late
from application.ports import Clock, EventStore, Rider
from domain.command import Command

logger = logging.getLogger("tollbook.executor")

QUEUE_MAX = 20_000
"""How many commands may wait before new ones are refused as `overloaded`."""

INLINE_SECONDS = 15.0
"""Who waits at least this long is served in their own thread, where only the database's lock
timeout of 10 s ends a wait; who is in more of a hurry waits beside the executor's thread."""

CROWD = 32
"""So few commands are not split into a batch to commit and a batch to decide meanwhile."""

BATCH_MAX = 1024
"""How many commands one transaction decides at most (a single larger job still goes whole)."""


class Executor:
    """Decides and appends commands in batches; safe to use from any number of threads."""

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        *,
        ahead: EventStore | None = None,
        queue_max: int = QUEUE_MAX,
        batch_max: int = BATCH_MAX,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the executor's thread on a store that nobody else in this process writes with.

        What a batch needs is loaded through `ahead` if it is given, a store of the same ledger that
        need not wait for the batch before to be committed.
        """
        self._committer = Committer(store, clock, monotonic, ahead)
        self._queue: deque[Job] = deque()
        self._queued = 0
        self._queue_max = queue_max
        self._batch_max = batch_max
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="tollbook-executor", daemon=True)
        self._thread.start()

    @property
    def position(self) -> int:
        """Return the position up to which this executor has decided; a batch may be under way."""
        return self._committer.world.position

    @property
    def waiting(self) -> int:
        """Return how many commands wait for their decision."""
        return self._queued

    def watch(self, on_commit: Callable[[int, float], None]) -> None:
        """Have every commit told: how many commands it answered, and the seconds it took.

        Called by the thread that committed, so it must be quick and must not raise.
        """
        self._committer.on_commit = on_commit

    def submit(self, job: Job) -> None:
        """Queue a job and return at once; raises Unavailable (`overloaded`) on a full queue."""
        _check_size(job)
        with self._changed:
            if self._closed:
                raise Unavailable("this process is shutting down")
            if self._queued and self._queued + job.size > self._queue_max:
                raise Unavailable(
                    f"{self._queued} commands are waiting already: try again later",
                    code="overloaded",
                    waiting=self._queued,
                )
            self._queue.append(job)
            self._queued += job.size
            self._changed.notify()

    def execute(
        self,
        commands: Sequence[Command | Item],
        *,
        actor: str = "system",
        atomic: bool = False,
        riders: Sequence[Rider] = (),
        timeout: float | None = 30.0,
    ) -> list[Answer]:
        """Decide commands together and return their answers, in order.

        Raises Unavailable when the deadline passed before the decision (nothing is recorded and
        the ids stay free) and Unknown when it passed during the commit: then ask by id.
        """
        items = [each if isinstance(each, Item) else Item(each, actor) for each in commands]
        job = Job(items, atomic=atomic, riders=riders, deadline=self._deadline(timeout))
        _check_size(job)
        patient = timeout is None or timeout >= INLINE_SECONDS
        if patient and not self._queue and not self._closed and self._turn.acquire(blocking=False):
            try:
                self._committer.process([job])
            finally:
                self._turn.release()
            return job.answers()
        job.expect_wait()
        self.submit(job)
        return self.answers(job, timeout)

    def begin(
        self, items: Sequence[Item], *, riders: Sequence[Rider] = (), timeout: float = 30.0
    ) -> Job:
        """Queue items that are decided together and return at once; `answers` waits for them.

        What is begun before an earlier job is answered comes after it.
        """
        job = Job(items, riders=riders, deadline=self._deadline(timeout))
        job.expect_wait()
        self.submit(job)
        return job

    def answers(self, job: Job, timeout: float | None = 30.0) -> list[Answer]:
        """Wait for a job that was begun, and return its answers; raises as `execute` does."""
        if not job.wait(timeout):
            self._give_up(job)
        return job.answers()

    def _deadline(self, timeout: float | None) -> float | None:
        return None if timeout is None else self._monotonic() + timeout

    def one(
        self, command: Command, *, actor: str = "system", timeout: float | None = 30.0
    ) -> Answer:
        """Decide one command and return its answer."""
        return self.execute((command,), actor=actor, timeout=timeout)[0]

    def _give_up(self, job: Job) -> None:
        """Withdraw a job that nobody waits for any longer, or say that its outcome is open."""
        if self.withdraw(job):
            raise too_late()
        if not job.wait(0):
            raise Unknown("the deadline passed during the commit: ask for the outcome by id")

    def withdraw(self, job: Job) -> bool:
        """Take a job out of the queue; False when its decision has begun already."""
        with self._changed:
            if job not in self._queue:
                return False
            self._queue.remove(job)
            self._queued -= job.size
            return True

    def close(self, timeout: float = 30.0) -> None:
        """Decide what is queued, then stop; queued jobs that do not make it are told so."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)
        if self._turn.acquire(timeout=timeout):  # a caller's own command may still be under way
            self._turn.release()
        self._fail_all(Unavailable("this process is shutting down"))

    def _fail_all(self, error: TollbookError) -> None:
        with self._changed:
            jobs, self._queued = list(self._queue), 0
            self._queue.clear()
        for job in jobs:
            job.fail(error)

    def _work(self) -> None:
        """Take what is waiting and commit it, until closed and empty."""
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return
            with self._turn:
                while jobs := self._take():
                    self._committer.feed(jobs)
                self._committer.flush()

    def _take(self) -> list[Job]:
        """Take jobs in the order of their arrival, as many as one batch may hold.

        Half of a crowd is enough: the other half is decided while this one is committed.
        """
        taken: list[Job] = []
        size = 0
        with self._changed:
            most = min(self._batch_max, max(CROWD, self._queued // 2))
            while self._queue and (not taken or size + self._queue[0].size <= most):
                job = self._queue.popleft()
                size += job.size
                taken.append(job)
            self._queued -= size
        return taken


def _check_size(job: Job) -> None:
    if job.size > COMMANDS_MAX:
        raise Unavailable(f"a job holds at most {COMMANDS_MAX} commands", code="overloaded")
