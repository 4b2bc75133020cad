"""The projector: reads the log after its checkpoint, folds it, and writes every model's rows.

While PostgreSQL takes one batch in, the next one is read and folded; so there are two sets of
models, which take turns. One projector writes at a time; another stands by.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from application.following import LedgerLog, TooNew
from projections import batches, shares
from projections.checkpoint import Mark, MovedError, read_mark
from projections.model import SCHEMA, Connection, Run
from projections.registry import Models, fingerprint, new_models
from projections.shares import Crew
from projections.states import CustomerStates

BATCH_MAX = 5_000
IDLE_SECONDS = 0.05
REST_SECONDS_MAX = 0.25
"""How long it rests between two looks at the log, at least and at most."""

STANDBY_SECONDS = 0.5

_LOCK = {SCHEMA: 0x70726F6A}
"""The advisory lock of whoever writes a schema ("proj"); other schemas have one owner anyway."""

SHARES_FROM = 100_000
"""A shorter way is caught up before another process has started."""

Progress = Callable[[int], None]
"""Told how many more events are in the rows."""


class Projector:
    """Fills the tables of one schema; used by one thread at a time."""

    def __init__(
        self,
        log: LedgerLog,
        run: Run,
        connection: Connection,
        schema: str = SCHEMA,
        models: Callable[[], Models] = new_models,
        crew: Crew | None = None,
    ) -> None:
        """Write through one connection; `log` and `run` read through another.

        With a crew, a long way is caught up in several processes.
        """
        self._crew = crew
        self._log = log
        self._connection = connection
        self._sets = (models(), models())
        self._turn = 0
        self._states = CustomerStates(log, run, schema)
        self._schema = schema
        self._mark: Mark | None = None
        connection.execute(f"SET search_path = {schema}, public".encode())
        # The checkpoint is lost with the rows, so a crash costs a little work and nothing else.
        connection.execute("SET synchronous_commit = off")

    @property
    def position(self) -> int:
        """The position up to which everything was read; it may be on its way into the rows."""
        return 0 if self._mark is None else self._mark.position

    def lead(self) -> bool:
        """Take the lead over this schema, or say that somebody else has it."""
        lock = _LOCK[self._schema]
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (lock,)).fetchone()
        return bool(row and row[0])

    def catch_up(
        self,
        until: int | None = None,
        advance: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> int:
        """Write everything up to a position, or up to the head; return the position reached.

        After MovedError or any other error, nothing is in memory and the next call starts from the
        checkpoint as it then stands.
        """
        stop, advance = stop or threading.Event(), advance or _nobody_asks
        try:
            if self._crew is not None:
                mark, last = self._checked_mark(), self._head()
                last = last if until is None else min(until, last)
                if last - mark.position >= SHARES_FROM:
                    self._in_shares(self._crew, mark, last, advance, stop)
            self._write_all(self._collected(until, stop), advance)
        except BaseException:
            self._forget()
            raise
        return self.position

    def _in_shares(
        self, crew: Crew, mark: Mark, until: int, advance: Progress, stop: threading.Event
    ) -> None:
        """Catch up in several processes; return early when that does not work out."""
        try:
            with crew() as pipes:
                self._write_all(shares.batches(pipes, mark, until, stop, self._log.reach), advance)
        except batches.ShareFailedError:
            self._forget()

    def _collected(self, until: int | None, stop: threading.Event) -> Iterator[batches.Batch]:
        """Yield batch after batch, read and folded here."""
        mark = self._checked_mark()
        while not stop.is_set() and (until is None or mark.position < until):
            limit = BATCH_MAX if until is None else min(BATCH_MAX, until - mark.position)
            entries = self._log.after(mark.position, limit)
            if not entries:
                return
            models = self._sets[self._turn]
            self._turn = 1 - self._turn
            batch = batches.collect(mark, entries, self._states, models)
            yield batch
            mark = batch.next_mark()

    def _write_all(self, found: Iterator[batches.Batch], advance: Progress) -> None:
        """Write each batch in a thread of its own while the next one is being made."""
        under_way: Future[None] | None = None
        size = 0
        with ThreadPoolExecutor(1, "projector") as writer:
            for batch in found:
                if under_way is not None:
                    under_way.result()
                    advance(size)
                under_way = writer.submit(batches.write, self._connection, batch)
                size = len(batch.leaves)
                self._mark = batch.next_mark()
            if under_way is not None:
                under_way.result()
                advance(size)

    def _checked_mark(self) -> Mark:
        """Return where the rows stand, having made sure that they are still ours."""
        stored = read_mark(self._connection)
        known = self._mark
        if known is None or (stored.position, stored.build) != (known.position, known.build):
            self._forget()
            if stored.fingerprint != fingerprint(self._sets[0]):
                raise TooNew("the views were built by another version of this program: restart it")
            self._mark = stored
            return stored
        return known

    def _forget(self) -> None:
        self._mark = None
        self._states.forget()
        for models in self._sets:
            for model in models:
                model.discard()

    def follow(self, stop: threading.Event, advance: Progress | None = None) -> None:
        """Keep up with the ledger until told to stop; stands by while somebody else does."""
        while not self.lead():
            if stop.wait(STANDBY_SECONDS):
                return
        while not stop.is_set():
            begin = time.monotonic()
            try:
                self.catch_up(self._head(), advance, stop)
            except MovedError:
                continue  # another build was put in place, or somebody ignored the lock
            # As long a rest as the work took leaves the cores to those who serve; what comes
            # meanwhile is one larger batch, which costs less for each event.
            stop.wait(min(max(time.monotonic() - begin, IDLE_SECONDS), REST_SECONDS_MAX))

    def _head(self) -> int:
        row = self._connection.execute("SELECT position FROM public.ledger_head").fetchone()
        return 0 if row is None else int(row[0])


def _nobody_asks(_events: int) -> None:
    """Stand in for a bar where nobody looks."""
