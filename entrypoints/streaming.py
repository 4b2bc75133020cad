"""Streaming: the worker that settles usage from Kafka, put together on a ledger."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from functools import partial
from typing import Any

from faust import App
from tollbook.errors import Unavailable

from adapters import fraud_habits
from adapters.event_store.store import PostgresEventStore
from adapters.kafka import topics
from adapters.kafka.access import PLAIN_TEXT, Access
from adapters.kafka.topics import Bounds
from adapters.webhook_outbox import CURSOR
from application.ports import ConnectionLostError
from entrypoints.bootstrap import Database
from entrypoints.fraud_process import FraudProcess
from entrypoints.fraud_watching import SECURITY
from entrypoints.ledger_process import LedgerProcess
from streams.dead_letters import DeadLetters
from streams.settlement import Offsets, Settlement
from streams.watching import Seen, watch
from streams.worker import Source, give_up, make_app

logger = logging.getLogger("tollbook.stream")

TOPIC = "inference-usage"
STOP_SECONDS = 15.0
"""So long Faust may take to leave its group and to stop; what is settled is settled either way."""

SCORING_SECONDS = 20.0
"""So long scoring has to get on at least: it may just have been begun again."""

Told = Callable[[Mapping[str, object]], None]


def offsets_of(store: PostgresEventStore, cluster: str, topic: str) -> Offsets:
    """Return what asks the ledger where it has each partition of a topic."""
    query = "SELECT partition, next_offset FROM stream_offsets WHERE cluster = %s AND topic = %s"

    def ask() -> Mapping[int, int]:
        return {int(row[0]): int(row[1]) for row in _rows(store, query, (cluster, topic))}

    return ask


def _rows(
    store: PostgresEventStore, query: str, parameters: Sequence[Any]
) -> list[tuple[Any, ...]]:
    try:
        return store.run(query, parameters)
    except ConnectionLostError as error:
        raise Unavailable(f"the database does not answer: {error}") from None


async def run(
    database: Database,
    ledger: LedgerProcess,
    source: Source,
    told: Told,
    *,
    access: Access = PLAIN_TEXT,
    fraud: FraudProcess | None = None,
) -> None:
    """Settle until SIGTERM or SIGINT; `told` hears where the worker stands when it begins.

    What is left of Faust then may go on, and settles nothing any more. Scoring beside this worker
    is begun again where it stands still.
    """
    cluster = await topics.cluster_id(source.address, access)
    with closing(PostgresEventStore(database.app_url)) as store:
        offsets = offsets_of(store, cluster, source.topic)
        known = await asyncio.to_thread(offsets)  # first, so that no end lies before it
        bounds = await topics.bounds(source.address, source.topic, access)
        check_kept(known, bounds)
        dead = DeadLetters(source.address, source.topic, source.options)
        settlement = Settlement(ledger, cluster, source.topic, offsets, dead.bury)
        app = make_app(source, settlement, offsets)
        await asyncio.to_thread(ledger.ready)
        told({"cluster": cluster, "topic": source.topic, "partitions": len(bounds)})

        async def look() -> Seen:
            mine = {tp.partition for tp in app.consumer.assignment()}
            known = await asyncio.to_thread(offsets)  # first, so that no end lies before it
            found = await topics.bounds(source.address, source.topic, access)
            if lost := _gone_back(known, found):
                logger.critical("Kafka has lost what the ledger has settled: %s", lost)
                give_up()
            return Seen(_standing(known, found), {n: at.end for n, at in found.items()}, mine)

        async with AsyncExitStack() as stack:
            stack.push_async_callback(dead.close)
            looks = [watch(look, _end, source.stuck_seconds)]
            if fraud is not None:
                looks.append(_watch_scoring(store, fraud, source.stuck_seconds))
            for each in looks:
                await stack.enter_async_context(_beside(each))
            stack.callback(settlement.end)
            await _until_told(app)
        logger.info("settled %d events, %d dead letters", settlement.settled, settlement.dead)


def _end(stuck: Sequence[int]) -> None:
    logger.critical("partitions %s do not get on: this worker ends", stuck)
    give_up()


async def _watch_scoring(
    store: PostgresEventStore, fraud: FraudProcess, stuck_seconds: float
) -> None:
    """Begin scoring again where events lie before it and nobody scores them."""

    def ask() -> Seen:
        found = fraud_habits.scoring(store.run)
        return Seen({0: found.position}, {0: found.head}, {0})

    def renew(_stuck: Sequence[int]) -> None:
        logger.warning("scoring stands still, whoever does it: that of this worker begins again")
        fraud.renew()

    await watch(lambda: asyncio.to_thread(ask), renew, max(stuck_seconds, SCORING_SECONDS))


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do something as long as the block runs."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _until_told(app: App) -> None:
    """Run an app until a signal comes; one that ends by itself ends this process.

    Faust may hang in its start and its stop, and passes over being cancelled: it is watched, and
    never waited for without a bound.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def running() -> None:
        await app.start()
        await app.wait_until_stopped()

    work, told = asyncio.create_task(running()), asyncio.create_task(stop.wait())
    await asyncio.wait((work, told), return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        logger.critical("Faust has ended by itself", exc_info=work.exception())
        give_up()
    stopping = asyncio.create_task(app.stop())
    done, _ = await asyncio.wait((stopping,), timeout=STOP_SECONDS)
    if not done:
        logger.warning("Faust has not stopped within %.0f s and is left alone", STOP_SECONDS)


def check_kept(known: Mapping[int, int], bounds: Mapping[int, Bounds]) -> None:
    """Raise Unavailable where Kafka has less than the ledger has settled from it.

    A topic that was made anew, or put back from a copy, would have its new records taken for old.
    """
    if lost := _gone_back(known, bounds):
        raise Unavailable(f"Kafka has lost what the ledger has settled: {lost}")


def _gone_back(known: Mapping[int, int], bounds: Mapping[int, Bounds]) -> str:
    """Say of which partitions the ledger has settled more than Kafka has; empty where of none."""
    return ", ".join(
        f"partition {each} ends at {at.end}, {known[each]} were settled"
        for each, at in sorted(bounds.items())
        if known.get(each, 0) > at.end
    )


def _standing(known: Mapping[int, int], bounds: Mapping[int, Bounds]) -> dict[int, int]:
    """Return where the ledger is in each partition; of an unknown one, where it begins."""
    return {each: known.get(each, at.first) for each, at in bounds.items()}


async def standing(
    database: Database, address: str, topic: str, access: Access = PLAIN_TEXT
) -> dict[str, Any]:
    """Return how far the ledger is behind a topic, by partition, and scoring behind the ledger."""
    cluster = await topics.cluster_id(address, access)
    with closing(PostgresEventStore(database.app_url)) as store:
        known = offsets_of(store, cluster, topic)()  # first, so that no end lies before it
        fraud = fraud_standing(store)
    bounds = await topics.bounds(address, topic, access)
    check_kept(known, bounds)
    settled = _standing(known, bounds)
    partitions = [
        {
            "partition": each,
            "settled": settled[each],
            "end": at.end,
            "behind": at.end - settled[each],
        }
        for each, at in sorted(bounds.items())
    ]
    behind = sum(at.end - settled[each] for each, at in bounds.items())
    found = {"cluster": cluster, "topic": topic, "behind": behind, "partitions": partitions}
    return {**found, "fraud": fraud}


def fraud_standing(store: PostgresEventStore) -> dict[str, Any]:
    """Return how far scoring is behind the ledger, and how the notices to security fare."""
    run = partial(_rows, store)
    found = fraud_habits.scoring(run)
    notices = [
        {"position": position, "tries": tries, "error": error}
        for position, tries, _, error in run(CURSOR, (SECURITY,))
    ]
    return {
        "scored": found.position,
        "behind": found.head - found.position,
        "scoring": found.led,
        "notices": notices[0] if notices else None,
    }
