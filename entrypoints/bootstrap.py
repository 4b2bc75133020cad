"""The composition root: settings in, a working Tollbook out. Nothing else builds adapters."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import psycopg
from tollbook.errors import Invalid, Unavailable

from adapters.api_keys import ApiKeys
from adapters.clock import DatabaseClock, TraceClock
from adapters.embedded_postgres.cluster import PROJECTOR_ROLE
from adapters.embedded_postgres.errors import ServerUnavailable, WrongDirectory
from adapters.embedded_postgres.server import is_ledger_dir, join
from adapters.event_store.store import PostgresEventStore
from adapters.license_secrets import LicenseSecrets
from adapters.postgres import Connection, connect, migrate
from adapters.vault import KeyVault, make_master_key, read_master_key
from application.executor import Executor
from application.license_desk import LicenseDesk
from application.ports import Clock
from application.tollbook import Tollbook
from entrypoints.settings import Settings
from entrypoints.tuning import YOUNG_OF_SERVERS, tune
from projections.building import ensure_tables


@dataclass(frozen=True, slots=True)
class Database:
    """How to reach the ledger's PostgreSQL: as the owner, and as the application."""

    owner_url: str
    app_url: str
    master_key: bytes | None
    signing_epochs: tuple[int, int] = (1, 1)
    """The epoch of the key that signs, and the oldest one whose tokens hold."""


@contextmanager
def open_database(settings: Settings, *, create: bool = True) -> Iterator[Database]:
    """Reach the database that settings name, starting an embedded server when needed.

    Migrations have run when the block starts; an embedded server stops after the block when this
    process is the last one to use it.
    """
    epochs = settings.signing_epoch, settings.signing_epoch_oldest
    if settings.database is not None:
        key = read_master_key(settings.master_key_file) if settings.master_key_file else None
        _migrate(settings.database)
        yield Database(settings.database, settings.database, key, epochs)
        return
    assert settings.data is not None
    if not create and not is_ledger_dir(settings.data):
        raise Invalid(f"{settings.data} holds no ledger", field="data", value=str(settings.data))
    try:
        server = join(settings.data, create=create)
    except WrongDirectory as error:
        raise Invalid(str(error), field="data", value=str(settings.data)) from None
    except ServerUnavailable as error:
        raise Unavailable(str(error)) from None
    try:
        _migrate(server.owner_url)
        key_file = settings.master_key_file
        key = (
            read_master_key(key_file)
            if key_file
            else make_master_key(server.data_dir / "master.key")
        )
        yield Database(server.owner_url, server.app_url, key, epochs)
    finally:
        server.leave()


def _migrate(url: str) -> None:
    with closing(connect(url)) as connection:
        migrate(connection)
    prepare_views(url)


def prepare_views(url: str) -> None:
    """Make the tables of the views on a ledger that never had any, so that every query can run."""
    with closing(connect(url, role=PROJECTOR_ROLE)) as connection:
        ensure_tables(connection)


@contextmanager
def open_tollbook(
    settings: Settings, *, create: bool = True, clock: Literal["database", "trace"] = "database"
) -> Iterator[Tollbook]:
    """Open the ledger that settings name, ready for commands; closed after the block."""
    with (
        open_database(settings, create=create) as database,
        tollbook_on(database, clock) as tollbook,
    ):
        yield tollbook


@contextmanager
def tollbook_on(
    database: Database,
    clock: Literal["database", "trace"] = "database",
    *,
    serving: bool = False,
) -> Iterator[Tollbook]:
    """Put a Tollbook together on a database; with the trace clock, items bring their own time.

    One that is serving takes some 50 ms more to start, which its first commands do not wait for.
    """
    tune(YOUNG_OF_SERVERS)
    with (
        _following(database, clock),
        closing(PostgresEventStore(database.app_url)) as writing,
        closing(PostgresEventStore(database.app_url)) as ahead,
        closing(PostgresEventStore(database.app_url)) as reading,
    ):
        if serving:
            writing.get_ready()
            ahead.get_ready()
        writers_clock: Clock = DatabaseClock() if clock == "database" else TraceClock(0)
        executor = Executor(writing, writers_clock, ahead=ahead)
        try:
            yield Tollbook(executor, reading, KeyVault(reading.run, database.master_key))
        finally:
            executor.close()


def license_desk(database: Database, store: PostgresEventStore) -> LicenseDesk:
    """Return the desk of a ledger's licences; their secrets ask the store whose ledger it is."""
    return LicenseDesk(license_secrets(database, store))


def license_secrets(database: Database, store: PostgresEventStore) -> LicenseSecrets:
    """Return what hashes the keys of a ledger's licences and signs for it."""
    epoch, oldest = database.signing_epochs
    return LicenseSecrets(store.run, database.master_key, epoch=epoch, oldest_epoch=oldest)


@contextmanager
def open_keys(database: Database) -> Iterator[ApiKeys]:
    """Open the API keys of a ledger; raises Unavailable when its master key is not known."""
    with closing(PostgresEventStore(database.app_url)) as store:
        yield ApiKeys(store.run, database.master_key)


_TRACE_LOCK = 0x7472616365
"""The advisory lock that a process holds while its trace sets the ledger's time ("trace")."""


@contextmanager
def _following(database: Database, clock: str) -> Iterator[None]:
    """Let the ledger follow a trace during the block; else make sure that nobody's trace does.

    A process that died while its trace set the time leaves no lock, and the next one puts the
    ledger back on the database's clock. Only the owner's role may.
    """
    with closing(connect(database.owner_url)) as connection:
        # Many may make sure at once, so they share the lock; a trace has it alone.
        how = "pg_try_advisory_lock" if clock == "trace" else "pg_try_advisory_lock_shared"
        row = connection.execute(f"SELECT {how}(%s)", (_TRACE_LOCK,)).fetchone()
        if not (row and row[0]):
            raise Unavailable("a trace is being run on this ledger: wait until it has finished")
        try:
            _set_clock(connection, clock)
            if clock == "trace":
                yield
        finally:
            with suppress(psycopg.Error):  # the next process to open the ledger does it too
                if clock == "trace":
                    _set_clock(connection, "database")
                # A server notices a closed connection a moment later: the next trace need not wait.
                connection.execute("SELECT pg_advisory_unlock_all()")
    if clock != "trace":
        yield


def _set_clock(connection: Connection, clock: str) -> None:
    connection.execute("UPDATE ledger_head SET clock = %s WHERE clock <> %s", (clock, clock))
