"""Committing a batch: decide, append, and know for certain whether it is in the ledger.

Everything that can go wrong between the decision and the answer is handled here: another writer
was faster, a clock is off, an id is taken, the connection broke after the commit, the disk is
full. A batch is either in the ledger once, or not at all, and its commands learn which.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tollbook.errors import TollbookError, Unavailable, Unknown

from application.catching_up import catch_up
from application.deciding import Plan
from application.draft import Undo
from application.jobs import Job, failure_of, in_time, without_frames
from application.keeping import UnkeptError
from application.planning import make_plan
from application.ports import (
    Clock,
    ClockRefusedError,
    ConnectionLostError,
    EventStore,
    FencedError,
    HeadMovedError,
    Key,
    StoreFailedError,
    TakenError,
)
from application.snapshots import due_snapshots
from application.splitting import TooSlowError, in_parts
from application.world import World

logger = logging.getLogger("tollbook.executor")

LOSSES_BEFORE_LOCK = 2
"""After losing the race for the head this often, batches hold the head while they are decided."""

CALM_BATCHES = 16
"""How many locked batches without another writer's events bring optimism back."""

ATTEMPTS_MAX = 20
LATE_MAX = 3
"""A batch whose time is refused more often takes too long to decide: its jobs go one by one. A job
that comes alone goes in parts, if it is divisible, at once if it was decided too slowly."""
CLOCK_OFF_MAX = 250_000
"""How far the writer's clock may be off the database's, in microseconds; the append's own rule."""

RECENT_MAX = 100_000
SNAPSHOT_EVERY = 2_000
"""A customer's balance is snapshotted once per this many facts in their events."""

PATIENCE_SECONDS = 30.0
"""How long to try to reach the database again before giving up on a batch."""

PORT_ERRORS = (HeadMovedError, ClockRefusedError, TakenError, FencedError, StoreFailedError)


class Flight(NamedTuple):
    """A batch that is on its way to the ledger, or has just arrived."""

    plan: Plan
    jobs: Sequence[Job]
    undo: Undo
    begun: float


