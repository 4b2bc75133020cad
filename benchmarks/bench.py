"""The bench: one embedded server in a temporary folder, and a fresh ledger for whoever asks."""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from adapters.embedded_postgres.cluster import APP_ROLE, DATABASE, OWNER_ROLE, SUPER_ROLE
from application.tollbook import Tollbook
from benchmarks.figures import Sizes
from benchmarks.machine import Machine, durable_settings, inspect
from domain.command import Command
from domain.commands import CreateCustomer, IssueGrant
from domain.values import PICO
from entrypoints.bootstrap import Database, open_database, tollbook_on
from entrypoints.demo.job import BOOK, CURRENCY
from entrypoints.settings import Settings

GRANT = 1_000_000 * PICO
COMMANDS_PER_BATCH = 250
"""So few are decided in a quarter of a second, which the ledger asks for, on a busy machine too."""


class Bench:
    """A running server, and how much work to do on it."""

    def __init__(self, sizes: Sizes, machine: Machine, url: str, folder: Path) -> None:
        """Use the server at a URL, whose database is an empty ledger to copy from."""
        self.sizes = sizes
        self.machine = machine
        self.folder = folder
        """Where the server keeps its data."""
        self.round = 0
        """The number of the round that is being measured, from 1."""
        self._url = url
        self._numbers = itertools.count(1)

    def url(self, role: str, database: str) -> str:
        """Return how to reach a database of the server as a role."""
        return make_conninfo(self._url, user=role, dbname=database)

    def as_super(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Connect as the superuser, each statement committing by itself."""
        return psycopg.connect(self.url(SUPER_ROLE, database), autocommit=True)

    def database(self, name: str) -> Database:
        """Return what the composition root needs to know of a database."""
        return Database(self.url(OWNER_ROLE, name), self.url(APP_ROLE, name), None)

    def make_database(self) -> str:
        """Make an empty ledger and return the name of its database."""
        name = f"bench_{next(self._numbers)}"
        with self.as_super() as connection:
            connection.execute(
                f"CREATE DATABASE {name} TEMPLATE {DATABASE} OWNER {OWNER_ROLE}".encode()
            )
            # Everyone starts with nothing waiting to be written.
            connection.execute("CHECKPOINT")
        durable_settings(self.url(APP_ROLE, name))
        return name

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Make an empty ledger for the length of a block."""
        name = self.make_database()
        try:
            yield name
        finally:
            with self.as_super() as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    @contextmanager
    def fresh_ledger(self, customers: Sequence[str]) -> Iterator[Tollbook]:
        """Open an empty ledger whose customers have one grant each."""
        with self.fresh_database() as name, tollbook_on(self.database(name)) as tollbook:
            set_up(tollbook, customers)
            yield tollbook


@contextmanager
def open_bench(sizes: Sizes) -> Iterator[Bench]:
    """Start a server of our own in a temporary folder; nothing of it is left afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="tollbook-bench-") as folder,
        open_database(Settings(data=Path(folder) / "ledger")) as database,
    ):
        machine = inspect(database.app_url, Path(folder))
        yield Bench(sizes, machine, database.app_url, Path(folder))


def customer_names(count: int) -> list[str]:
    """Return the ids of this many customers."""
    return [f"cust-{number:05d}" for number in range(count)]


def set_up(tollbook: Tollbook, customers: Sequence[str]) -> None:
    """Publish the founding price table and give every customer one paid grant."""
    tollbook.publish(BOOK).result()
    commands: list[Command] = []
    for name in customers:
        commands.append(CreateCustomer(id=name, name_sealed="sealed", currency=CURRENCY))
        commands.append(IssueGrant(id=f"grant-{name}", customer=name, amount=GRANT, kind="paid"))
    for start in range(0, len(commands), COMMANDS_PER_BATCH):
        batch = commands[start : start + COMMANDS_PER_BATCH]
        for answer in tollbook.executor.execute(batch, timeout=120):
            answer.result()
