"""Streaming: the worker that settles usage from Kafka, put together on a ledger."""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import closing, suppress

from tollbook.errors import Unavailable

from adapters.event_store.store import PostgresEventStore
from adapters.kafka import topics
from application.ports import ConnectionLostError
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database
from streams.dead_letters import DeadLetters
from streams.settlement import Offsets, Settlement
from streams.watching import Standing, watch
from streams.worker import Source, give_up, make_app

logger = logging.getLogger("tollbook.stream")

TOPIC = "inference-usage"
PARTITIONS = 8

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
    """Settle until SIGTERM or SIGINT; `told` hears where the worker stands when it begins."""
    cluster = await topics.cluster_id(source.address)
    ends = await topics.ends(source.address, source.topic)
    with closing(PostgresEventStore(database.app_url)) as store:
        offsets = offsets_of(store, cluster, source.topic)
        dead = DeadLetters(source.address, source.topic)
        settlement = Settlement(tollbook.executor, cluster, source.topic, offsets, dead.bury)
        app = make_app(source, settlement, offsets)
        told({"cluster": cluster, "topic": source.topic, "partitions": len(ends)})

        async def look() -> tuple[Standing, Standing]:
            settled = await asyncio.to_thread(offsets)
            mine = {tp.partition for tp in app.consumer.assignment()}
            found = await topics.ends(source.address, source.topic)
            return settled, {each: end for each, end in found.items() if each in mine}

        watching = asyncio.create_task(watch(look, give_up))
        try:
            await _until_told(app)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await dead.close()
        logger.info("settled %d events, %d dead letters", settlement.settled, settlement.dead)


async def _until_told(app: object) -> None:
    """Run an app until a signal comes; one that crashes ends this process."""
    from faust import App

    assert isinstance(app, App)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await app.start()
    crashed = asyncio.create_task(app.wait_until_stopped())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((crashed, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        logger.critical("Faust has stopped by itself")
        give_up()
    stopping = asyncio.create_task(app.stop())
    await stopping
    crashed.cancel()


async def standing(database: Database, address: str, topic: str) -> dict[str, object]:
    """Return how far the ledger is behind a topic, by partition."""
    cluster = await topics.cluster_id(address)
    ends = await topics.ends(address, topic)
    with closing(PostgresEventStore(database.app_url)) as store:
        settled = offsets_of(store, cluster, topic)()
    partitions = [
        {
            "partition": each,
            "settled": settled.get(each, 0),
            "end": end,
            "behind": end - settled.get(each, 0),
        }
        for each, end in sorted(ends.items())
    ]
    behind = sum(end - settled.get(each, 0) for each, end in ends.items())
    return {"cluster": cluster, "topic": topic, "behind": behind, "partitions": partitions}
