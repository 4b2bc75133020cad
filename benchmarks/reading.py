"""Reading the long ledger: folding it from the first event, auditing it, opening it anew."""

import json
import subprocess
import sys
import time

from adapters.event_store.store import PostgresEventStore
from benchmarks.bench import Bench
from benchmarks.long_ledger import long_ledger
from domain import pricebook, reservation
from domain.balance import Balance
from domain.event import Recorded
from domain.events import PricesPublished
from domain.folding import evolve
from domain.pricebook import PriceBook
from domain.reservation import Reservation

CHUNK = 5_000


class Fold:
    """The whole state of a ledger: balances, price books, and the reservations still open."""

    def __init__(self) -> None:
        """Start before the first event."""
        self.balances: dict[str, Balance] = {}
        self.reservations: dict[str, Reservation] = {}
        self.books: dict[str, PriceBook] = {}

    def apply(self, recorded: Recorded) -> None:
        """Apply one event."""
        event, at = recorded.event, recorded.recorded_at
        if recorded.customer is not None:
            balance = self.balances.get(recorded.customer) or Balance()
            self.balances[recorded.customer] = evolve(balance, event, at)
        name = getattr(event, "reservation", None)
        if name is not None:
            known = self.reservations.pop(name, None)
            state = reservation.evolve(known, event, at, recorded.command)
            if state is not None and state.status == "open":
                self.reservations[name] = state
        elif isinstance(event, PricesPublished):
            book = self.books.get(event.book) or PriceBook(event.book)
            self.books[event.book] = pricebook.evolve(book, event)


def replay(bench: Bench) -> dict[str, float]:
    """Measure the fold of every event, read and decoded from the database, without snapshots."""
    store = PostgresEventStore(long_ledger(bench).database.app_url)
    fold = Fold()
    position = 0
    begin = time.perf_counter()
    while events := store.since(position, CHUNK):
        for recorded in events:
            fold.apply(recorded)
        position = events[-1].position
    seconds = time.perf_counter() - begin
    store.close()
    return {"replay": position / seconds}


def verify(bench: Bench) -> dict[str, float]:
    """Measure `tollbook audit verify` as a process of its own, its start included."""
    database = long_ledger(bench).database
    command = [sys.executable, "-m", "tollbook", "audit", "verify", "--json"]
    begin = time.perf_counter()
    audit = subprocess.run(
        [*command, "--database", database.owner_url], check=False, stdout=subprocess.PIPE
    )
    seconds = time.perf_counter() - begin
    if audit.returncode != 0:
        raise RuntimeError(f"the audit ended with {audit.returncode}: {audit.stdout[:2000]!r}")
    return {"verify": json.loads(audit.stdout)["events"] / seconds}


def open_1m(bench: Bench) -> dict[str, float]:
    """Measure a new process: until its first answer, and its memory after touching everybody."""
    ledger = long_ledger(bench)
    urls = (ledger.database.owner_url, ledger.database.app_url)
    command = [sys.executable, "-m", "benchmarks.opening", *urls, f"o{bench.round}-"]
    begin = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as opening:
        assert opening.stdin is not None
        assert opening.stdout is not None
        first = opening.stdout.readline()
        seconds = time.perf_counter() - begin
        memory, _ = opening.communicate("\n".join(ledger.customers))
    if first != "answered\n" or opening.returncode != 0:
        raise RuntimeError("the opening process failed; its words are above")
    return {"open_1m": seconds, "open_1m_memory": float(memory)}