class Committer:
    """Turns batches of jobs into committed events; used by one thread at a time."""

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        ahead: EventStore | None = None,
    ) -> None:
        """Stand at the store's head; what a batch needs is loaded through `ahead`, if given."""
        self._store, self._clock, self._monotonic = store, clock, monotonic
        self.world = World(store, ahead)
        self._recent: OrderedDict[Key, int] = OrderedDict()
        self._losses = 0
        """How often the race for the head was lost since a batch won it at its first try."""
        self._calm = 0
        self._sent: Flight | None = None
        self._planned_at = 0.0
        self.on_commit: Callable[[int, float], None] | None = None
        clock.synchronise(store.database_time)

    def feed(self, jobs: Sequence[Job]) -> None:
        """Decide jobs while the batch before is being committed, and send them; never raises.

        They are answered by the next `feed`, `flush` or `process`. While other processes write, or
        if anything is unusual, it is the same as `process`.
        """
        if self._losses >= LOSSES_BEFORE_LOCK:
            self.process(jobs)
            return
        begun = self._monotonic()
        live = in_time(jobs, begun)
        try:
            plan = self._plan(live, careful=False)
        except Exception:  # noqa: BLE001 - decided again with care, once nothing is under way
            self.process(live)
            return
        if not self.flush() or not plan.events:
            self.process(live)
            return
        try:
            self._store.send(plan.batch())
        except Exception as error:  # noqa: BLE001 - this thread must live, and it may have gone out
            self._process(live, ConnectionLostError(str(error), plan))
            return
        self._sent = Flight(plan, live, self._advance(plan), begun)

    def flush(self) -> bool:
        """Wait for the batch that was sent and answer it; False when it had to be done again."""
        flight, self._sent = self._sent, None
        if flight is None:
            return True
        setback: Exception | None = None
        try:
            self._store.receive()
        except HeadMovedError as error:
            setback = without_frames(error)
        except PORT_ERRORS:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it was, the ledger itself knows
            setback = ConnectionLostError(str(error), flight.plan)
        else:
            self._losses = 0
            self._answer(flight)
            return True
        flight.undo.take_back()
        for key in flight.plan.ids:
            self._recent.pop(key, None)
        self._process(flight.jobs, setback)
        return False

    def process(self, jobs: Sequence[Job]) -> None:
        """Decide and append jobs in one transaction, then answer them; never raises."""
        self.flush()
        live = in_time(jobs, self._monotonic())
        if live:
            self._process(live)

    def _process(self, jobs: Sequence[Job], setback: Exception | None = None) -> None:
        begun = self._monotonic()
        try:
            plan = self._commit(jobs, setback)
        except (FencedError, StoreFailedError, TooSlowError, UnkeptError) as error:
            self._one_by_one(jobs, without_frames(error))
        except TollbookError as error:
            for job in jobs:
                job.fail(error.kept())
        except Exception as error:
            logger.exception("a batch failed")
            self._one_by_one(jobs, error)
        else:
            self._answer(Flight(plan, jobs, self._advance(plan), begun))

    def _advance(self, plan: Plan) -> Undo:
        self._recent.update(plan.ids)
        return plan.draft.advance()

    def _one_by_one(self, jobs: Sequence[Job], error: Exception) -> None:
        """Give each job a transaction of its own, so that only the culprit fails."""
        if len(jobs) > 1:
            for job in jobs:
                self.process([job])
        elif isinstance(error, TooSlowError):
            in_parts(jobs[0], error.seconds, self.process)
        else:
            jobs[0].fail(failure_of(error))

    def _answer(self, flight: Flight) -> None:
        """Answer the jobs of a committed batch, and snapshot the balances that are due."""
        for job in flight.jobs:
            job.finish()
        if self.on_commit is not None:
            commands = sum(len(job.items) for job in flight.jobs)
            self.on_commit(commands, self._monotonic() - flight.begun)
        while len(self._recent) > RECENT_MAX:
            self._recent.popitem(last=False)
        due = due_snapshots(flight.plan, flight.undo.sequences, SNAPSHOT_EVERY)
        if due:
            try:
                self._store.save_snapshots(due)
            except Exception:  # a snapshot is only a shortcut: the next one will do
                logger.warning("snapshots were not saved", exc_info=True)

    def _commit(self, jobs: Sequence[Job], setback: Exception | None = None) -> Plan:
        """Try until the batch is in the ledger or it is certain that it cannot be.

        `setback` is what stopped an earlier attempt, if it has to be known.
        """
        late, careful, started = 0, False, self._monotonic()
        for _ in range(ATTEMPTS_MAX):
            try:
                if isinstance(setback, ConnectionLostError):
                    if (done := self._after_loss(setback, started)) is not None:
                        return done
                elif setback is not None:
                    self._losses += isinstance(setback, HeadMovedError)
                    self._recover(setback, careful)
                careful = careful or isinstance(setback, ConnectionLostError | TakenError)
                if self._losses >= LOSSES_BEFORE_LOCK:
                    return self._commit_locked(jobs, careful)
                plan = self._plan(jobs, careful)
                self._append(plan)
                if setback is None:
                    self._losses = 0
                return plan
            except (HeadMovedError, ClockRefusedError, TakenError, ConnectionLostError) as error:
                if isinstance(error, ClockRefusedError):
                    late += 1
                    self._check_pace(jobs, late)
                setback = without_frames(error)
        raise Unavailable("the ledger is too busy or its clock too far off: try again")

    def _check_pace(self, jobs: Sequence[Job], late: int) -> None:
        """Raise TooSlowError where jobs should be decided in smaller transactions."""
        took, is_alone = self._monotonic() - self._planned_at, len(jobs) == 1
        is_slow = late > LATE_MAX or (is_alone and took * 1e6 > CLOCK_OFF_MAX)
        if is_slow and (jobs[0].is_divisible or not is_alone):
            raise TooSlowError(took)

    def _recover(self, setback: Exception, careful: bool) -> None:
        """Prepare for another attempt, by what stopped the last one."""
        if isinstance(setback, ClockRefusedError):
            self._clock.synchronise(self._store.database_time)
        if isinstance(setback, TakenError) and careful:
            self.world.reset()  # every id was looked up, so it is our memory that is wrong
        catch_up(self.world, self._store)

    def _plan(self, jobs: Sequence[Job], careful: bool) -> Plan:
        self._planned_at = self._monotonic()
        return make_plan(self.world, self._store, self._recent, self._clock.now, jobs, careful)

    def _append(self, plan: Plan) -> None:
        if not plan.events and not plan.riders:
            # Nothing else would tell that others have written what this batch did not find.
            if self._store.head().position != plan.base:
                raise HeadMovedError
            if plan.has_errors and not self._clock_is_right():
                raise ClockRefusedError
            return
        try:
            self._store.append(plan.batch())
        except ConnectionLostError as error:
            error.args = (*error.args, plan)
            raise

    def _clock_is_right(self) -> bool:
        """Check what the append would have: a malformed time may be malformed by our clock only."""
        off = self._clock.now() - self._store.database_time()
        return self._store.head().clock == "trace" or abs(off) <= CLOCK_OFF_MAX

    def _commit_locked(self, jobs: Sequence[Job], careful: bool) -> Plan:
        """Decide while holding the head: nobody can be faster."""
        plan, stood = None, self.world.position
        catch_up(self.world, self._store)  # what may be much to read, while nobody waits for it
        try:
            with self._store.locked() as head:
                self._calm = 0 if head.position > stood else self._calm + 1
                if self._calm >= CALM_BATCHES:
                    self._losses = self._calm = 0
                if head.position > self.world.position:
                    catch_up(self.world, self._store)
                plan = self._plan(jobs, careful)
                self._append(plan)
        except ConnectionLostError as error:
            # The commit comes last, when the block ends: its answer may be the one that is lost.
            error.args = (*error.args, plan)
            raise
        return plan

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
                catch_up(self.world, self._store)
                return None
            except (ConnectionLostError, StoreFailedError, Unavailable):
                time.sleep(pause)
                pause = min(pause * 2, 1.0)
        if plan is not None:
            raise Unknown("the database went away during the commit: ask for the outcome by id")
        raise Unavailable("the database does not answer: nothing was done")
