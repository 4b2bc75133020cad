"""Streaming: the worker that settles usage from Kafka, put together on a ledger."""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import closing, suppress

from faust import App
from tollbook.errors import Unavailable

from adapters.event_store.store import PostgresEventStore
from adapters.kafka import topics
from adapters.kafka.topics import Bounds
from application.ports import ConnectionLostError
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database
from streams.dead_letters import DeadLetters
from streams.settlement import Offsets, Settlement
from streams.watching import Seen, watch
from streams.worker import Source, give_up, make_app

logger = logging.getLogger("tollbook.stream")

TOPIC = "inference-usage"
STOP_SECONDS = 15.0
"""So long Faust may take to leave its group and to stop; what is settled is settled either way."""

Told = Callable[[Mapping[str, object]], None]


def offsets_of(store: PostgresEventStore, cluster: str, topic: str) -> Offsets:
    """Return what asks the ledger where it has each partition of a topic."""
    query = "SELECT partition, next_offset FROM stream_offsets WHERE cluster = %s AND topic = %s"

    def ask() -> Mapping[int, int]:
        try:
            return {int(row[0]): int(row[1]) for row in store.run(query, (cluster, topic))}
        except ConnectionLostError as error:
            raise Unavailable(f"the database does not answer: {error}") from None

    return ask


async def run(database: Database, tollbook: Tollbook, source: Source, told: Told) -> None:
    """Settle until SIGTERM or SIGINT; `told` hears where the worker stands when it begins.

    What is left of Faust then may go on, and settles nothing any more.
    """
    cluster = await topics.cluster_id(source.address)
    bounds = await topics.bounds(source.address, source.topic)
    with closing(PostgresEventStore(database.app_url)) as store:
        offsets = offsets_of(store, cluster, source.topic)
        check_kept(await asyncio.to_thread(offsets), bounds)
        dead = DeadLetters(source.address, source.topic)
        settlement = Settlement(tollbook.executor, cluster, source.topic, offsets, dead.bury)
        app = make_app(source, settlement, offsets)
        told({"cluster": cluster, "topic": source.topic, "partitions": len(bounds)})

        async def look() -> Seen:
            mine = {tp.partition for tp in app.consumer.assignment()}
            known = await asyncio.to_thread(offsets)  # first, so that no end lies before it
            found = await topics.bounds(source.address, source.topic)
            if lost := _gone_back(known, found):
                logger.critical("Kafka has lost what the ledger has settled: %s", lost)
                give_up()
            return Seen(_standing(known, found), {n: at.end for n, at in found.items()}, mine)

        watching = asyncio.create_task(watch(look, give_up, source.stuck_seconds))
        try:
            await _until_told(app)
        finally:
            settlement.end()
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await dead.close()
        logger.info("settled %d events, %d dead letters", settlement.settled, settlement.dead)


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


async def standing(database: Database, address: str, topic: str) -> dict[str, object]:
    """Return how far the ledger is behind a topic, by partition."""
    cluster = await topics.cluster_id(address)
    bounds = await topics.bounds(address, topic)
    with closing(PostgresEventStore(database.app_url)) as store:
        known = offsets_of(store, cluster, topic)()
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
    return {"cluster": cluster, "topic": topic, "behind": behind, "partitions": partitions}
