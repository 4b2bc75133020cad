"""The worker: a Faust app that feeds the settlement, and never goes on past what is not settled.

Whatever it cannot settle ends it with EX_TEMPFAIL, and the next one begins where the ledger is:
Faust itself would go on with the next records.
"""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.types import TP
from tollbook.errors import TollbookError

from streams.dead_letters import Options
from streams.feed import Feed
from streams.resuming import SCHEME, ResumingApp
from streams.settlement import Offsets, OutOfStepError, Record, Settlement
from streams.watching import STUCK_SECONDS

logger = logging.getLogger("tollbook.stream")

GROUP = "tollbook-settlement"
TAKE = 200
"""So many records are collected together at most."""
LINGER_SECONDS = 0.02
EX_TEMPFAIL = 75
"""The exit status of a worker that is to be started again (sysexits.h)."""
PAUSES = (0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 20.0, 20.0)
"""Seconds between tries while the ledger or the dead letters do not answer."""


class Source(NamedTuple):
    """Where usage comes from."""

    address: str
    """The brokers, as host:port with commas between."""
    topic: str
    stuck_seconds: float = STUCK_SECONDS
    """So long a partition may stand still with records before it; longer ends this worker."""
    options: Options = dict
    """Says how brokers are reached, in aiokafka's words."""


def make_app(source: Source, settlement: Settlement, offsets: Offsets) -> ResumingApp:
    """Return the app that settles a topic."""
    brokers = ";".join(f"{SCHEME}://{each}" for each in source.address.split(","))
    app = ResumingApp(
        GROUP,
        broker=brokers,
        broker_credentials=credentials(source.options()),
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        # Topics are made by an administrator, with the partitions that they chose.
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_session_timeout=10,
        broker_heartbeat_interval=2,
        broker_commit_interval=1,
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
        stream_publish_on_commit=False,
        # A stop need not wait until Faust knows that all is acknowledged: the ledger knows.
        stream_wait_empty=False,
    )
    app.starts = _Starting(settlement, offsets)
    topic = app.topic(source.topic, key_type=bytes, value_type=bytes, internal=False)

    feeding = Feeding(settlement)

    async def settle(stream: Any) -> None:
        async for events in stream.take_events(TAKE, within=LINGER_SECONDS):
            messages = [event.message for event in events]
            await feeding.give(
                [Record(each.partition, each.offset, each.key, each.value) for each in messages]
            )

    app.agent(topic, name="settle")(settle)
    return app


def credentials(options: Mapping[str, Any]) -> Credentials | None:
    """Return what Faust is told of the options that aiokafka's own clients are given."""
    tls = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            ssl_context=tls,
            mechanism=options["sasl_mechanism"],
        )
    return None if tls is None else SSLCredentials(tls)


class Feeding:
    """Gives records to the settlement, which never stands still while there are more."""

    def __init__(self, settlement: Settlement) -> None:
        """Give them to this one; all in one event loop."""
        self._settlement = settlement
        self._feed = Feed(lambda: settlement.positions, self._some_left)
        self._room = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Task[None] | None = None

    async def give(self, records: Sequence[Record]) -> None:
        """Have records settled after those before; returns when there is room for more."""
        self._loop = asyncio.get_running_loop()
        self._feed.put(records)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._settle())
            self._work.add_done_callback(lambda _: self._room.set())
        while self._feed.is_full and not self._work.done():
            self._room.clear()
            await self._room.wait()

    async def _settle(self) -> None:
        while self._feed.waiting:
            await steadily(self._settlement, self._feed)

    def _some_left(self) -> None:
        """Tell `give`, from the thread that settles."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._room.set)


async def steadily(settlement: Settlement, records: Feed | Sequence[Record]) -> None:
    """Settle records however often it takes; what stays impossible ends this process."""
    stood, pauses = None, iter(PAUSES)
    try:
        while True:
            try:
                await asyncio.to_thread(settlement.apply, records)
                return
            except (OutOfStepError, TollbookError) as error:
                logger.warning("%d records are not settled yet: %s", len(records), error)
                # It got on since the last failure; that others did says nothing.
                if stood != (stood := settlement.transactions):
                    pauses = iter(PAUSES)
                if (pause := next(pauses, None)) is None:
                    raise
                await asyncio.sleep(pause)
                await _resumed(settlement)
    except asyncio.CancelledError:
        raise
    except Exception:
        logger.exception("this worker cannot go on; the next begins where the ledger is")
        give_up()


async def _resumed(settlement: Settlement) -> None:
    try:
        await asyncio.to_thread(settlement.resume)
    except TollbookError as error:
        logger.warning("the ledger does not say where the stream stands: %s", error)


def give_up() -> NoReturn:
    """End this process at once: nothing that Faust does on the way out may move an offset."""
    for handler in logging.getLogger().handlers:
        handler.close()  # what was to be said is written by a thread
    os._exit(EX_TEMPFAIL)


class _Starting:
    """Where partitions begin that this worker is given."""

    def __init__(self, settlement: Settlement, offsets: Offsets) -> None:
        self._settlement, self._offsets = settlement, offsets

    async def __call__(self, earliest: Mapping[TP, int]) -> Mapping[TP, int]:
        """Say where the ledger has each partition; gives up where records between are gone."""
        try:
            known = await asyncio.to_thread(self._offsets)
        except Exception:
            logger.exception("the ledger does not say where the stream stands")
            give_up()
        found = {tp: known.get(tp.partition, first) for tp, first in earliest.items()}
        for tp, start in found.items():
            if tp.partition not in known and start:
                words = "%s/%d: the ledger has nothing of it, and Kafka nothing before %d"
                logger.error(words, tp.topic, tp.partition, start)
            if start < earliest[tp]:
                logger.critical(
                    "%s/%d: the records %d to %d are gone from Kafka and were never settled",
                    *(tp.topic, tp.partition, start, earliest[tp] - 1),
                )
                give_up()
            self._settlement.begin(tp.partition, start)
        return found
