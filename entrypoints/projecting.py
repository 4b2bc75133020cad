"""The projector put together: as a process of its own, in a thread beside the API, or just once."""

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial

import psycopg
from tollbook.errors import Unavailable

from adapters.embedded_postgres.cluster import PROJECTOR_ROLE
from adapters.event_store.log_reader import LogReader
from adapters.event_store.store import APPLICATION_ROLE
from adapters.postgres import Connection, connect
from application.following import TooNew
from application.replaying import Share
from entrypoints.bootstrap import Database, prepare_views
from entrypoints.sharing import fold_shares
from projections import comparing
from projections.building import NEXT, Build, is_current
from projections.checkpoint import MovedError, wait_for
from projections.checkpoint import position as views_position
from projections.model import SCHEMA
from projections.runner import Progress, Projector
from projections.shares import Pipe

BACK_OFF_SECONDS = (0.2, 10.0)
"""The first pause after an error, and the longest."""

PROCESSES = min(os.cpu_count() or 1, 4)
"""How many fold when there is much to catch up; more than these wait for the one that writes."""

WAIT_SECONDS = 60.0
"""How long to wait for another projector to come so far."""

TURN_SECONDS = 0.5
"""How long to wait before one looks whether the other is still there."""

STOP_SECONDS = 10.0
"""So long the batch that is being written may take when a process is told to stop."""

_log = logging.getLogger("tollbook.projector")


@contextmanager
def open_projector(database: Database, schema: str = SCHEMA) -> Iterator[Projector]:
    """Open a projector that reads through one connection and writes through another."""
    with closing(_connect(database)) as reading, closing(_connect(database)) as writing:
        log = LogReader(reading)
        crew = partial(_crew, database, schema) if PROCESSES > 1 else None
        yield Projector(log, log.run, writing, schema, crew=crew)


@contextmanager
def _crew(database: Database, schema: str) -> Iterator[Sequence[Pipe]]:
    """Start a process for each share of the customers; they end with the block."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pipes = []
        for part in range(PROCESSES):
            ours, theirs = context.Pipe()
            share = Share(part, PROCESSES)
            process = context.Process(
                target=fold_shares,
                args=(database.owner_url, PROJECTOR_ROLE, schema, share, theirs),
                daemon=True,
            )
            process.start()
            stack.callback(process.join)
            stack.callback(process.terminate)
            theirs.close()
            pipes.append(stack.enter_context(closing(ours)))
        yield pipes


def _connect(database: Database) -> Connection:
    """Connect with the projector's few rights, where the database has a role for it."""
    return connect(database.owner_url, role=PROJECTOR_ROLE)


def _connect_to_read(database: Database) -> Connection:
    """Connect as who reads the views and can change none, where the database has a role for it."""
    return connect(database.app_url, role=APPLICATION_ROLE)


def rebuild(
    database: Database,
    advance: Progress | None = None,
    stop: threading.Event | None = None,
) -> bool:
    """Build the views anew beside the live ones, which are kept up, and swap them.

    Returns whether that was done: not when it was told to stop before.
    """
    stop = stop or threading.Event()
    with ExitStack() as stack:
        owner = stack.enter_context(closing(connect(database.owner_url)))
        build = Build(owner, stack.enter_context(closing(_connect(database))))
        build.begin()
        if _is_current(database):
            stack.callback(Following(database).stop)
        projector = stack.enter_context(open_projector(database, NEXT))
        return build.swap(lambda until: projector.catch_up(until, advance, stop), stop)


def bring_up_to_date(
    database: Database,
    advance: Progress | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Make sure that the views are those of this program, building them anew if they are not."""
    prepare_views(database.owner_url)
    if not _is_current(database):
        rebuild(database, advance, stop)


def _is_current(database: Database) -> bool:
    with closing(_connect(database)) as connection:
        return is_current(connection)


def catch_up(
    database: Database,
    position: int,
    advance: Progress | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Bring the views up to a position at least: by ourselves, or by whoever does it already."""
    bring_up_to_date(database, None, stop)
    until = time.monotonic() + WAIT_SECONDS
    with (
        open_projector(database) as projector,
        closing(_connect_to_read(database)) as connection,
    ):
        while not projector.lead():  # who leads may end, or be a connection that has just ended
            if _has_come(connection, position, until):
                return
        while True:
            try:
                projector.catch_up(position, advance, stop)
                return
            except MovedError:
                continue  # another build was put in place


def _has_come(connection: Connection, position: int, until: float) -> bool:
    """Wait a turn for another projector to come so far; past the time `until`, raise that."""
    try:
        wait_for(
            lambda query, values: connection.execute(query.encode(), values).fetchall(),
            position,
            timeout=TURN_SECONDS,
        )
    except Unavailable:
        if time.monotonic() >= until:
            raise
        return False
    return True


def compare(
    database: Database, start: Callable[[str, int], Progress]
) -> Iterator[comparing.Unlike]:
    """Yield where the views do not follow from the log; `start` makes a bar of so many events."""
    with (
        closing(_connect_to_read(database)) as reading,
        closing(_connect_to_read(database)) as connection,
    ):
        log = LogReader(reading)
        try:
            if comparing.can_compare(connection):
                advance = start("Compare", views_position(log.run))
                yield from comparing.unlike(log, connection, advance)
        except psycopg.Error as error:
            first, *_ = str(error).strip().splitlines()
            raise Unavailable(f"the views cannot be compared with the log: {first}") from None


def follow(database: Database, stop: threading.Event, advance: Progress | None = None) -> None:
    """Keep the views up to date until told to stop, starting again when the database is back.

    Raises TooNew when only a newer program can go on.
    """

    def work() -> None:
        with open_projector(database) as projector:
            projector.follow(stop, advance)

    _until_done(work, stop)


def _until_done(work: Callable[[], None], stop: threading.Event) -> None:
    """Do a work, again and again where it fails, until it is done or not wanted any more."""
    first, longest = BACK_OFF_SECONDS
    pause = first
    while not stop.is_set():
        begin = time.monotonic()
        try:
            work()
            return
        except TooNew:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the views must not fall behind
            if time.monotonic() - begin > 2 * longest:
                pause = first
            _log.warning("the projector starts again in %.1f s: %s", pause, error)
            stop.wait(pause)
            pause = min(pause * 2, longest)


class Following:
    """A thread that keeps the views up to date, beside whatever else this process does.

    Where another version of this program has built them, it first builds them anew. It does so
    only as it begins: an older process that runs on must not build its own again, and again.
    """

    def __init__(self, database: Database) -> None:
        """Begin to follow; `stop` ends it."""
        self._database = database
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="projector", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Say whether it goes on; it ends by itself only where a newer program is needed."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop after the batch that is being written; a database that hangs is not waited for."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            _log.warning("the projector hangs, and is left behind")

    def _run(self) -> None:
        database, stop = self._database, self._stop
        try:
            _until_done(lambda: bring_up_to_date(database, None, stop), stop)
            follow(database, stop)
        except TooNew as error:
            _log.error("the views are no longer kept up to date: %s", error)
