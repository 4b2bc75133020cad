"""Putting the gateway's core together on a ledger, and taking it apart in order."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import NamedTuple

from tollbook.client.ids import new_id

from adapters.event_store.store import PostgresEventStore
from adapters.intent_log import IntentLog
from adapters.kafka.access import PLAIN_TEXT, Access
from adapters.license_secrets import LicenseSecrets
from application.license_desk import LicenseDesk
from application.ports import Key
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database, license_secrets
from entrypoints.gateway.admission import Admission
from entrypoints.gateway.allowance_assembling import allowing_on
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.emergency import Emergency
from entrypoints.gateway.extending import extend_holds
from entrypoints.gateway.noting import Noting
from entrypoints.gateway.publishing import Publisher
from entrypoints.gateway.reaching import Reaching
from entrypoints.gateway.sampling import counters_of
from entrypoints.gateway.settling import Log, Settler, Teller, Tellers
from entrypoints.gateway.slices import Slices
from entrypoints.gateway.tracing import NoTraces, Traces
from entrypoints.http.readers import Readers
from entrypoints.http.submitting import Submitter

DRAIN_SECONDS = 10.0
"""So long a gateway that stops waits for the ledger to hear everything; the rest is in its log."""


class Kafka(NamedTuple):
    """Where a gateway publishes what became of inferences, for the stream to settle."""

    address: str
    topic: str
    access: Access = PLAIN_TEXT


@asynccontextmanager
async def gateway_on(
    database: Database,
    tollbook: Tollbook,
    config: GatewayConfig,
    home: Path,
    traces: Traces | None = None,
    kafka: Kafka | None = None,
    redis: str | None = None,
) -> AsyncIterator[Gateway]:
    """Run a gateway's core on the running loop; `home` keeps the intent logs of its processes."""
    async with AsyncExitStack() as stack:
        store = stack.enter_context(closing(PostgresEventStore(database.app_url)))
        readers = stack.enter_context(closing(Readers(database, tollbook.executor)))
        log = stack.enter_context(
            closing(IntentLog.create(home, new_id("gw") + f"-{os.getpid()}")),
        )
        secrets: LicenseSecrets = license_secrets(database, store)
        desk, submitter = LicenseDesk(secrets), Submitter(tollbook.executor)
        admission = Admission(config, desk, submitter, readers)
        await admission.pipelines.learn()
        notes = counters_of(home)
        tellers = _tellers(config, submitter, admission, readers, kafka, stack, notes)
        teller = tellers(log)
        slices = Slices(config, submitter, readers, log, admission.actor)
        allowing = None
        if redis is not None or config.allowances.in_process:
            made_on = allowing_on(database, tollbook, config, admission, log, redis)
            allowing = await stack.enter_async_context(made_on)
        emergency = Emergency(config, admission, slices, teller, allowing)
        made = traces or NoTraces()
        gateway = Gateway(
            config, emergency, submitter, teller, log, made, secrets.signing_key, tellers
        )
        works = (teller.run(), extend_holds(gateway), emergency.keep())
        tasks = [asyncio.create_task(each) for each in works]
        try:
            yield gateway
        finally:
            await _leave(gateway)
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task


async def _leave(gateway: Gateway) -> None:
    """Hear and tell the ledger everything, and then give back what was set aside."""
    await gateway.leave()
    await gateway.settler.drain(DRAIN_SECONDS)
    await gateway.emergency.close()
    if gateway.emergency.allowing is not None:
        await gateway.emergency.allowing.close()


def _tellers(
    config: GatewayConfig,
    submitter: Submitter,
    admission: Admission,
    readers: Readers,
    kafka: Kafka | None,
    stack: AsyncExitStack,
    notes: Path,
) -> Tellers:
    """Return what makes a teller for a log: with Kafka only the stream settles."""
    if kafka is None:
        half = config.unsettled // 2  # of what may wait before nothing is admitted
        return lambda log: Noting(Settler(submitter, log, admission.actor, half), notes)
    from adapters.kafka.producer import Producer  # slow to import, and most gateways need none

    producer = Producer(kafka.address, kafka.topic, kafka.access)
    stack.push_async_callback(producer.close)
    reaching = Reaching(producer, kafka.address, config)
    stack.push_async_callback(reaching.close)
    reaching.begin()

    async def known(keys: Sequence[Key]) -> Collection[Key]:
        return await readers.read(lambda reader: reader.store.taken(keys))

    def publisher(log: Log) -> Teller:
        return Noting(Publisher(reaching, log, config.source, known), notes)

    return publisher
