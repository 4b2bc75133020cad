"""Putting the gateway's core together on a ledger, and taking it apart in order."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from tollbook.client.ids import new_id

from adapters.event_store.store import PostgresEventStore
from adapters.intent_log import IntentLog
from adapters.license_secrets import LicenseSecrets
from application.license_desk import LicenseDesk
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database, license_secrets
from entrypoints.gateway.admission import Admission
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.settling import Settler
from entrypoints.gateway.tracing import NoTraces, Traces
from entrypoints.http.readers import Readers
from entrypoints.http.submitting import Submitter

DRAIN_SECONDS = 10.0
"""So long a gateway that stops waits for the ledger to hear everything; the rest is in its log."""


@asynccontextmanager
async def gateway_on(
    database: Database,
    tollbook: Tollbook,
    config: GatewayConfig,
    home: Path,
    traces: Traces | None = None,
) -> AsyncIterator[Gateway]:
    """Run a gateway's core on the running loop; `home` keeps the intent logs of its processes."""
    with (
        closing(PostgresEventStore(database.app_url)) as store,
        closing(Readers(database, tollbook.executor)) as readers,
        closing(IntentLog.create(home, new_id("gw") + f"-{os.getpid()}")) as log,
    ):
        secrets: LicenseSecrets = license_secrets(database, store)
        desk, submitter = LicenseDesk(secrets), Submitter(tollbook.executor)
        admission = Admission(config, desk, submitter, readers)
        settler = Settler(submitter, log, admission.actor)
        gateway = Gateway(
            config, admission, submitter, settler, log, traces or NoTraces(), secrets.signing_key
        )
        tasks = [asyncio.create_task(each) for each in (settler.run(), gateway.extend_holds())]
        try:
            yield gateway
        finally:
            await settler.drain(DRAIN_SECONDS)
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
