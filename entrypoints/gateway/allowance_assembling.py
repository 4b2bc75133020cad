"""Putting allowances together: slices, what hands them out, and what follows the ledger."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

from tollbook.client.ids import new_id

from adapters.event_store.news import ledger_name
from adapters.intent_log import IntentLog
from adapters.memory_allowances import LocalAllowances, LocalPlaces
from application.allowing import Allowances
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database
from entrypoints.gateway.admission import Admission
from entrypoints.gateway.allowance_closing import Closer
from entrypoints.gateway.allowance_drawing import Parts
from entrypoints.gateway.allowance_link import Link
from entrypoints.gateway.allowance_opening import Opener
from entrypoints.gateway.allowance_slices import Holding
from entrypoints.gateway.allowing import Allowing
from entrypoints.gateway.config import GatewayConfig
from entrypoints.gateway.following import following
from entrypoints.http.readers import Readers

FOLLOWERS = 1
"""The ledger is followed through a connection of its own, so that no other read holds it up."""


@asynccontextmanager
async def allowing_on(
    database: Database,
    tollbook: Tollbook,
    config: GatewayConfig,
    admission: Admission,
    log: IntentLog,
    redis: str | None,
) -> AsyncIterator[Allowing]:
    """Admit from slices until the block ends, which a Redis hands out, or else this process.

    `close` gives them back.
    """
    with closing(Readers(database, tollbook.executor, FOLLOWERS)) as followers:
        # Each process tallies for itself alone: what one before it drew, it cannot know.
        name = new_id(config.name)
        link = Link(await _handed_out(redis, followers, name))
        allowing = _made(config, admission, log, followers, link, alone=redis is None)
        works = (allowing.following.run(), allowing.closer.run(), link.watch())
        tasks = [asyncio.create_task(each) for each in works]
        try:
            yield allowing
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            await link.close()


async def _handed_out(redis: str | None, followers: Readers, name: str) -> Allowances:
    """Return what hands out places to a process of that name."""
    if redis is None:
        return LocalAllowances(LocalPlaces(), name)
    from adapters.redis.allowances import RedisAllowances  # its client is slow to import

    ledger = await followers.read(lambda reader: ledger_name(reader.run))
    return RedisAllowances(redis, ledger, name)


def _made(
    config: GatewayConfig,
    admission: Admission,
    log: IntentLog,
    followers: Readers,
    link: Link,
    *,
    alone: bool,
) -> Allowing:
    """Put the parts together."""
    follow, holding = following(followers), Holding(log if alone else None)
    opener = Opener(config, admission, follow, link, holding)
    closer = Closer(config, admission, follow, link, holding, log, alone=alone)
    return Allowing(config, admission, Parts(follow, link, holding), opener, closer)
