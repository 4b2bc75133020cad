"""The long ledger's read models: built from the first event, and asked for balances in the past."""

import random
import time
from collections.abc import Callable
from contextlib import closing

from adapters.event_store.store import PostgresEventStore
from application.loading import load_balance
from application.replaying import Target
from benchmarks.bench import Bench
from benchmarks.long_ledger import BUSY, EVENTS_PER_CUSTOMER, LongLedger, long_ledger
from domain.balance import view
from entrypoints.projecting import catch_up, rebuild
from projections.as_of import balance_at, moment_of

ASKED = 1_000
FOLDED = 50


def project(bench: Bench) -> dict[str, float]:
    """Measure a rebuild of every read model, from the first event until the swap."""
    ledger = long_ledger(bench)
    catch_up(ledger.database, ledger.events)  # else the live views would be built beside
    begin = time.perf_counter()
    rebuild(ledger.database)
    return {"project": ledger.events / (time.perf_counter() - begin)}


def balances_as_of(bench: Bench) -> dict[str, float]:
    """Measure balances at random times: from the nearest kept state, and by whole folds.

    Nine of ten questions are about a busy customer, as nine of ten events are.
    """
    ledger = long_ledger(bench)
    catch_up(ledger.database, ledger.events)
    with closing(PostgresEventStore(ledger.database.app_url)) as store:
        chance = random.Random(bench.round)
        targets = [_question(store, ledger, chance) for _ in range(ASKED)]

        def fold(customer: str, target: Target) -> None:
            moment = moment_of(store, target)
            view(load_balance(store, customer, moment.position), moment.instant)

        return {
            "balance_as_of_p95": _p95(targets, lambda *asked: balance_at(store, *asked)),
            "balance_as_of_folded_p95": _p95(targets[:FOLDED], fold),
        }


def _question(
    store: PostgresEventStore, ledger: LongLedger, chance: random.Random
) -> tuple[str, Target]:
    """Return a customer, and an instant at which all customers were there."""
    first = EVENTS_PER_CUSTOMER * len(ledger.customers) + 2
    busy = chance.random() < 0.9
    customer = chance.choice(ledger.customers[:BUSY] if busy else ledger.customers)
    position = chance.randint(first, ledger.events)
    ((instant,),) = store.run("SELECT recorded_at FROM events WHERE position = %s", (position,))
    return customer, Target(instant=instant)


def _p95(questions: list[tuple[str, Target]], answer: Callable[[str, Target], object]) -> float:
    """Return the time within which 95 of 100 questions are answered, in milliseconds."""
    seconds = []
    for customer, target in questions:
        begin = time.perf_counter()
        answer(customer, target)
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)[len(seconds) * 95 // 100] * 1000
