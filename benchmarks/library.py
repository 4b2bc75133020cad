"""Baseline (b): the eventsourcing library's own way, load, decide and save for each command.

An account with holds on the library's own tables, with its aggregate cache on, which is the
quickest it offers. Eight threads get an account each, so that none loses a race for a version.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg.conninfo import conninfo_to_dict

from adapters.embedded_postgres.cluster import OWNER_ROLE
from benchmarks.bench import GRANT, Bench

THREADS = 8
HELD, CHARGED = 5_060_000_000, 4_940_000_000


class Account(Aggregate):  # type: ignore[misc, unused-ignore]
    """Money that can be held and charged."""

    @event("Opened")
    def __init__(self, amount: int) -> None:
        """Start with an amount of money."""
        self.available = amount
        self.holds: dict[str, int] = {}

    @event("Held")
    def reserve(self, name: str, amount: int) -> None:
        """Hold money if there is enough."""
        if amount > self.available:
            raise ValueError("insufficient balance")
        self.available -= amount
        self.holds[name] = amount

    @event("Settled")
    def settle(self, name: str, charged: int) -> None:
        """Charge a hold and release its rest."""
        self.available += self.holds.pop(name) - charged


class Accounts(Application[UUID]):
    """The library's application object: each command loads, decides and saves."""

    def open(self) -> UUID:
        """Open an account with plenty of money."""
        account = Account(GRANT)
        self.save(account)
        return account.id

    def pair(self, account: UUID, name: str) -> None:
        """Carry out two commands, each with a load and a save of its own."""
        loaded: Account = self.repository.get(account)
        loaded.reserve(name, HELD)
        self.save(loaded)
        loaded = self.repository.get(account)
        loaded.settle(name, CHARGED)
        self.save(loaded)


def library_pairs(bench: Bench) -> dict[str, float]:
    """Measure one thread and eight; the better of the two is the baseline."""
    with bench.fresh_database() as name:
        accounts = Accounts(env=_environment(bench.url(OWNER_ROLE, name)))
        assert isinstance(accounts.recorder, PostgresApplicationRecorder)
        try:
            rates = [
                _rate(accounts, threads, bench.sizes.library_pairs) for threads in (1, THREADS)
            ]
        finally:
            accounts.close()
    return {"library_pairs": max(rates)}


def _rate(accounts: Accounts, threads: int, pairs: int) -> float:
    """Return pairs per second over all threads."""
    opened = [accounts.open() for _ in range(threads)]
    per_thread = max(pairs // threads, 1)

    def work(account: UUID) -> None:
        for number in range(per_thread):
            accounts.pair(account, f"r{number:010d}")

    with ThreadPoolExecutor(threads) as pool:
        begin = time.perf_counter()
        list(pool.map(work, opened))
        return per_thread * threads / (time.perf_counter() - begin)


def _environment(url: str) -> dict[str, str]:
    """Spell out every setting: the library fills what is missing from the process's environment."""
    parts = conninfo_to_dict(url)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(parts["dbname"]),
        "POSTGRES_HOST": str(parts["host"]),
        "POSTGRES_PORT": str(parts.get("port", "5432")),
        "POSTGRES_USER": str(parts["user"]),
        "POSTGRES_PASSWORD": "",
        "POSTGRES_SCHEMA": "",
        "POSTGRES_POOL_SIZE": str(THREADS),
        "POSTGRES_MAX_OVERFLOW": str(THREADS),
        "POSTGRES_ENABLE_DB_FUNCTIONS": "n",
        "IS_SNAPSHOTTING_ENABLED": "n",
        "CREATE_TABLE": "y",
        "COMPRESSOR_TOPIC": "",
        "CIPHER_TOPIC": "",
        "AGGREGATE_CACHE_MAXSIZE": "1000",
        "AGGREGATE_CACHE_FASTFORWARD": "y",
        "DEEPCOPY_FROM_AGGREGATE_CACHE": "n",
    }
