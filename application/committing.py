"""Committing a batch: decide, append, and know for certain whether it is in the ledger.

Everything that can go wrong between the decision and the answer is handled here: another writer
was faster, a clock is off, an id is taken, the connection broke after the commit, the disk is
full. A batch is either in the ledger once, or not at all, and its commands learn which.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from tollbook.errors import Conflict, TollbookError, Unavailable, Unknown

from application.answers import Answer
from application.deciding import Plan, make_plan
from application.jobs import Job
from application.ports import (
    Clock,
    ClockRefusedError,
    ConnectionLostError,
    EventStore,
    FencedError,
    HeadMovedError,
    Key,
    Snapshot,
    StoreFailedError,
    TakenError,
)
from application.world import World

logger = logging.getLogger("tollbook.executor")

LOSSES_BEFORE_LOCK = 2
"""After losing the race for the head this often, a batch holds the head while it decides."""

CALM_BATCHES = 16
"""How many locked batches without another writer's events bring optimism back."""

ATTEMPTS_MAX = 20
CATCH_UP_CHUNK = 2_000
CATCH_UP_MAX = 100_000
"""Further behind than this, forgetting everything and loading again is faster."""

RECENT_MAX = 100_000
SNAPSHOT_EVERY = 2_000
"""A customer's balance is snapshotted once per this many of their events."""

PATIENCE_SECONDS = 30.0
"""How long to try to reach the database again before giving up on a batch."""


class Committer:
    """Turns batches of jobs into committed events; used by one thread at a time."""

    def __init__(
        self, store: EventStore, clock: Clock, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Stand at the store's head."""
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self.world = World(store)
        self._recent: OrderedDict[Key, int] = OrderedDict()
        self._calm = CALM_BATCHES
        clock.synchronise(store.database_time())

    def process(self, jobs: Sequence[Job]) -> None:
        """Decide and append jobs in one transaction, then answer them; never raises."""
        now = self._monotonic()
        live = []
        for job in jobs:
            if job.deadline is not None and now > job.deadline:
                _fail(job, _too_late())
            else:
                live.append(job)
        if not live:
            return
        try:
            plan = self._commit(live)
        except (FencedError, StoreFailedError) as error:
            self._one_by_one(live, error)
        except TollbookError as error:
            for job in live:
                _fail(job, error)
        except Exception as error:
            logger.exception("a batch failed")
            for job in live:
                _fail(job, Unavailable(f"internal error: {type(error).__name__}"))
        else:
            self._succeed(plan, live)

    def _one_by_one(self, jobs: Sequence[Job], error: Exception) -> None:
        """Give each job a transaction of its own, so that only the culprit fails."""
        if len(jobs) > 1:
            for job in jobs:
                self.process([job])
            return
        if isinstance(error, FencedError):
            _fail(
                jobs[0],
                Conflict("the stream's offset has moved: this worker is fenced", code="fenced"),
            )
        else:
            _fail(jobs[0], Unavailable(f"nothing was written: {error}"))

    def _succeed(self, plan: Plan, jobs: Sequence[Job]) -> None:
        """Make the plan the committed state, snapshot what is due, and answer."""
        due = [
            Snapshot(balance, plan.draft.position)
            for customer, balance in plan.draft.balances.items()
            if balance.sequence // SNAPSHOT_EVERY
            > _sequence_before(self.world, customer) // SNAPSHOT_EVERY
        ]
        plan.draft.commit()
        self._recent.update(plan.ids)
        while len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)
        for job in jobs:
            job.finish()
        if due:
            try:
                self._store.save_snapshots(due)
            except Exception:  # a snapshot is only a shortcut: the next one will do
                logger.warning("snapshots were not saved", exc_info=True)

    def _commit(self, jobs: Sequence[Job]) -> Plan:
        """Try until the batch is in the ledger or it is certain that it cannot be."""
        losses, careful = 0, False
        started = self._monotonic()
        for _ in range(ATTEMPTS_MAX):
            plan: Plan | None = None
            try:
                if losses >= LOSSES_BEFORE_LOCK or self._calm < CALM_BATCHES:
                    return self._commit_locked(jobs, careful)
                plan = self._plan(jobs, careful)
                self._append(plan)
                return plan
            except HeadMovedError:
                losses += 1
                self._catch_up()
            except ClockRefusedError:
                self._clock.synchronise(self._store.database_time())
                self._catch_up()
            except TakenError:
                careful = True
                self._catch_up()
            except ConnectionLostError as error:
                done = self._after_loss(error, started)
                if done is not None:
                    return done
                careful = True
        raise Unavailable("the ledger is too busy or its clock too far off: try again")

    def _plan(self, jobs: Sequence[Job], careful: bool) -> Plan:
        return make_plan(self.world, self._store, self._recent, self._clock.now, jobs, careful)

    def _append(self, plan: Plan) -> None:
        if not plan.events and not plan.riders:
            return
        try:
            self._store.append(plan.batch())
        except ConnectionLostError as error:
            error.args = (*error.args, plan)
            raise

    def _commit_locked(self, jobs: Sequence[Job], careful: bool) -> Plan:
        """Decide while holding the head: nobody can be faster."""
        with self._store.locked() as head:
            self._calm = 0 if head.position > self.world.position else self._calm + 1
            self._catch_up()
            plan = self._plan(jobs, careful)
            self._append(plan)
        return plan

    def _catch_up(self) -> None:
        """Apply everything other writers have appended since."""
        first = True
        while True:
            events = self._store.since(self.world.position, CATCH_UP_CHUNK)
            for recorded in events:
                self.world.apply(recorded)
            if len(events) < CATCH_UP_CHUNK:
                self.world.trim()
                return
            if first and self._store.head().position - self.world.position > CATCH_UP_MAX:
                self.world.reset()
                return
            first = False

    def _after_loss(self, error: ConnectionLostError, started: float) -> Plan | None:
        """Reach the database again and find out whether the batch was committed.

        Returns the plan when it is in the ledger, None when it is not and may be tried again.
        """
        plan = next((each for each in error.args if isinstance(each, Plan)), None)
        pause = 0.02
        while self._monotonic() - started < PATIENCE_SECONDS:
            try:
                if plan is not None and self._store.matches(plan.batch()):
                    logger.warning("a commit was acknowledged late: found at %s", plan.base + 1)
                    return plan
                self._catch_up()
                return None
            except (ConnectionLostError, Unavailable):
                time.sleep(pause)
                pause = min(pause * 2, 1.0)
        if plan is not None:
            raise Unknown("the database went away during the commit: ask for the outcome by id")
        raise Unavailable("the database does not answer: nothing was done")


def _sequence_before(world: World, customer: str) -> int:
    balance = world.balances.get(customer)
    return balance.sequence if balance is not None else 0


def _too_late() -> Unavailable:
    return Unavailable(
        "the deadline passed before the decision: nothing was done", code="overloaded"
    )


def _fail(job: Job, error: TollbookError) -> None:
    for item in job.items:
        item.answer = Answer(item.command.id, None, error=error)
    job.finish()
